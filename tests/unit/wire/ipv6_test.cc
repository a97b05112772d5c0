#include <gtest/gtest.h>

#include "netstack/flow/limits.h"
#include "netstack/wire/extension_headers.h"
#include "netstack/wire/ip.h"
#include "tests/unit/wire/packets.h"

namespace cordon {
namespace {

using testing::counting;
using testing::hex;
using testing::ip;
using testing::ipv6;
using testing::Octets;
using testing::operator+;
using testing::text;
using testing::V6;

constexpr unsigned kHopByHop = 0;
constexpr unsigned kUdp = 17;
constexpr unsigned kRouting = 43;
constexpr unsigned kFragment = 44;
constexpr unsigned kDestinationOptions = 60;

/// An options header of eight octets that holds padding.
Octets options_header(unsigned next_header) {
  return Octets{static_cast<std::uint8_t>(next_header), 0, 1, 4, 0, 0, 0, 0};
}

/// The same with one option of type `type` and four octets of data.
Octets option(unsigned next_header, unsigned type) {
  return Octets{
      static_cast<std::uint8_t>(next_header), 0, static_cast<std::uint8_t>(type), 4, 0, 0, 0, 0};
}

Octets routing_header(unsigned next_header, unsigned type, unsigned segments_left) {
  return Octets{static_cast<std::uint8_t>(next_header),
                2,
                static_cast<std::uint8_t>(type),
                static_cast<std::uint8_t>(segments_left),
                0,
                0,
                0,
                0} +
         Octets(16, 0x20);
}

Octets fragment_header(unsigned next_header, unsigned offset, bool has_more) {
  Octets header(8);
  header[0] = static_cast<std::uint8_t>(next_header);
  testing::put16(header, 2, offset | (has_more ? 1U : 0U));
  testing::put32(header, 4, 0xcafe1234);
  return header;
}

Octets repeat(std::size_t times, unsigned last) {
  Octets chain;
  for (std::size_t i = 0; i < times; ++i) {
    chain = chain + options_header(i + 1 == times ? last : kDestinationOptions);
  }
  return chain;
}

TEST(ParseIpv6, EveryFieldIsWhereRfc8200PutsIt) {
  const Octets bytes = ipv6({.source = "2001:db8::3",
                             .destination = "2001:db8::77",
                             .next_header = 6,
                             .hop_limit = 17,
                             .traffic_class = 0xb8,
                             .flow_label = 0xabcde},
                            text("payload"));
  const Parsed<IpPacket> packet = parse_ipv6(bytes);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->source, ip("2001:db8::3"));
  EXPECT_EQ(packet->destination, ip("2001:db8::77"));
  EXPECT_EQ(packet->protocol, 6);
  EXPECT_EQ(packet->ttl, 17);
  EXPECT_EQ(packet->traffic_class, 0xb8);
  EXPECT_EQ(packet->flow_label, 0xabcdeU);
  EXPECT_TRUE(packet->has_dont_fragment);
  EXPECT_FALSE(packet->fragment);
  EXPECT_EQ(packet->packet.size(), bytes.size());
  EXPECT_EQ(packet->payload.data(), bytes.data() + 40);
  EXPECT_EQ(packet->payload.size(), 7U);
}

TEST(ParseIpv6, WhatTheFixedHeaderIsRefusedFor) {
  struct Row {
    const char* name;
    V6 fields;
    Drop drop;
  };
  const Row rows[] = {
      {"RFC 2675: payload length 0", {.payload_length = 0}, Drop::kBadTotalLength},
      {"payload length past the frame", {.payload_length = 9}, Drop::kTruncated},
      {"payload length 65,535", {.payload_length = 65535}, Drop::kTruncated},
      {"RFC 8200 3: hop limit 0", {.hop_limit = 0}, Drop::kBadTtl},
      {"RFC 4291 2.7: multicast source", {.source = "ff02::1"}, Drop::kBadSource},
      {"RFC 4291 2.5.3: loopback source", {.source = "::1"}, Drop::kBadSource},
  };
  for (const Row& row : rows) {
    const Parsed<IpPacket> packet = parse_ipv6(ipv6(row.fields, text("12345678")));
    ASSERT_FALSE(packet) << row.name;
    EXPECT_EQ(drop_name(packet.error()), drop_name(row.drop)) << row.name;
  }
}

TEST(ParseIpv6, OtherVersionsAreRefused) {
  Octets bytes = ipv6({}, text("12345678"));
  bytes[0] = 0x40;
  EXPECT_EQ(parse_ipv6(bytes).error(), Drop::kBadIpVersion);
  bytes[0] = 0x70;
  EXPECT_EQ(parse_ipv6(bytes).error(), Drop::kBadIpVersion);
}

TEST(ParseIpv6, EthernetPaddingIsCut) {
  const Octets bytes = ipv6({}, text("ab")) + Octets(6, 0xa5);
  EXPECT_EQ(parse_ipv6(bytes)->payload.size(), 2U);
}

TEST(ParseIpv6, TheUnspecifiedSourceIsLeftToTheCaller) {
  EXPECT_TRUE(parse_ipv6(ipv6({.source = "::"}, text("x"))));
}

TEST(ExtensionHeaders, WhatPassesAndWhatDoesNot) {
  struct Row {
    const char* name;
    unsigned first;
    Octets chain;
    std::optional<Drop> drop;
  };
  const Drop bad = Drop::kBadExtensionHeader;
  const Row rows[] = {
      {"none", kUdp, {}, {}},
      {"RFC 8200 4.3: hop-by-hop first", kHopByHop, options_header(kUdp), {}},
      {"RFC 8200 4.1: hop-by-hop second", kDestinationOptions,
       options_header(kHopByHop) + options_header(kUdp), bad},
      {"RFC 8200 4.1: hop-by-hop twice", kHopByHop,
       options_header(kHopByHop) + options_header(kUdp), bad},
      {"RFC 8200 4.6: destination options", kDestinationOptions, options_header(kUdp), {}},
      {"RFC 8200 4.1: destination options twice",
       kDestinationOptions,
       options_header(kRouting) + routing_header(kDestinationOptions, 4, 0) + options_header(kUdp),
       {}},
      {"RFC 5095: routing type 0", kRouting, routing_header(kUdp, 0, 1), Drop::kSourceRoute},
      {"RFC 5095: routing type 0, none left", kRouting, routing_header(kUdp, 0, 0),
       Drop::kSourceRoute},
      {"RFC 8200 4.4: another type, none left", kRouting, routing_header(kUdp, 4, 0), {}},
      {"RFC 8200 4.4: another type, one left", kRouting, routing_header(kUdp, 4, 1), bad},
      {"RFC 8200 4.2: action 00", kDestinationOptions, option(kUdp, 0x1e), {}},
      {"RFC 8200 4.2: action 01", kDestinationOptions, option(kUdp, 0x5e), bad},
      {"RFC 8200 4.2: action 10", kDestinationOptions, option(kUdp, 0x9e), bad},
      {"RFC 8200 4.2: action 11", kDestinationOptions, option(kUdp, 0xde), bad},
      {"the change bit is no action", kDestinationOptions, option(kUdp, 0x3e), {}},
      {"RFC 8200 4.2: action 10 in hop-by-hop", kHopByHop, option(kUdp, 0x9e), bad},
      {"RFC 2711: router alert", kHopByHop, hex("11 00 05 02 0000 01 00"), {}},
      {"RFC 2675: jumbo payload", kHopByHop, hex("11 00 c2 04 00010000"), bad},
      {"RFC 6275: home address", kDestinationOptions, hex("11 02 c9 10") + Octets(20), bad},
      {"Pad1 only", kDestinationOptions, hex("11 00 00 00 00 00 00 00"), {}},
      {"an option at the end without a length", kDestinationOptions, hex("11 00 01 03 000000 1e"),
       bad},
      {"an option past its header", kDestinationOptions, hex("11 00 01 05 00000000"), bad},
      {"a header past the packet", kDestinationOptions, hex("11 09 01 04 00000000"),
       Drop::kBadHeaderLength},
      {"16 headers", kDestinationOptions, repeat(16, kUdp), {}},
      {"RFC 8504 5.3: 17 headers", kDestinationOptions, repeat(17, kUdp), bad},
      {"64 headers", kDestinationOptions, repeat(64, kUdp), bad},
      {"512 octets", kDestinationOptions, hex("11 3f") + Octets(510), {}},
      {"520 octets", kDestinationOptions, hex("11 40") + Octets(518), bad},
      {"512 octets and 8 more", kDestinationOptions,
       hex("3c 3f") + Octets(510) + options_header(kUdp), bad},
      {"two atomic fragments", kFragment,
       fragment_header(kFragment, 0, false) + fragment_header(kUdp, 0, false), bad},
      {"a fragment in an atomic one", kFragment,
       fragment_header(kFragment, 0, false) + fragment_header(kUdp, 8, true), bad},
  };
  const Octets transport = text("12345678");
  for (const Row& row : rows) {
    const Octets bytes = ipv6({.next_header = row.first}, row.chain + transport);
    const Parsed<IpPacket> packet = parse_ipv6(bytes);
    ASSERT_EQ(packet.has_value(), !row.drop.has_value()) << row.name;
    if (row.drop) {
      EXPECT_EQ(drop_name(packet.error()), drop_name(*row.drop)) << row.name;
      continue;
    }
    EXPECT_EQ(packet->protocol, kUdp) << row.name;
    EXPECT_EQ(Octets(packet->payload.begin(), packet->payload.end()), transport) << row.name;
  }
}

TEST(ExtensionHeaders, TheLimitsAreThoseOfTheFlows) {
  EXPECT_EQ(kExtensionHeaderLimit, kMaxExtensionHeaders);
  EXPECT_EQ(kExtensionOctetLimit, kMaxExtensionOctets);
}

TEST(ExtensionHeaders, AHeaderCutAnywhereIsRefused) {
  const Octets chain = routing_header(kUdp, 4, 0);
  for (std::size_t size = 1; size < chain.size(); ++size) {
    const Octets cut(chain.begin(), chain.begin() + static_cast<std::ptrdiff_t>(size));
    const Parsed<IpPacket> packet = parse_ipv6(ipv6({.next_header = kRouting}, cut));
    ASSERT_FALSE(packet) << size;
    EXPECT_EQ(packet.error(), Drop::kBadHeaderLength) << size;
  }
}

TEST(ExtensionHeaders, EveryOptionTypeIsJudgedByItsTwoHighestBits) {
  for (unsigned type = 2; type < 256; ++type) {
    const Octets bytes =
        ipv6({.next_header = kDestinationOptions}, option(kUdp, type) + text("12345678"));
    EXPECT_EQ(parse_ipv6(bytes).has_value(), type < 0x40) << type;
  }
}

TEST(ExtensionHeaders, OtherHeadersEndTheWalkAsTransports) {
  // ESP, AH, no next header, SCTP, GRE, mobility, HIP, Shim6, reserved
  for (const unsigned protocol : {50U, 51U, 59U, 132U, 47U, 135U, 139U, 140U, 255U}) {
    const Parsed<IpPacket> packet = parse_ipv6(ipv6({.next_header = protocol}, Octets(24)));
    ASSERT_TRUE(packet) << protocol;
    EXPECT_EQ(packet->protocol, protocol);
    EXPECT_EQ(packet->payload.size(), 24U);
  }
}

TEST(Ipv6Fragments, AtomicOnesAreWholePackets) {
  const Octets bytes =
      ipv6({.next_header = kFragment},
           fragment_header(kDestinationOptions, 0, false) + options_header(kUdp) + text("data"));
  const Parsed<IpPacket> packet = parse_ipv6(bytes);
  ASSERT_TRUE(packet) << "RFC 6946";
  EXPECT_FALSE(packet->fragment);
  EXPECT_EQ(packet->protocol, kUdp);
  EXPECT_EQ(packet->payload.size(), 4U);
}

TEST(Ipv6Fragments, OthersAreViewsOfTheirShare) {
  struct Row {
    const char* name;
    unsigned offset;
    bool has_more;
  };
  for (const Row& row : {Row{"first", 0, true}, Row{"middle", 8, true}, Row{"last", 16, false},
                         Row{"farthest", 65528, false}}) {
    // What stands behind the fragment header is not walked, even where it could be.
    const Octets share = options_header(kUdp) + text("12345678");
    const Octets bytes =
        ipv6({.next_header = kDestinationOptions},
             options_header(kFragment) +
                 fragment_header(kDestinationOptions, row.offset, row.has_more) + share);
    const Parsed<IpPacket> packet = parse_ipv6(bytes);
    ASSERT_TRUE(packet) << row.name;
    ASSERT_TRUE(packet->fragment) << row.name;
    EXPECT_EQ(packet->fragment->identification, 0xcafe1234U) << row.name;
    EXPECT_EQ(packet->fragment->offset, row.offset) << row.name;
    EXPECT_EQ(packet->fragment->has_more, row.has_more) << row.name;
    EXPECT_EQ(packet->protocol, kDestinationOptions) << row.name;
    EXPECT_EQ(Octets(packet->payload.begin(), packet->payload.end()), share) << row.name;
  }
}

TEST(Ipv6Fragments, TheReservedBitsAreIgnored) {
  Octets header = fragment_header(kUdp, 16, true);
  header[1] = 0xff;
  header[3] |= 0x06;
  const Parsed<IpPacket> packet =
      parse_ipv6(ipv6({.next_header = kFragment}, header + text("12345678")));
  ASSERT_TRUE(packet) << "RFC 8200 section 4.5";
  EXPECT_EQ(packet->fragment->offset, 16U);
}

TEST(WalkExtensionHeaders, TheFirstFragmentIsWalkedToItsTransportWhereAsked) {
  const Octets bytes =
      ipv6({.next_header = kFragment},
           fragment_header(kDestinationOptions, 0, true) + options_header(kUdp) + text("12345678"));
  const auto stopped = walk_extension_headers(bytes, AtFirstFragment::kStop);
  const auto walked = walk_extension_headers(bytes, AtFirstFragment::kWalkOn);
  ASSERT_TRUE(stopped && walked);
  EXPECT_EQ(stopped->end, 48U);
  EXPECT_EQ(stopped->protocol, kDestinationOptions);
  EXPECT_EQ(stopped->next_header_field, 40U);
  EXPECT_EQ(walked->end, 56U);
  EXPECT_EQ(walked->protocol, kUdp);
  EXPECT_EQ(walked->next_header_field, 48U);
  EXPECT_TRUE(walked->fragment);
}

TEST(WalkExtensionHeaders, ALaterFragmentIsNotWalkedInto) {
  const Octets bytes = ipv6({.next_header = kFragment},
                            fragment_header(kDestinationOptions, 8, true) + Octets(8, 0xff));
  const auto walked = walk_extension_headers(bytes, AtFirstFragment::kWalkOn);
  ASSERT_TRUE(walked);
  EXPECT_EQ(walked->end, 48U);
  EXPECT_EQ(walked->fragment->offset, 8U);
}

TEST(WalkExtensionHeaders, AHopByHopHeaderInTheFragmentablePartIsRefused) {
  const Octets bytes = ipv6({.next_header = kFragment},
                            fragment_header(kHopByHop, 0, true) + options_header(kUdp) + Octets(8));
  EXPECT_FALSE(walk_extension_headers(bytes, AtFirstFragment::kWalkOn));
}

TEST(WriteIpHeader, AnIpv6HeaderIsParsedAgain) {
  const IpHeaderFields fields{.source = ip("2001:db8::1"),
                              .destination = ip("2001:db8::2"),
                              .protocol = IpProtocol::kIcmpv6,
                              .ttl = 255,
                              .traffic_class = 0xe3,
                              .flow_label = 0x12345};
  Octets out(40 + 5, 0x77);
  ASSERT_TRUE(write_ip_header(out, fields, 5));
  const Parsed<IpPacket> packet = parse_ipv6(out);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->source, fields.source);
  EXPECT_EQ(packet->destination, fields.destination);
  EXPECT_EQ(packet->protocol, 58);
  EXPECT_EQ(packet->ttl, 255);
  EXPECT_EQ(packet->traffic_class, 0xe3);
  EXPECT_EQ(packet->flow_label, 0x12345U) << "RFC 6437: a reply may keep its label";
  EXPECT_EQ(packet->payload.size(), 5U);
}

TEST(WriteIpHeader, CanonicalIpv6BytesAreWrittenBitByBit) {
  Octets out(40);
  const IpHeaderFields fields{.source = ip("2001:db8::2"), .destination = ip("2001:db8::20")};
  ASSERT_TRUE(write_ip_header(out, fields, 8));
  EXPECT_EQ(out + Octets(8), ipv6({}, Octets(8)));
}

TEST(WriteIpHeader, AnIpv6PayloadPast65535IsRefused) {
  const IpHeaderFields fields{.source = ip("2001:db8::2"), .destination = ip("2001:db8::20")};
  Octets out(40, 0x77);
  EXPECT_FALSE(write_ip_header(out, fields, 65536));
  EXPECT_EQ(out, Octets(40, 0x77));
  EXPECT_TRUE(write_ip_header(out, fields, 65535));
  Octets small(39);
  EXPECT_FALSE(write_ip_header(small, fields, 0));
}

}  // namespace
}  // namespace cordon
