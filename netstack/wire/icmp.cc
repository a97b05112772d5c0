#include "netstack/wire/icmp.h"

#include <algorithm>
#include <cstring>

#include "netstack/wire/checksum.h"
#include "netstack/wire/extension_headers.h"

namespace cordon {
namespace {

struct IcmpHeader {
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  Be16 checksum;
  Be32 rest;  // identifier and sequence number, next-hop MTU, pointer
};
static_assert(sizeof(IcmpHeader) == kIcmpHeaderSize);

struct TypeAndCode {
  std::uint8_t type = 0;
  std::uint8_t code = 0;
};

constexpr std::uint8_t kEchoReplyV4 = 0;
constexpr std::uint8_t kEchoRequestV4 = 8;
constexpr std::uint8_t kEchoRequestV6 = 128;
constexpr std::uint8_t kEchoReplyV6 = 129;
constexpr std::uint8_t kRedirectV6 = 137;

constexpr std::size_t kMaxErrorV4 = 576;   // RFC 1812 section 4.3.2.3
constexpr std::size_t kMaxErrorV6 = 1280;  // RFC 4443 section 2.4 c
constexpr std::uint32_t kMinMtuV4 = 68;    // RFC 791 section 3.2
constexpr std::uint32_t kMinMtuV6 = 1280;  // RFC 8201 section 4

IpProtocol icmp_protocol(Family family) {
  return family == Family::kIpv4 ? IpProtocol::kIcmp : IpProtocol::kIcmpv6;
}

// ICMP has no pseudo-header over IPv4, and has one over IPv6 (RFC 4443 section 2.3).
std::uint16_t icmp_sum(const IpAddress& source, const IpAddress& destination, Bytes message) {
  if (source.is_v4()) return checksum_sum(message);
  return checksum_sum(message, pseudo_header_sum(source, destination,
                                                 static_cast<std::uint8_t>(IpProtocol::kIcmpv6),
                                                 static_cast<std::uint32_t>(message.size())));
}

// Writes the IP header in front of, and the ICMP header over the first octets of, a message whose
// data is already in its place behind both.
std::size_t finish(MutableBytes out, IpHeaderFields ip, IcmpHeader header, std::size_t data_size) {
  const std::size_t ip_size = ip_header_size(ip.source.family());
  const std::size_t message_size = kIcmpHeaderSize + data_size;
  ip.protocol = icmp_protocol(ip.source.family());
  if (!write_ip_header(out, ip, message_size)) return 0;
  const MutableBytes message = out.subspan(ip_size, message_size);
  (void)store(message, header);  // fits: the span was cut to hold it
  header.checksum = Be16(checksum_of(icmp_sum(ip.source, ip.destination, message)));
  (void)store(message, header);
  return ip_size + message_size;
}

// --- The packet that an error is about: what is there of it, not what it claims.

struct Offending {
  IpAddress source;
  IpAddress destination;
  std::uint8_t protocol = 0;
  std::size_t next_header_field = 0;  // for the pointer of a parameter problem
  Bytes packet;                       // without padding
  Bytes transport;                    // may be cut short, may be empty
};

std::optional<Offending> inspect_v4(Bytes bytes) {
  constexpr std::uint8_t kOffsetHighBits = 0x1f;
  if (bytes.size() < kIpv4HeaderSize || bytes[0] >> 4 != 4) return std::nullopt;
  const std::size_t header_size = std::size_t{bytes[0] & 0x0fU} * 4;
  const std::size_t total_length = load<Be16>(bytes.subspan(2))->get();
  if (header_size < kIpv4HeaderSize || header_size > bytes.size()) return std::nullopt;
  if (total_length < header_size) return std::nullopt;
  // RFC 1122 section 3.2.2: never about a non-initial fragment.
  if ((bytes[6] & kOffsetHighBits) != 0 || bytes[7] != 0) return std::nullopt;
  const Bytes packet = bytes.first(std::min(total_length, bytes.size()));
  return Offending{.source = IpAddress::from_octets(packet.subspan(12, 4)),
                   .destination = IpAddress::from_octets(packet.subspan(16, 4)),
                   .protocol = packet[9],
                   .packet = packet,
                   .transport = packet.subspan(header_size)};
}

std::optional<Offending> inspect_v6(Bytes bytes) {
  if (bytes.size() < kIpv6HeaderSize || bytes[0] >> 4 != 6) return std::nullopt;
  const std::size_t total_length = kIpv6HeaderSize + load<Be16>(bytes.subspan(4))->get();
  const Bytes packet = bytes.first(std::min(total_length, bytes.size()));
  const Parsed<ExtensionChain> chain = walk_extension_headers(packet, AtFirstFragment::kWalkOn);
  if (!chain) return std::nullopt;
  if (chain->fragment && chain->fragment->offset != 0) return std::nullopt;
  return Offending{.source = IpAddress::from_octets(packet.subspan(8, 16)),
                   .destination = IpAddress::from_octets(packet.subspan(24, 16)),
                   .protocol = chain->protocol,
                   .next_header_field = chain->next_header_field,
                   .packet = packet,
                   .transport = packet.subspan(chain->end)};
}

bool is_single_host(const IpAddress& address) {
  if (address.is_unspecified() || address.is_multicast_or_broadcast()) return false;
  if (address.is_v6()) return true;
  // RFC 1122 section 3.2.2 names zero, loopback and class E too.
  return !address.is_loopback() && address.octets()[0] != 0 && address.octets()[0] < 240;
}

// An error about an error would answer itself for ever. Where the type is not there to be read,
// none is sent either.
bool is_icmp_error(const Offending& offending) {
  const bool is_v4 = offending.source.is_v4();
  if (offending.protocol != static_cast<std::uint8_t>(icmp_protocol(offending.source.family()))) {
    return false;
  }
  if (offending.transport.empty()) return true;
  const std::uint8_t type = offending.transport[0];
  if (!is_v4) return type < kEchoRequestV6 || type == kRedirectV6;
  // Unreachable, source quench, redirect, time exceeded, parameter problem.
  return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

bool may_be_answered(const Offending& offending, IcmpError error) {
  if (is_icmp_error(offending) || !is_single_host(offending.source)) return false;
  if (!offending.destination.is_multicast_or_broadcast()) return true;
  // RFC 4443 section 2.4 e.3: path MTU discovery works for IPv6 multicast.
  return offending.destination.is_v6() && error == IcmpError::kTooBig;
}

TypeAndCode type_and_code(Family family, IcmpError error) {
  const bool is_v4 = family == Family::kIpv4;
  switch (error) {
    case IcmpError::kNetUnreachable:
      return is_v4 ? TypeAndCode{3, 0} : TypeAndCode{1, 0};
    case IcmpError::kHostUnreachable:
      return is_v4 ? TypeAndCode{3, 1} : TypeAndCode{1, 3};
    case IcmpError::kProtocolUnreachable:
      return is_v4 ? TypeAndCode{3, 2} : TypeAndCode{4, 1};
    case IcmpError::kPortUnreachable:
      return is_v4 ? TypeAndCode{3, 3} : TypeAndCode{1, 4};
    case IcmpError::kTooBig:
      return is_v4 ? TypeAndCode{3, 4} : TypeAndCode{2, 0};
    case IcmpError::kProhibited:
      return is_v4 ? TypeAndCode{3, 13} : TypeAndCode{1, 1};
    case IcmpError::kTtlExceeded:
      return is_v4 ? TypeAndCode{11, 0} : TypeAndCode{3, 0};
    case IcmpError::kReassemblyTimeout:
      return is_v4 ? TypeAndCode{11, 1} : TypeAndCode{3, 1};
  }
  return is_v4 ? TypeAndCode{3, 1} : TypeAndCode{1, 3};
}

// The second word of the header: an MTU (RFC 1191 section 4 has it in the low 16 bits), the place
// of the next header that nobody knows (RFC 4443 section 3.4), or nothing.
std::uint32_t second_word(const IcmpErrorFields& fields, const Offending& offending) {
  const bool is_v4 = offending.source.is_v4();
  if (fields.error == IcmpError::kTooBig) {
    return is_v4 ? std::clamp(fields.mtu, kMinMtuV4, std::uint32_t{0xffff})
                 : std::max(fields.mtu, kMinMtuV6);
  }
  if (fields.error == IcmpError::kProtocolUnreachable && !is_v4) {
    return static_cast<std::uint32_t>(offending.next_header_field);
  }
  return 0;
}

}  // namespace

Parsed<EchoMessage> parse_echo(const IpPacket& packet, bool is_checksum_trusted) {
  const Family family = packet.source.family();
  if (packet.protocol != static_cast<std::uint8_t>(icmp_protocol(family))) {
    return std::unexpected(Drop::kUnknownIcmp);
  }
  if (packet.fragment) return std::unexpected(Drop::kBadTransportLength);
  const std::optional<IcmpHeader> header = load<IcmpHeader>(packet.payload);
  if (!header) return std::unexpected(Drop::kTruncated);
  if (!is_checksum_trusted &&
      icmp_sum(packet.source, packet.destination, packet.payload) != 0xffff) {
    return std::unexpected(Drop::kBadTransportChecksum);
  }
  const bool is_v4 = family == Family::kIpv4;
  const bool is_request = header->type == (is_v4 ? kEchoRequestV4 : kEchoRequestV6);
  const bool is_reply = header->type == (is_v4 ? kEchoReplyV4 : kEchoReplyV6);
  if ((!is_request && !is_reply) || header->code != 0) return std::unexpected(Drop::kUnknownIcmp);
  const std::uint32_t rest = header->rest.get();
  return EchoMessage{.is_request = is_request,
                     .identifier = static_cast<std::uint16_t>(rest >> 16),
                     .sequence = static_cast<std::uint16_t>(rest),
                     .data = packet.payload.subspan(kIcmpHeaderSize)};
}

std::size_t write_echo(MutableBytes out, const IpHeaderFields& ip, const EchoMessage& message) {
  const Family family = ip.source.family();
  const std::size_t headers = ip_header_size(family) + kIcmpHeaderSize;
  if (out.size() < headers || out.size() - headers < message.data.size()) return 0;
  // Data first: it may lie in `out`, where the headers would write over it.
  if (!message.data.empty()) {
    std::memmove(out.subspan(headers).data(), message.data.data(), message.data.size());
  }
  const bool is_v4 = family == Family::kIpv4;
  const std::uint8_t request = is_v4 ? kEchoRequestV4 : kEchoRequestV6;
  const std::uint8_t reply = is_v4 ? kEchoReplyV4 : kEchoReplyV6;
  const IcmpHeader header{
      .type = message.is_request ? request : reply,
      .rest = Be32((std::uint32_t{message.identifier} << 16) | message.sequence)};
  return finish(out, ip, header, message.data.size());
}

std::size_t write_icmp_error(MutableBytes out, const IcmpErrorFields& fields, Bytes offending) {
  const Family family = fields.destination.family();
  if (fields.source.family() != family) return 0;
  const bool is_v4 = family == Family::kIpv4;
  const std::optional<Offending> about = is_v4 ? inspect_v4(offending) : inspect_v6(offending);
  if (!about || !may_be_answered(*about, fields.error)) return 0;

  const std::size_t headers = ip_header_size(family) + kIcmpHeaderSize;
  const std::size_t limit = is_v4 ? kMaxErrorV4 : kMaxErrorV6;
  const Bytes quote = about->packet.first(std::min(about->packet.size(), limit - headers));
  if (out.size() < headers + quote.size()) return 0;
  std::memmove(out.subspan(headers).data(), quote.data(), quote.size());

  const TypeAndCode kind = type_and_code(family, fields.error);
  const IcmpHeader header{
      .type = kind.type, .code = kind.code, .rest = Be32(second_word(fields, *about))};
  constexpr std::uint8_t kInternetworkControl = 0xc0;  // RFC 1812 section 4.3.2.5
  const IpHeaderFields ip{.source = fields.source,
                          .destination = fields.destination,
                          .traffic_class = is_v4 ? kInternetworkControl : std::uint8_t{0}};
  return finish(out, ip, header, quote.size());
}

}  // namespace cordon
