// IPv4 (RFC 791, 1122, 6864, 7126) and IPv6 (RFC 8200, 5095, 7112) packets as one view.
//
// parse_ipv4() and parse_ipv6() prove every length before they return: `payload` is what the packet
// says it carries, padding cut, extension headers walked. What policy and flows need to know is the
// same for both families, so both give an IpPacket.
#pragma once

#include <cstdint>
#include <optional>

#include "netstack/address/ip_address.h"
#include "netstack/wire/drop.h"
#include "netstack/wire/endian.h"

namespace cordon {

enum class IpProtocol : std::uint8_t {
  kHopByHop = 0,
  kIcmp = 1,
  kTcp = 6,
  kUdp = 17,
  kRouting = 43,
  kFragment = 44,
  kEsp = 50,
  kAuthentication = 51,
  kIcmpv6 = 58,
  kNoNextHeader = 59,
  kDestinationOptions = 60,
};

inline constexpr std::size_t kIpv4HeaderSize = 20;  // without options
inline constexpr std::size_t kIpv6HeaderSize = 40;  // without extension headers
/// What an IPv4 total length or an IPv6 payload length can say.
inline constexpr std::size_t kMaxIpPacket = 65535;

/// Where a fragment stands (RFC 791 section 3.2, RFC 8200 section 4.5).
struct Fragment {
  std::uint32_t identification = 0;
  std::uint32_t offset = 0;  // octets, a multiple of 8
  bool has_more = false;
};

struct IpPacket {
  IpAddress source;
  IpAddress destination;
  std::uint8_t protocol = 0;       // of the payload, behind all extension headers
  std::uint8_t ttl = 0;            // or hop limit
  std::uint8_t traffic_class = 0;  // TOS octet or IPv6 traffic class
  std::uint32_t flow_label = 0;    // IPv6 only
  bool has_dont_fragment = false;  // IPv4 DF; always true for IPv6
  std::optional<Fragment> fragment;
  Bytes packet;   // from the first octet of the IP header to the end of the payload
  Bytes payload;  // the transport header and what follows; for a fragment its share
};

/// Fragments are views of their share; the IPv4 header checksum is always verified. A multicast,
/// broadcast or loopback source is kBadSource; the unspecified one passes, for DAD and DHCP use it.
[[nodiscard]] Parsed<IpPacket> parse_ipv4(Bytes bytes);
[[nodiscard]] Parsed<IpPacket> parse_ipv6(Bytes bytes);

/// What a header of ours says. Options and extension headers are never written.
struct IpHeaderFields {
  IpAddress source;
  IpAddress destination;
  IpProtocol protocol = IpProtocol::kUdp;
  std::uint8_t ttl = 64;
  std::uint8_t traffic_class = 0;
  std::uint32_t flow_label = 0;
  bool has_dont_fragment = true;
};

/// The size of the header that write_ip_header() writes.
[[nodiscard]] constexpr std::size_t ip_header_size(Family family) {
  return family == Family::kIpv4 ? kIpv4HeaderSize : kIpv6HeaderSize;
}

/// Writes an IPv4 or IPv6 header for `payload_size` octets to the front of `out`, checksum
/// included. False, and nothing written, where the header does not fit, the addresses are of two
/// families, or the packet would pass 65,535 octets. The payload itself may lie anywhere.
[[nodiscard]] bool write_ip_header(MutableBytes out, const IpHeaderFields& fields,
                                   std::size_t payload_size);

}  // namespace cordon
