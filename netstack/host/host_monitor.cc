#include "netstack/host/host_monitor.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "netstack/base/bytes.h"

namespace cordon {
namespace {

constexpr std::uint32_t kGroups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                                  RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_IPV4_RULE;

void look_at(Bytes messages, HostChange& change) {
  while (messages.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header{};
    std::memcpy(&header, messages.data(), sizeof(header));
    if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > messages.size()) return;
    change.has_changed = true;
    if (header.nlmsg_type == RTM_DELADDR || header.nlmsg_type == RTM_DELLINK) {
      change.is_address_lost = true;
    }
    const std::size_t step = NLMSG_ALIGN(header.nlmsg_len);
    if (step >= messages.size()) return;
    messages = messages.subspan(step);
  }
}

}  // namespace

Result<HostMonitor> HostMonitor::open() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!socket.is_open()) return errno_error("netlink socket for the host's changes");
  const sockaddr_nl address{.nl_family = AF_NETLINK, .nl_groups = kGroups};
  sockaddr any{};
  std::memcpy(&any, &address, sizeof(address));
  if (bind(socket.get(), &any, sizeof(address)) != 0) {
    return errno_error("bind netlink socket for the host's changes");
  }
  return HostMonitor(std::move(socket));
}

HostChange HostMonitor::read() {
  HostChange change;
  std::array<std::uint8_t, 16384> buffer;  // NOLINT: filled by the kernel
  // Bounded: a host whose routes never rest is looked at again in the next turn.
  for (int i = 0; i < 64; ++i) {
    // syscalls: recvfrom
    const ssize_t size = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size > 0) {
      look_at(Bytes(buffer).first(static_cast<std::size_t>(size)), change);
      continue;
    }
    if (size < 0 && errno == ENOBUFS) {
      change = HostChange{.has_changed = true, .is_address_lost = true};
      continue;
    }
    return change;
  }
  return change;
}

}  // namespace cordon
