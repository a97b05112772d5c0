// Destination strings: how a rule says where a flow may go. The same on the command line and in
// files.
//
//   10.1.2.0/24:5432   [2001:db8::/48]:443   192.0.2.7     an address or prefix; no port means all
//   198.51.100.7:5000-5010                                a range of ports
//   @public   @lan:443   @vpn                             a class of addresses
//   udp/198.51.100.7:123   icmp/@public   tcp/@lan        another protocol; none given: any for an
//                                                         address or class without a port, tcp with
//                                                         one
//   host:5432                                             the host door: that port of the host's
//   loopback
//
// Names are not understood here; a string that looks like one is refused with words that say so.
// Anything malformed is refused: a rule never means more than it says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "netstack/address/classes.h"
#include "netstack/address/ip_address.h"
#include "netstack/base/result.h"
#include "netstack/policy/request.h"

namespace cordon {

/// Inclusive; {0, 65535} is every port. first <= last by construction.
struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 65535;
  [[nodiscard]] bool contains(std::uint16_t port) const { return first <= port && port <= last; }
  [[nodiscard]] bool is_all() const { return first == 0 && last == 65535; }
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

struct Destination {
  enum class Kind : std::uint8_t { kPrefix, kClass, kHostDoor };
  Kind kind = Kind::kPrefix;
  std::optional<Protocol> protocol;                    // nullopt: every protocol
  Prefix prefix;                                       // kPrefix
  AddressClass address_class = AddressClass::kPublic;  // kClass
  PortRange ports;

  friend bool operator==(const Destination&, const Destination&) = default;
};

/// The error names what is wrong and how it is written right.
[[nodiscard]] Result<Destination> parse_destination(std::string_view text);

/// A string that parse_destination() reads back as the same destination.
[[nodiscard]] std::string format_destination(const Destination& destination);

}  // namespace cordon
