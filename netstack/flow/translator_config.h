// What a translator is told before it starts: the addresses on the guest's link, the policy, where
// DNS queries go. Values only; the descriptors are handed over in host/worker.h.
#pragma once

#include <cstdint>
#include <vector>

#include "netstack/address/ip_address.h"
#include "netstack/policy/policy.h"
#include "netstack/wire/ethernet.h"

namespace cordon {

/// The guest's link in one family. All but the guest's own address are ours and answer ARP or NDP.
struct LinkFamily {
  Prefix subnet;
  IpAddress guest;
  IpAddress gateway;    // also what a client on the host's loopback looks like from inside
  IpAddress resolver;   // answers port 53; so does every other address
  IpAddress host_door;  // host.cordon.internal
};

struct TranslatorConfig {
  MacAddress guest_mac{0x02, 0x00, 0x00, 0x00, 0x00, 0x02};
  MacAddress gateway_mac{0x02, 0x00, 0x00, 0x00, 0x00, 0x01};
  LinkFamily v4;
  LinkFamily v6;
  IpAddress guest_link_local;    // fe80::/64, from the guest's MAC (EUI-64)
  IpAddress gateway_link_local;  // fe80::1
  std::uint16_t mtu = 1500;
  Policy policy;
  std::vector<Endpoint> upstreams;  // DNS servers that the host uses, in order
  bool reports_flows = false;       // flows as well as denials go to the supervisor
};

}  // namespace cordon
