#include "netstack/host/control_channel.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <sys/socket.h>

namespace cordon {

bool ControlChannel::denied(const Denial& denial) { return send(encode_denial(denial)); }

void ControlChannel::flow(const FlowReport& report) { (void)send(encode_flow(report)); }

bool ControlChannel::introduced(std::uint32_t id, const Request& request) {
  return send(encode_introduced(id, request));
}

void ControlChannel::resolved(const Resolution& resolution) {
  (void)send(encode_resolved(resolution));
}

bool ControlChannel::asked(const Question& question) { return send(encode_question(question)); }

void ControlChannel::notice(Notice notice, int code) { (void)send(encode_notice(notice, code)); }

bool ControlChannel::listed(const FlowReport& report) {
  Message message = encode_flow(report);
  message.kind = MessageKind::kFlowListed;
  return send(message);
}

void ControlChannel::end_list(std::uint64_t next_cursor) {
  Message message;
  message.kind = MessageKind::kFlowsListed;
  message.cursor = next_cursor;
  // Lost where there is no room: whoever waits for the list gives up after a while.
  (void)send(message);
}

void ControlChannel::policy_taken(std::uint32_t generation) {
  generation_ = generation;
  Message message;
  message.kind = MessageKind::kPolicyTaken;
  // Lost where there is no room: the next message of any kind says it as well.
  (void)send(message);
}

void ControlChannel::policy_refused(std::uint32_t generation) {
  Message message;
  message.kind = MessageKind::kPolicyTaken;
  message.code = EBADMSG;
  message.id = generation;
  (void)send(message);  // likewise
}

bool ControlChannel::send(Message message) {
  message.generation = generation_;
  std::array<std::uint8_t, sizeof(Message)> packet{};
  std::memcpy(packet.data(), &message, sizeof(message));
  // syscalls: sendto
  return ::send(socket_.get(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(packet.size());
}

IoResult<ControlChannel::Received> ControlChannel::receive() {
  while (true) {
    // syscalls: recvfrom
    const ssize_t size = recv(socket_.get(), packet_.data(), packet_.size(), MSG_DONTWAIT);
    if (size == 0) return std::unexpected(Errno{EPIPE});
    if (size < 0) {
      const bool is_empty = errno == EAGAIN || errno == EINTR;
      return std::unexpected(Errno{is_empty ? EAGAIN : EPIPE});
    }
    const Bytes packet = Bytes(packet_).first(static_cast<std::size_t>(size));
    const std::optional<Message> message = decode_message(packet);
    if (message) return Received{.message = *message, .part = part_of(packet)};
  }
}

}  // namespace cordon
