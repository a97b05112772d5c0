// Which addresses the guest's link gets.
//
// An address inside that is also one of the host's world would hide that part of the world from the
// guest, and a host route that covers it would make replies ambiguous to a reader of logs. So the
// first candidate is taken that overlaps nothing the host routes to, has, or asks for names (the
// same check as moby's for its bridges). The default routes are no overlap: they cover everything.
//
// In every subnet: .1 the gateway, .2 the guest, .3 the resolver, .4 the host door (::1 to ::4 in
// IPv6). The choice is a pure function; read_host_networks() asks the kernel.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "netstack/address/ip_address.h"
#include "netstack/base/result.h"
#include "netstack/flow/translator_config.h"

namespace cordon {

/// A prefix that the host uses, and the words that name it in an error.
struct HostNetwork {
  Prefix prefix;
  std::string what;  // "route 10.0.0.0/8 dev eth0", "address 10.1.2.3 of eth0", "DNS server …"
};

/// Routes of all tables (without the default routes and without what every host has: loopback,
/// link-local, multicast) and addresses of all interfaces. A host without any gives an empty list.
[[nodiscard]] Result<std::vector<HostNetwork>> read_host_networks();

/// The first candidate of `family` that overlaps none of `used`; where every one does, an error
/// that asks for --subnet.
[[nodiscard]] Result<Prefix> choose_subnet(Family family, std::span<const HostNetwork> used);

/// Whether the user's own --subnet can be: private, big enough, free. The error names the conflict.
[[nodiscard]] Status check_subnet(const Prefix& subnet, std::span<const HostNetwork> used);

/// The addresses inside `subnet`.
[[nodiscard]] LinkFamily lay_out(const Prefix& subnet);

}  // namespace cordon
