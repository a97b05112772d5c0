// ICMP (RFC 792, 1122 section 3.2.2, 1191) and ICMPv6 (RFC 4443): echo, and the errors that we send
// to the guest. An error's length is the length of what is written, never a length that a packet
// claimed.
#pragma once

#include <cstdint>
#include <optional>

#include "netstack/wire/ip.h"

namespace cordon {

inline constexpr std::size_t kIcmpHeaderSize = 8;

struct EchoMessage {
  bool is_request = true;
  std::uint16_t identifier = 0;
  std::uint16_t sequence = 0;
  Bytes data;
};

/// An echo request or reply; kUnknownIcmp for everything else (errors, redirects, timestamps and
/// mask requests of a guest have no place to go). Checksums are verified unless trusted.
[[nodiscard]] Parsed<EchoMessage> parse_echo(const IpPacket& packet, bool is_checksum_trusted);

/// Writes an IP packet with an echo message, checksums included; octets written, 0 where it does
/// not fit. `ip.protocol` is not read. `message.data` may lie in `out`.
[[nodiscard]] std::size_t write_echo(MutableBytes out, const IpHeaderFields& ip,
                                     const EchoMessage& message);

/// The errors that a guest may be shown, by meaning; each has a type and a code in either family.
enum class IcmpError : std::uint8_t {
  kNetUnreachable,       // 3/0     1/0
  kHostUnreachable,      // 3/1     1/3
  kProtocolUnreachable,  // 3/2     4/1
  kPortUnreachable,      // 3/3     1/4
  kTooBig,               // 3/4     2/0, with the next hop's MTU
  kProhibited,           // 3/13    1/1
  kTtlExceeded,          // 11/0    3/0
  kReassemblyTimeout,    // 11/1    3/1
};

struct IcmpErrorFields {
  IpAddress source;       // who reports: the gateway, or the router that the host heard of
  IpAddress destination;  // the guest
  IcmpError error = IcmpError::kPortUnreachable;
  std::uint32_t mtu = 0;  // kTooBig
};

/// Writes a whole IP packet with the error, quoting as much of `offending` (a packet from its IP
/// header on) as RFC 1812 section 4.3.2.3 (576 octets in all) and RFC 4443 section 2.4 (1,280) let.
/// Octets written; 0 where an error must not be sent at all: in reply to an ICMP error, a
/// non-first fragment, a multicast or broadcast destination, or a source that is no single host
/// (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e; kTooBig about an IPv6 multicast packet is sent,
/// as e.3 says). `offending` may be anything: what is not an IP packet of `destination`'s family
/// has no error.
[[nodiscard]] std::size_t write_icmp_error(MutableBytes out, const IcmpErrorFields& fields,
                                           Bytes offending);

}  // namespace cordon
