// Why a frame of the guest, or a datagram towards it, went no further. One counter a reason; never
// a log line a frame.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <string_view>

namespace cordon {

enum class Drop : std::uint8_t {
  // The frame and its headers.
  kTruncated,     // shorter than its headers claim
  kBadEtherType,  // neither IPv4, IPv6 nor ARP; 802.3 length frames and VLAN tags too
  kNotForUs,      // another station's MAC address
  kBadIpVersion,
  kBadHeaderLength,  // IHL, data offset or extension header length that cannot be
  kBadTotalLength,
  kBadIpChecksum,
  kSourceRoute,         // RFC 7126 LSRR/SSRR, RFC 5095 routing header type 0
  kBadExtensionHeader,  // order, count, size, or an option that asks for the packet's death
  kBadTtl,              // TTL or hop limit 0
  kBadSource,           // multicast, broadcast, unspecified or loopback source
  kForeignSource,       // not an address that was given to the guest
  kForeignMac,          // not the MAC address that was given to the guest
  kBadTransportChecksum,
  kBadTransportLength,
  kBadTcpFlags,  // SYN with FIN or RST, no flags at all
  kBadTcpOptions,
  kBadPort,           // port 0
  kUnknownTransport,  // SCTP, GRE, ESP, AH, IGMP and the rest: never leaves
  kUnknownIcmp,       // an ICMP message that we have no answer to
  kMulticast,         // to a multicast or broadcast address
  // Fragments (RFC 791, 5722, 6980, 7112, 8200).
  kFragmentHeld,  // not lost: waits for the others
  kFragmentOverlap,
  kFragmentBad,  // length no multiple of 8, sum past 65,535, empty, headers not in the first
  kFragmentTimeout,
  kFragmentNoRoom,
  // Neighbours.
  kBadArp,
  kBadNdp,
  // Flows and limits.
  kDenied,     // by policy
  kTcpNotSyn,  // a TCP segment that the steering should have kept inside
  kFlowLimit,
  kHalfOpenLimit,
  kDestinationRate,  // too many new flows to one address in a second
  kBudget,           // a datagram past what a rule, or everything, may send or receive
  kIcmpRate,         // an ICMP error or reset that the rate limit held back
  kAwaitsName,       // waits for its name to be looked up, and there is no room to wait
  kNoHostResource,   // descriptors, ports or memory of the host ran out; the guest tries again
  // Towards the guest.
  kTapFull,
  kUnknownPeer,  // a datagram from somebody whom the guest has not addressed
  kHostError,    // the host could not send it
  kTooBig,       // larger than a frame can hold
  kCount,
};

inline constexpr std::size_t kDropReasons = static_cast<std::size_t>(Drop::kCount);

/// "truncated", "bad-ip-checksum" and so on, stable for logs.
[[nodiscard]] std::string_view drop_name(Drop drop);

template <class T>
using Parsed = std::expected<T, Drop>;

/// How often each reason came up.
struct DropCounters {
  std::array<std::uint64_t, kDropReasons> count{};
  void add(Drop drop) { ++count[static_cast<std::size_t>(drop)]; }
  [[nodiscard]] std::uint64_t of(Drop drop) const { return count[static_cast<std::size_t>(drop)]; }
};

}  // namespace cordon
