#include "launcher/audit/socket_address.h"

#include <algorithm>
#include <cstring>
#include <netinet/in.h>

namespace cordon::audit {

int family_of(const IpAddress& address) { return address.is_v4() ? AF_INET : AF_INET6; }

SocketAddress socket_address(const Endpoint& endpoint, unsigned zone) {
  SocketAddress result;
  const Bytes octets = endpoint.address.octets();
  if (endpoint.address.is_v4()) {
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(endpoint.port)};
    std::memcpy(&address.sin_addr, octets.data(), octets.size());
    std::memcpy(&result.storage, &address, sizeof(address));
    result.size = sizeof(address);
    return result;
  }
  sockaddr_in6 address{.sin6_family = AF_INET6, .sin6_port = htons(endpoint.port)};
  std::memcpy(&address.sin6_addr, octets.data(), octets.size());
  address.sin6_scope_id = zone;
  std::memcpy(&result.storage, &address, sizeof(address));
  result.size = sizeof(address);
  return result;
}

std::optional<Endpoint> endpoint_of(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    sockaddr_in address;
    std::memcpy(&address, &storage, sizeof(address));
    return Endpoint{IpAddress::v4(ntohl(address.sin_addr.s_addr)), ntohs(address.sin_port)};
  }
  if (storage.ss_family != AF_INET6) return std::nullopt;
  sockaddr_in6 address;
  std::memcpy(&address, &storage, sizeof(address));
  const Bytes octets(reinterpret_cast<const std::uint8_t*>(&address.sin6_addr), 16);
  const bool is_mapped = IN6_IS_ADDR_V4MAPPED(&address.sin6_addr);
  return Endpoint{IpAddress::from_octets(is_mapped ? octets.subspan(12) : octets),
                  ntohs(address.sin6_port)};
}

}  // namespace cordon::audit
