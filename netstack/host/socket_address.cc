#include "netstack/host/socket_address.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cstring>

namespace cordon {

SocketAddress::SocketAddress(const Endpoint& endpoint, std::uint32_t zone) {
  const Bytes octets = endpoint.address.octets();
  if (endpoint.address.is_v4()) {
    storage_.v4 = sockaddr_in{.sin_family = AF_INET, .sin_port = htons(endpoint.port)};
    std::memcpy(&storage_.v4.sin_addr, octets.data(), octets.size());
    size_ = sizeof(sockaddr_in);
  } else {
    storage_.v6 = sockaddr_in6{.sin6_family = AF_INET6, .sin6_port = htons(endpoint.port)};
    std::memcpy(&storage_.v6.sin6_addr, octets.data(), octets.size());
    if (endpoint.address.is_link_local()) storage_.v6.sin6_scope_id = zone;
    size_ = sizeof(sockaddr_in6);
  }
}

const sockaddr* SocketAddress::get() const { return &storage_.any; }
sockaddr* SocketAddress::out() { return &storage_.any; }

std::optional<Endpoint> SocketAddress::endpoint() const {
  if (storage_.any.sa_family == AF_INET && size_ >= sizeof(sockaddr_in)) {
    return Endpoint{.address = IpAddress::v4(ntohl(storage_.v4.sin_addr.s_addr)),
                    .port = ntohs(storage_.v4.sin_port)};
  }
  if (storage_.any.sa_family != AF_INET6 || size_ < sizeof(sockaddr_in6)) return std::nullopt;
  std::array<std::uint8_t, 16> octets{};
  std::memcpy(octets.data(), &storage_.v6.sin6_addr, octets.size());
  const std::uint16_t port = ntohs(storage_.v6.sin6_port);
  if (IN6_IS_ADDR_V4MAPPED(&storage_.v6.sin6_addr)) {
    return Endpoint{.address = IpAddress::from_octets(Bytes(octets).subspan(12)), .port = port};
  }
  return Endpoint{.address = IpAddress::v6(octets), .port = port};
}

}  // namespace cordon
