// Endpoints as the kernel has them, with the zone that link-local addresses need.
#pragma once

#include <optional>
#include <sys/socket.h>

#include "netstack/address/ip_address.h"

namespace cordon::audit {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

/// `zone`: the interface's index, for fe80::/10 and multicast groups.
[[nodiscard]] SocketAddress socket_address(const Endpoint& endpoint, unsigned zone = 0);
/// nullopt for other families. A mapped IPv4 address is told as IPv4.
[[nodiscard]] std::optional<Endpoint> endpoint_of(const sockaddr_storage& storage);
[[nodiscard]] int family_of(const IpAddress& address);

}  // namespace cordon::audit
