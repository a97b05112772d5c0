#include "netstack/host/control_channel.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <sys/socket.h>

namespace cordon {

bool ControlChannel::denied(const Denial& denial) { return send(encode_denial(denial)); }

void ControlChannel::flow(const FlowReport& report) { (void)send(encode_flow(report)); }

bool ControlChannel::asked(const Question& question) { return send(encode_question(question)); }

void ControlChannel::notice(Notice notice, int code) { (void)send(encode_notice(notice, code)); }

bool ControlChannel::send(const Message& message) {
  std::array<std::uint8_t, sizeof(Message)> packet{};
  std::memcpy(packet.data(), &message, sizeof(message));
  // syscalls: sendto
  return ::send(socket_.get(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(packet.size());
}

IoResult<Message> ControlChannel::receive() {
  while (true) {
    std::array<std::uint8_t, sizeof(Message)> packet{};
    // syscalls: recvfrom
    const ssize_t size = recv(socket_.get(), packet.data(), packet.size(), MSG_DONTWAIT);
    if (size == 0) return std::unexpected(Errno{EPIPE});
    if (size < 0) {
      const bool is_empty = errno == EAGAIN || errno == EINTR;
      return std::unexpected(Errno{is_empty ? EAGAIN : EPIPE});
    }
    const std::optional<Message> message =
        decode_message(Bytes(packet).first(static_cast<std::size_t>(size)));
    if (message) return *message;
  }
}

}  // namespace cordon
