// ARP (RFC 826, 5227) and Neighbour Discovery (RFC 4861, 4862) on the guest's link, answered for
// the addresses that are ours: gateway, resolver, host door. Nobody but the guest and us is on the
// link: link-local clients of published ports are stations of the host's links, so the gateway
// answers for every link-local IPv6 address but the guest's own (a proxy, RFC 4861 section 7.2.8),
// and what may not be reached is refused at once instead of being looked for. Pure: frame in, frame
// out, no cache. The guest's MAC is known beforehand.
//
// Not done: redirects, router advertisements (the guest's network is set up by the
// sandbox; a VM's comes with DHCP and RA).
#pragma once

#include <span>

#include "netstack/address/ip_address.h"
#include "netstack/wire/drop.h"
#include "netstack/wire/ethernet.h"
#include "netstack/wire/ip.h"

namespace cordon {

struct LinkAddresses {
  MacAddress guest_mac{};
  MacAddress gateway_mac{};
  std::span<const IpAddress> ours;  // every address that answers on the link, link-local included
};

/// The ARP reply to the request in `arp` (the Ethernet payload), written as a whole frame to `out`;
/// its size. kBadArp for what is no request for an address of ours, among it probes for the guest's
/// own address (RFC 5227), gratuitous ARP that claims ours, and malformed packets.
[[nodiscard]] Parsed<std::size_t> answer_arp(const LinkAddresses& link, Bytes arp,
                                             MutableBytes out);

/// The neighbour advertisement for a solicitation in `packet` (ICMPv6 type 135 with hop limit 255),
/// written as a whole frame to `out`; its size. Router solicitations and everything else of NDP:
/// kBadNdp.
[[nodiscard]] Parsed<std::size_t> answer_ndp(const LinkAddresses& link, const IpPacket& packet,
                                             MutableBytes out);

/// Whether an ICMPv6 packet is Neighbour Discovery or MLD: link-scoped, and never a flow.
[[nodiscard]] bool is_ndp(const IpPacket& packet);

}  // namespace cordon
