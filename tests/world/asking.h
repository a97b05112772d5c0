// A guest that asks the translator's resolver, and upstreams that answer as the test says.
#pragma once

#include <gtest/gtest.h>

#include "tests/world/dns.h"
#include "tests/world/world.h"

namespace cordon::world {

inline constexpr const char* kFirst = "198.51.100.53:53";
inline constexpr const char* kSecond = "198.51.100.54:53";

struct Asking : World {
  using World::World;
  void asks(std::uint16_t id, std::string_view name, std::uint16_t type = 1, std::uint16_t edns = 0,
            std::uint16_t port = 5000) {
    guest_sends(Udp()
                    .from_port(port)
                    .to(Endpoint{.address = resolver_address(Family::kIpv4), .port = 53})
                    .payload(dns_query(id, name, type, edns)));
  }
  DnsSeen expect_answer(Where where = Where::current()) {
    const Seen seen = expect_udp(where);
    EXPECT_EQ(seen.source_port, 53);
    return read_dns(seen.payload);
  }
  /// The query that the last upstream socket sent.
  Octets query() {
    EXPECT_FALSE(dns_socket().sent.empty());
    return dns_socket().sent.empty() ? Octets{} : dns_socket().sent.back().payload;
  }
  Endpoint asked() { return dns_socket().sent.back().destination; }
  void upstream_answers(std::uint8_t rcode, const std::vector<std::string>& addresses = {}) {
    datagram_arrives(dns_socket().handle, asked(), dns_answer(query(), rcode, addresses));
  }
};

}  // namespace cordon::world
