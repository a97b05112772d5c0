#include "netstack/host/descriptor/passed_descriptors.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <sys/socket.h>
#include <utility>

namespace cordon {
namespace {

struct alignas(cmsghdr) ControlRoom {
  std::array<std::uint8_t, CMSG_SPACE(kMaxPassedDescriptors * sizeof(int))> bytes{};
};

std::size_t take_from(const cmsghdr& control, std::span<UniqueFd> places) {
  const std::size_t count = (control.cmsg_len - CMSG_LEN(0)) / sizeof(int);
  for (std::size_t i = 0; i < count; ++i) {
    int number = -1;
    std::memcpy(&number, CMSG_DATA(&control) + i * sizeof(int), sizeof(int));
    UniqueFd taken(number);
    if (i < places.size()) places[i] = std::move(taken);
  }
  return std::min(count, places.size());
}

}  // namespace

IoStatus pass_descriptors(int socket, std::span<const std::byte> packet,
                          std::span<const int> descriptors, int flags) {
  if (descriptors.size() > kMaxPassedDescriptors) return std::unexpected(Errno{E2BIG});
  // sendmsg() only reads it.
  iovec vector{.iov_base = const_cast<std::byte*>(packet.data()),  // NOLINT
               .iov_len = packet.size()};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  ControlRoom room;
  if (!descriptors.empty()) {
    header.msg_control = room.bytes.data();
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(control), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &header, flags | MSG_NOSIGNAL);  // syscalls: sendmsg
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return std::unexpected(Errno{errno});
  return {};
}

IoResult<PassedPacket> take_descriptors(int socket, std::span<std::byte> packet,
                                        std::span<UniqueFd> descriptors, int flags) {
  iovec vector{.iov_base = packet.data(), .iov_len = packet.size()};
  ControlRoom room;
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = room.bytes.data();
  header.msg_controllen = room.bytes.size();
  ssize_t received = 0;
  do {
    received = ::recvmsg(socket, &header, flags | MSG_CMSG_CLOEXEC);  // syscalls: recvmsg
  } while (received < 0 && errno == EINTR);
  if (received < 0) return std::unexpected(Errno{errno});
  PassedPacket taken{.octets = static_cast<std::size_t>(received)};
  for (const cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
       control = CMSG_NXTHDR(&header, const_cast<cmsghdr*>(control))) {  // NOLINT: glibc's type
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    taken.descriptors += take_from(*control, descriptors.subspan(taken.descriptors));
  }
  return taken;
}

}  // namespace cordon
