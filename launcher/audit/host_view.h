// What this side of the sandbox looks like: addresses, gateways, other people's unix sockets. Read
// from the system when the audit begins; the prober uses the same functions to see its own side.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/audit/plan.h"
#include "netstack/address/ip_address.h"
#include "netstack/base/result.h"

namespace cordon::audit {

struct InterfaceAddress {
  std::string interface;
  unsigned index = 0;
  Prefix prefix;
  IpAddress address;
  std::optional<IpAddress> broadcast;
};

/// Of all interfaces that are up, loopback included.
[[nodiscard]] Result<std::vector<InterfaceAddress>> read_addresses();
/// Indices of the interfaces that are up and no loopback.
[[nodiscard]] std::vector<unsigned> outward_interfaces();

/// The row that an address of the host belongs to.
[[nodiscard]] Leak leak_of_address(const IpAddress& address);

/// Gateways in the text of /proc/net/route and of /proc/net/ipv6_route.
[[nodiscard]] std::vector<IpAddress> parse_gateways_v4(std::string_view text);
[[nodiscard]] std::vector<IpAddress> parse_gateways_v6(std::string_view text);
/// Both of this process's own network namespace.
[[nodiscard]] std::vector<IpAddress> read_gateways();

/// An address of the prefix that is not among `known` and that the host most likely has no
/// neighbour at. Another one for each `salt`: what the host goes on asking for after one audit is
/// no evidence of the next. nullopt where the prefix has no room.
[[nodiscard]] std::optional<IpAddress> unused_neighbour(const Prefix& prefix, std::uint64_t salt,
                                                        const std::vector<IpAddress>& known);
/// The IPv4 neighbours that the host has, or looks for in vain.
[[nodiscard]] std::vector<IpAddress> read_known_neighbours();

/// The inode of this process's network namespace, 0 where /proc does not tell.
[[nodiscard]] std::uint64_t network_namespace_inode();

/// The folder where cordon's control sockets are (launcher/control/control_folder.h).
[[nodiscard]] Result<std::string> control_folder();
/// Unix sockets of daemons, name services and the desktop that answer this process now.
[[nodiscard]] std::vector<KnownSocket> answering_sockets();
/// Connects, and closes at once. 0, or the errno.
[[nodiscard]] int try_unix_socket(std::string_view path);

/// The hops that a wrapped IPv4 address can be told by: ::ffff:0:0/96, ::/96, 64:ff9b::/96,
/// 2002::/16, Teredo (RFC 4291, 6052, 3056, 4380).
[[nodiscard]] std::vector<IpAddress> wrapped_forms(const IpAddress& v4);

}  // namespace cordon::audit
