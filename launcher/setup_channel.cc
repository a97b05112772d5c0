#include "launcher/setup_channel.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <sys/socket.h>

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

struct alignas(cmsghdr) ControlRoom {
  std::array<std::uint8_t, CMSG_SPACE(kMaxDescriptors * sizeof(int))> bytes{};
};

void put_descriptors(msghdr& header, ControlRoom& room, const std::vector<UniqueFd>& descriptors) {
  const std::size_t size = descriptors.size() * sizeof(int);
  header.msg_control = room.bytes.data();
  header.msg_controllen = CMSG_SPACE(size);
  cmsghdr* const control = CMSG_FIRSTHDR(&header);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(size);
  std::array<int, kMaxDescriptors> numbers{};
  for (std::size_t i = 0; i < descriptors.size(); ++i) numbers[i] = descriptors[i].get();
  std::memcpy(CMSG_DATA(control), numbers.data(), size);
}

std::vector<UniqueFd> taken_descriptors(msghdr& header) {
  std::vector<UniqueFd> descriptors;
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
       control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::array<int, kMaxDescriptors> numbers{};
    std::memcpy(numbers.data(), CMSG_DATA(control), std::min(count, kMaxDescriptors) * sizeof(int));
    for (std::size_t i = 0; i < std::min(count, kMaxDescriptors); ++i) {
      descriptors.emplace_back(numbers[i]);
    }
  }
  return descriptors;
}

}  // namespace

Status send_setup(int channel, const SetupMessage& message) {
  if (message.descriptors.size() > kMaxDescriptors) return errno_error(E2BIG, "set-up message");
  Packet packet{.step = message.step, .number = message.number};
  const std::size_t length = std::min(message.text.size(), kMaxText);
  packet.text_length = static_cast<std::uint32_t>(length);
  std::copy_n(message.text.begin(), length, packet.text.begin());
  iovec vector{.iov_base = &packet, .iov_len = sizeof(packet)};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  ControlRoom room;
  if (!message.descriptors.empty()) put_descriptors(header, room, message.descriptors);
  if (::sendmsg(channel, &header, MSG_NOSIGNAL) < 0) return errno_error("set-up message");
  return {};
}

Result<SetupMessage> receive_setup(int channel) {
  Packet packet;
  iovec vector{.iov_base = &packet, .iov_len = sizeof(packet)};
  ControlRoom room;
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = room.bytes.data();
  header.msg_controllen = room.bytes.size();
  ssize_t received = 0;
  do {
    received = ::recvmsg(channel, &header, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0) return errno_error("set-up message");
  if (received == 0) return errno_error(EPIPE, "set-up message");
  SetupMessage message{.descriptors = taken_descriptors(header)};
  if (received != ssize_t{sizeof(packet)} || packet.text_length > kMaxText) {
    return errno_error(EPROTO, "set-up message");
  }
  message.step = packet.step;
  message.number = packet.number;
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
