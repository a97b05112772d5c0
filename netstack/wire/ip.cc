#include "netstack/wire/ip.h"

#include <algorithm>

#include "netstack/wire/checksum.h"
#include "netstack/wire/extension_headers.h"

namespace cordon {
namespace {

struct Ipv4Header {
  std::uint8_t version_and_ihl = 0x45;
  std::uint8_t type_of_service = 0;
  Be16 total_length;
  Be16 identification;
  Be16 flags_and_offset;
  std::uint8_t ttl = 0;
  std::uint8_t protocol = 0;
  Be16 checksum;
  std::array<std::uint8_t, 4> source{};
  std::array<std::uint8_t, 4> destination{};
};
static_assert(sizeof(Ipv4Header) == kIpv4HeaderSize);

struct Ipv6Header {
  Be32 version_class_and_label;
  Be16 payload_length;
  std::uint8_t next_header = 0;
  std::uint8_t hop_limit = 0;
  std::array<std::uint8_t, 16> source{};
  std::array<std::uint8_t, 16> destination{};
};
static_assert(sizeof(Ipv6Header) == kIpv6HeaderSize);

constexpr std::uint16_t kDontFragment = 0x4000;
constexpr std::uint16_t kMoreFragments = 0x2000;
constexpr std::uint16_t kOffsetMask = 0x1fff;  // in units of eight octets

// Loose and strict source routes are the only options with an effect on where a packet goes; they
// are refused (RFC 7126 section 4.3), and so is a list in which one could hide. Every other option
// is ignored (RFC 1122 section 3.2.1.8).
std::optional<Drop> refuse_options(Bytes options) {
  constexpr std::uint8_t kEndOfList = 0;
  constexpr std::uint8_t kNoOperation = 1;
  constexpr std::uint8_t kLooseSourceRoute = 131;
  constexpr std::uint8_t kStrictSourceRoute = 137;
  while (!options.empty() && options[0] != kEndOfList) {
    if (options[0] == kNoOperation) {
      options = options.subspan(1);
      continue;
    }
    if (options[0] == kLooseSourceRoute || options[0] == kStrictSourceRoute) {
      return Drop::kSourceRoute;
    }
    if (options.size() < 2 || options[1] < 2 || options[1] > options.size()) {
      return Drop::kBadHeaderLength;
    }
    options = options.subspan(options[1]);
  }
  return std::nullopt;
}

// The unspecified address may stand as a source: duplicate address detection and DHCP use it (RFC
// 4862 section 5.4.2, RFC 2131 section 4.1). Whether a source is the guest's is not asked here.
bool may_be_source(const IpAddress& source) {
  return !source.is_multicast_or_broadcast() && !source.is_loopback();
}

// What the lengths of an IPv4 header claim, against the octets that came.
std::optional<Drop> refuse_ipv4_lengths(const Ipv4Header& header, std::size_t octets) {
  const std::size_t header_size = std::size_t{header.version_and_ihl & 0x0fU} * 4;
  const std::size_t total_length = header.total_length.get();
  if (header_size < kIpv4HeaderSize) return Drop::kBadHeaderLength;
  if (total_length < header_size) return Drop::kBadTotalLength;
  if (total_length > octets) return Drop::kTruncated;
  return std::nullopt;
}

bool write_ipv4_header(MutableBytes out, const IpHeaderFields& fields, std::size_t total) {
  Ipv4Header header{
      .type_of_service = fields.traffic_class,
      .total_length = Be16(static_cast<std::uint16_t>(total)),
      // RFC 6864 section 4.1: the identification of an atomic datagram has no meaning.
      .flags_and_offset = Be16(fields.has_dont_fragment ? kDontFragment : 0),
      .ttl = fields.ttl,
      .protocol = static_cast<std::uint8_t>(fields.protocol)};
  std::ranges::copy(fields.source.octets(), header.source.begin());
  std::ranges::copy(fields.destination.octets(), header.destination.begin());
  if (!store(out, header)) return false;
  header.checksum = Be16(checksum_of(checksum_sum(out.first(kIpv4HeaderSize))));
  return store(out, header);
}

bool write_ipv6_header(MutableBytes out, const IpHeaderFields& fields, std::size_t payload_size) {
  constexpr std::uint32_t kVersion = 6U << 28;
  Ipv6Header header{
      .version_class_and_label = Be32(kVersion | (std::uint32_t{fields.traffic_class} << 20) |
                                      (fields.flow_label & 0xfffffU)),
      .payload_length = Be16(static_cast<std::uint16_t>(payload_size)),
      .next_header = static_cast<std::uint8_t>(fields.protocol),
      .hop_limit = fields.ttl};
  std::ranges::copy(fields.source.octets(), header.source.begin());
  std::ranges::copy(fields.destination.octets(), header.destination.begin());
  return store(out, header);
}

}  // namespace

Parsed<IpPacket> parse_ipv4(Bytes bytes) {
  const std::optional<Ipv4Header> header = load<Ipv4Header>(bytes);
  if (!header) return std::unexpected(Drop::kTruncated);
  if (header->version_and_ihl >> 4 != 4) return std::unexpected(Drop::kBadIpVersion);
  if (const auto drop = refuse_ipv4_lengths(*header, bytes.size())) return std::unexpected(*drop);
  const std::size_t header_size = std::size_t{header->version_and_ihl & 0x0fU} * 4;
  if (checksum_sum(bytes.first(header_size)) != 0xffff) {
    return std::unexpected(Drop::kBadIpChecksum);
  }
  const Bytes options = bytes.first(header_size).subspan(kIpv4HeaderSize);
  if (const auto drop = refuse_options(options)) return std::unexpected(*drop);
  if (header->ttl == 0) return std::unexpected(Drop::kBadTtl);

  const std::uint16_t flags = header->flags_and_offset.get();
  IpPacket packet{.source = IpAddress::v4(header->source),
                  .destination = IpAddress::v4(header->destination),
                  .protocol = header->protocol,
                  .ttl = header->ttl,
                  .traffic_class = header->type_of_service,
                  .has_dont_fragment = (flags & kDontFragment) != 0,
                  .packet = bytes.first(header->total_length.get())};
  if (!may_be_source(packet.source)) return std::unexpected(Drop::kBadSource);
  packet.payload = packet.packet.subspan(header_size);
  if ((flags & (kMoreFragments | kOffsetMask)) != 0) {
    packet.fragment = Fragment{.identification = header->identification.get(),
                               .offset = (flags & std::uint32_t{kOffsetMask}) * 8,
                               .has_more = (flags & kMoreFragments) != 0};
  }
  return packet;
}

Parsed<IpPacket> parse_ipv6(Bytes bytes) {
  const std::optional<Ipv6Header> header = load<Ipv6Header>(bytes);
  if (!header) return std::unexpected(Drop::kTruncated);
  const std::uint32_t first_word = header->version_class_and_label.get();
  if (first_word >> 28 != 6) return std::unexpected(Drop::kBadIpVersion);
  // Length 0 is a jumbogram (RFC 2675), or a packet that carries nothing.
  const std::size_t payload_length = header->payload_length.get();
  if (payload_length == 0) return std::unexpected(Drop::kBadTotalLength);
  if (payload_length > bytes.size() - kIpv6HeaderSize) return std::unexpected(Drop::kTruncated);
  if (header->hop_limit == 0) return std::unexpected(Drop::kBadTtl);

  IpPacket packet{.source = IpAddress::v6(header->source),
                  .destination = IpAddress::v6(header->destination),
                  .ttl = header->hop_limit,
                  .traffic_class = static_cast<std::uint8_t>(first_word >> 20),
                  .flow_label = first_word & 0xfffffU,
                  .has_dont_fragment = true,
                  .packet = bytes.first(kIpv6HeaderSize + payload_length)};
  if (!may_be_source(packet.source)) return std::unexpected(Drop::kBadSource);
  const Parsed<ExtensionChain> chain =
      walk_extension_headers(packet.packet, AtFirstFragment::kStop);
  if (!chain) return std::unexpected(chain.error());
  packet.protocol = chain->protocol;
  packet.fragment = chain->fragment;
  packet.payload = packet.packet.subspan(chain->end);
  return packet;
}

bool write_ip_header(MutableBytes out, const IpHeaderFields& fields, std::size_t payload_size) {
  const Family family = fields.source.family();
  if (fields.destination.family() != family) return false;
  // IPv4's total length counts the header, IPv6's payload length does not.
  const std::size_t total = ip_header_size(family) + payload_size;
  if (payload_size > kMaxIpPacket) return false;
  if (family == Family::kIpv4 && total > kMaxIpPacket) return false;
  if (family == Family::kIpv4) return write_ipv4_header(out, fields, total);
  return write_ipv6_header(out, fields, payload_size);
}

}  // namespace cordon
