// DNS messages for tests, written and read after RFC 1035 without netstack/names.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/world/packets.h"

namespace cordon::world {

struct DnsSeen {
  std::uint16_t id = 0;
  bool is_response = false;
  bool is_truncated = false;
  bool is_recursion_desired = false;
  std::uint8_t rcode = 0;
  std::string name;  // with the letters' case
  std::uint16_t type = 0;
  std::uint16_t answers = 0;
  std::vector<IpAddress> addresses;
  std::optional<std::uint16_t> edns_octets;
  std::optional<std::uint16_t> extended_error;  // RFC 8914
};

/// `edns`: the UDP size of an OPT record; 0: none.
[[nodiscard]] Octets dns_query(std::uint16_t id, std::string_view name, std::uint16_t type = 1,
                               std::uint16_t edns = 0);
/// An answer to `query`, a message that a translator sent: its id and question, `rcode`, and A
/// records.
[[nodiscard]] Octets dns_answer(const Octets& query, std::uint8_t rcode,
                                const std::vector<std::string>& addresses = {});
/// The header, the question and the records of a message; uncompressed names or pointers.
[[nodiscard]] DnsSeen read_dns(const Octets& message);

}  // namespace cordon::world
