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
//   pypi.org   tcp/pypi.org                               a name; no port means tcp 80 and 443 in
//                                                         an allow rule, everything in others
//   *.pypi.org   .pypi.org                                its subdomains; itself and its subdomains
//   github.com:22   udp/ntp.example:123   icmp/gw.example a name with a port (tcp), other protocols
//
// Only address rules match what a guest dials by address; only name rules match by name, whatever
// the address. Anything malformed is refused, with the text that was probably meant: a rule never
// means more than it says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "netstack/address/classes.h"
#include "netstack/address/ip_address.h"
#include "netstack/base/result.h"
#include "netstack/policy/name_pattern.h"
#include "netstack/policy/port_set.h"
#include "netstack/policy/request.h"

namespace cordon {

struct Destination {
  enum class Kind : std::uint8_t { kPrefix, kClass, kHostDoor, kName };
  Kind kind = Kind::kPrefix;
  std::optional<Protocol> protocol;                    // nullopt: every protocol
  Prefix prefix;                                       // kPrefix
  AddressClass address_class = AddressClass::kPublic;  // kClass
  NamePattern pattern;                                 // kName
  PortSet ports;  // of a name, PortSet::web() where none was given (reach_of() says what it means)

  friend bool operator==(const Destination&, const Destination&) = default;
};

/// The error names what is wrong and how it is written right.
[[nodiscard]] Result<Destination> parse_destination(std::string_view text);

/// A string that parse_destination() reads back as the same destination.
[[nodiscard]] std::string format_destination(const Destination& destination);

}  // namespace cordon
