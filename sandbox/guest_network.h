// The guest's network: a namespace N with lo and one tap, made from inside it.
//
// The tap's far end is the translator. It hands over frames with a virtio header and every offload,
// so that the guest's kernel neither cuts segments nor sums checksums on our behalf. Addresses are
// set here, by us: there is no DHCP and no router advertisement to wait for, and none is accepted.
//
// The calling thread must be in N already and have CAP_NET_ADMIN over it; /proc must be mounted.
// Nothing is taken back on failure: N goes with its last process.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"
#include "sandbox/steering.h"

namespace cordon {

using MacOctets = std::array<std::uint8_t, 6>;

/// One family on the guest's link; addresses in their text forms.
struct GuestFamilyPlan {
  std::string address;         // the guest's
  unsigned prefix_length = 0;  // on-link
  std::string gateway;         // IPv6: the gateway's link-local address
};

struct GuestNetworkPlan {
  std::string link = "eth0";
  unsigned mtu = 1500;
  MacOctets guest_mac{};
  MacOctets gateway_mac{};
  GuestFamilyPlan v4;
  GuestFamilyPlan v6;
  std::string v6_link_local;  // the guest's
};

/// What the translator needs of N.
struct GuestNetwork {
  UniqueFd tap;                 // non-blocking, 12-octet virtio header
  bool has_udp_trains = false;  // the tap takes and gives UDP_L4 segmentation (Linux 6.2)
  std::uint32_t link_index = 0;
  Steering steering;   // installed; kept so that it can be put back
  UniqueFd sock_diag;  // NETLINK_SOCK_DIAG, for the supervisor's look-up of processes
};

/// lo, tap, addresses, default routes, sysctls, steering (steering.h). Where the kernel has no IPv6
/// the guest has none.
[[nodiscard]] Result<GuestNetwork> build_guest_network(const GuestNetworkPlan& plan);

/// lo alone, up: the network of --offline.
[[nodiscard]] Status build_offline_network();

}  // namespace cordon
