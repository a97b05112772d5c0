// UDP headers (RFC 768, RFC 8200 section 8.1).
#pragma once

#include <cstdint>

#include "netstack/wire/ip.h"

namespace cordon {

inline constexpr std::size_t kUdpHeaderSize = 8;

struct UdpHeader {
  Be16 source_port;
  Be16 destination_port;
  Be16 length;
  Be16 checksum;
};
static_assert(sizeof(UdpHeader) == kUdpHeaderSize);

struct UdpDatagram {
  std::uint16_t source_port = 0;  // 0 is legal: no reply expected
  std::uint16_t destination_port = 0;
  Bytes payload;
};

/// Checksum 0 is accepted over IPv4 and refused over IPv6. Octets behind the UDP length are cut
/// off. `is_gso`: the packet is a train of datagrams (virtio UDP_L4) whose header length the kernel
/// set for the whole; the IP payload's length decides. `is_checksum_trusted` as in parse_tcp().
/// Destination port 0 is kBadPort; a packet that is still a fragment is kBadTransportLength.
[[nodiscard]] Parsed<UdpDatagram> parse_udp(const IpPacket& packet, bool is_checksum_trusted,
                                            bool is_gso = false);

/// A whole IP packet with a datagram in it, its checksum filled in; its size, or 0 where `out` has
/// no room for it.
[[nodiscard]] std::size_t write_udp_packet(MutableBytes out, const IpHeaderFields& ip,
                                           std::uint16_t source_port,
                                           std::uint16_t destination_port, Bytes payload);

}  // namespace cordon
