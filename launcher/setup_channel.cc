#include "launcher/setup_channel.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <sys/socket.h>
#include <utility>

#include "netstack/host/descriptor/passed_descriptors.h"

namespace cordon {
namespace {

constexpr std::size_t kMaxDescriptors = 3;
constexpr std::size_t kMaxText = 1024;

struct Packet {
  SetupStep step = SetupStep::kFailed;
  std::int32_t number = 0;
  std::uint32_t text_length = 0;
  std::array<char, kMaxText> text{};
};

}  // namespace

Status send_setup(int channel, const SetupMessage& message) {
  if (message.descriptors.size() > kMaxDescriptors) return errno_error(E2BIG, "set-up message");
  Packet packet{.step = message.step, .number = message.number};
  const std::size_t length = std::min(message.text.size(), kMaxText);
  packet.text_length = static_cast<std::uint32_t>(length);
  std::copy_n(message.text.begin(), length, packet.text.begin());
  std::array<int, kMaxDescriptors> numbers{};
  for (std::size_t i = 0; i < message.descriptors.size(); ++i) {
    numbers[i] = message.descriptors[i].get();
  }
  const IoStatus passed =
      pass_descriptors(channel, std::as_bytes(std::span(&packet, 1)),
                       std::span<const int>(numbers).first(message.descriptors.size()));
  if (!passed) return errno_error(passed.error().value, "set-up message");
  return {};
}

Result<SetupMessage> receive_setup(int channel) {
  Packet packet;
  std::array<UniqueFd, kMaxDescriptors> descriptors;
  const IoResult<PassedPacket> taken =
      take_descriptors(channel, std::as_writable_bytes(std::span(&packet, 1)), descriptors);
  if (!taken) return errno_error(taken.error().value, "set-up message");
  if (taken->octets == 0) return errno_error(EPIPE, "set-up message");
  if (taken->octets != sizeof(packet) || packet.text_length > kMaxText) {
    return errno_error(EPROTO, "set-up message");
  }
  SetupMessage message{.step = packet.step, .number = packet.number};
  for (UniqueFd& descriptor : std::span(descriptors).first(taken->descriptors)) {
    message.descriptors.push_back(std::move(descriptor));
  }
  message.text.assign(packet.text.data(), packet.text_length);
  return message;
}

Status send_order(int channel, std::int32_t order) {
  if (::send(channel, &order, sizeof(order), MSG_NOSIGNAL) < 0)
    return errno_error("order to guest");
  return {};
}

Result<std::int32_t> receive_order(int channel) {
  std::int32_t order = 0;
  ssize_t received = 0;
  do {
    received = ::recv(channel, &order, sizeof(order), 0);
  } while (received < 0 && errno == EINTR);
  if (received < 0) return errno_error("order");
  if (received == 0) return errno_error(EPIPE, "order");
  if (received != ssize_t{sizeof(order)}) return errno_error(EPROTO, "order");
  return order;
}

}  // namespace cordon
