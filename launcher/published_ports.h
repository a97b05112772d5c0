// Published ports: a port of the host that leads into the guest.
//
//   8080:80              TCP, 127.0.0.1:8080 on the host to port 80 inside
//   0.0.0.0:8080:80      the address to bind is the user's explicit choice
//   [::1]:5353:53/udp    IPv6 in brackets, UDP
//   [fe80::1%eth0]:8080:80  a link-local address says on which link (RFC 4007 section 11)
//   0.0.0.0:8080:80,from=198.51.100.0/24,from=198.51.101.7   who may come; without it, everybody
//
// The supervisor binds the sockets before anything starts: it has the user's own privileges, and a
// port that is taken is told at once. The translator inherits them and accepts; it never binds.
// A port says one family only: an IPv6 socket never takes IPv4 clients along (RFC 3493
// section 5.3), so that [::] does not open more than it says.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "netstack/address/ip_address.h"
#include "netstack/base/result.h"
#include "netstack/host/worker.h"
#include "netstack/policy/request.h"

namespace cordon {

struct PublishSpec {
  Protocol protocol = Protocol::kTcp;
  Endpoint bind;     // on the host
  std::string zone;  // the interface of a link-local `bind`
  std::uint16_t guest_port = 0;
  std::vector<Prefix> sources;  // who may come; empty: everybody
  std::string text;             // as the user wrote it

  friend bool operator==(const PublishSpec&, const PublishSpec&) = default;
};

/// [ADDR:]HOST:GUEST[/tcp|/udp][,from=PREFIX]... The error says what is wrong and how it is written
/// right.
[[nodiscard]] Result<PublishSpec> parse_publish(std::string_view text);

/// Binds every one of them, in order; the first that fails is the error, with the remedy.
[[nodiscard]] Result<std::vector<PublishedSocket>> bind_published(
    const std::vector<PublishSpec>& specs);

}  // namespace cordon
