// Address classes: what kind of place an address is, decided for the address that the host really
// dials. Pure: what only the host's kernel knows arrives as RouteFacts.
//
// Worst first (the order of the enumerators); where an address wraps another one (IPv4-mapped,
// NAT64, 6to4, Teredo, ISATAP), the worse of the two counts.
//
// Sources: RFC 6890 and the IANA IPv4/IPv6 special-purpose address registries; RFC 4291, 6052,
// 8215, 3056, 4380, 5214 for what is unwrapped; the clouds' documentation for the metadata
// addresses.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "netstack/address/ip_address.h"

namespace cordon {

enum class AddressClass : std::uint8_t {
  kSelf,       // any address of the host itself, as its FIB says; 0.0.0.0/8 and ::
  kMetadata,   // a cloud's instance metadata service
  kLoopback,   // 127.0.0.0/8, ::1
  kLinkLocal,  // 169.254.0.0/16, fe80::/10
  kLan,        // private, shared, ULA, and every on-link prefix of the host
  kVpn,        // leaves through a tunnel device by a route more specific than /2
  kMulticast,  // 224.0.0.0/4, ff00::/8, 255.255.255.255
  kReserved,   // special-purpose and not globally reachable
  kPublic,     // everything else
};

/// "self", "metadata", "loopback", "linklocal", "lan", "vpn", "multicast", "reserved", "public".
[[nodiscard]] std::string_view class_name(AddressClass address_class);
[[nodiscard]] std::optional<AddressClass> parse_class(std::string_view name);

/// What the host's FIB said about an address at the moment of asking (RTM_GETROUTE).
struct RouteFacts {
  enum class Type : std::uint8_t {
    kUnicast,      // RTN_UNICAST: there is a way
    kLocal,        // RTN_LOCAL: the host itself
    kBroadcast,    // RTN_BROADCAST
    kAnycast,      // RTN_ANYCAST
    kMulticast,    // RTN_MULTICAST
    kUnreachable,  // no route, or a blackhole, unreachable or prohibit route
  };
  Type type = Type::kUnreachable;
  bool is_on_link = false;         // no gateway: a neighbour on one of the host's links
  bool is_tunnel = false;          // leaves by a tun, wireguard or ppp device
  std::uint8_t prefix_length = 0;  // of the route that matched
};

/// A prefix that the user declared to be of a class (`[classes]`, `--class lan=198.51.100.0/24`).
struct ClassOverride {
  Prefix prefix;
  AddressClass address_class = AddressClass::kLan;
};

/// Why an override may not be: self, metadata, loopback and multicast never move; only reserved may
/// be declared public. nullopt where it is allowed.
[[nodiscard]] std::optional<std::string_view> refuse_override(const ClassOverride& candidate);

/// The class of `address`. `overrides`: the longest matching prefix decides.
[[nodiscard]] AddressClass classify(const IpAddress& address, const RouteFacts& route,
                                    std::span<const ClassOverride> overrides);

/// The class by the registries alone: no route, no override, unwrapped.
[[nodiscard]] AddressClass registry_class(const IpAddress& address);

/// The IPv4 address inside an IPv6 one that carries one (RFC 4291, 6052, 8215, 3056, 4380, 5214).
/// A Teredo address carries two, its server and its client, and one of 64:ff9b:1::/48 may be read
/// in up to three ways; the worst class of all counts in classify(), so all are returned.
struct Unwrapped {
  std::array<IpAddress, 3> inner{};
  std::size_t count = 0;
};
[[nodiscard]] Unwrapped unwrap(const IpAddress& address);

}  // namespace cordon
