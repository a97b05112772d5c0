// Endpoints as the kernel's socket addresses and back.
#pragma once

#include <cstdint>
#include <netinet/in.h>
#include <optional>
#include <sys/socket.h>

#include "netstack/address/ip_address.h"

namespace cordon {

class SocketAddress {
 public:
  SocketAddress() = default;
  /// `zone`: the link that a link-local address is on (RFC 4007 section 6); other addresses have
  /// none.
  explicit SocketAddress(const Endpoint& endpoint, std::uint32_t zone = 0);

  [[nodiscard]] const sockaddr* get() const;
  /// For calls that fill it in.
  [[nodiscard]] sockaddr* out();
  [[nodiscard]] socklen_t size() const { return size_; }
  [[nodiscard]] socklen_t* size_out() { return &size_; }
  [[nodiscard]] static constexpr socklen_t capacity() { return sizeof(sockaddr_in6); }

  /// nullopt where the kernel gave no internet address. An IPv4-mapped address comes back as IPv4.
  [[nodiscard]] std::optional<Endpoint> endpoint() const;

 private:
  union Storage {
    sockaddr_in6 v6;
    sockaddr_in v4;
    sockaddr any;
  };
  Storage storage_{};
  socklen_t size_ = sizeof(sockaddr_in6);
};

[[nodiscard]] constexpr int socket_family(Family family) {
  return family == Family::kIpv4 ? AF_INET : AF_INET6;
}

}  // namespace cordon
