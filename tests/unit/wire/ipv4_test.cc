#include <gtest/gtest.h>

#include "netstack/wire/ip.h"
#include "tests/unit/wire/packets.h"

namespace cordon {
namespace {

using testing::counting;
using testing::hex;
using testing::ip;
using testing::ipv4;
using testing::Octets;
using testing::operator+;
using testing::text;
using testing::V4;

TEST(ParseIpv4, EveryFieldIsWhereRfc791PutsIt) {
  const Octets bytes = ipv4({.source = "198.51.100.3",
                             .destination = "198.51.100.77",
                             .protocol = 6,
                             .ttl = 17,
                             .tos = 0xb8,
                             .identification = 0xbeef,
                             .flags_and_offset = 0x4000},
                            text("payload"));
  const Parsed<IpPacket> packet = parse_ipv4(bytes);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->source, ip("198.51.100.3"));
  EXPECT_EQ(packet->destination, ip("198.51.100.77"));
  EXPECT_EQ(packet->protocol, 6);
  EXPECT_EQ(packet->ttl, 17);
  EXPECT_EQ(packet->traffic_class, 0xb8);
  EXPECT_EQ(packet->flow_label, 0U);
  EXPECT_TRUE(packet->has_dont_fragment);
  EXPECT_FALSE(packet->fragment);
  EXPECT_EQ(packet->packet.data(), bytes.data());
  EXPECT_EQ(packet->packet.size(), bytes.size());
  EXPECT_EQ(packet->payload.data(), bytes.data() + 20);
  EXPECT_EQ(packet->payload.size(), 7U);
}

TEST(ParseIpv4, WhatIsRefusedAndWhy) {
  struct Row {
    const char* name;
    V4 fields;
    Drop drop;
  };
  const Row rows[] = {
      {"RFC 791 3.1: IHL 0", {.ihl = 0}, Drop::kBadHeaderLength},
      {"RFC 791 3.1: IHL 4", {.ihl = 4}, Drop::kBadHeaderLength},
      {"IHL past the total length", {.total_length = 24, .ihl = 15}, Drop::kBadTotalLength},
      {"total length below the header", {.total_length = 19}, Drop::kBadTotalLength},
      {"total length 0", {.total_length = 0}, Drop::kBadTotalLength},
      {"total length past the frame", {.total_length = 29}, Drop::kTruncated},
      {"total length 65,535", {.total_length = 65535}, Drop::kTruncated},
      {"RFC 1122 3.2.1.7: TTL 0", {.ttl = 0}, Drop::kBadTtl},
      {"RFC 1122 3.2.1.3: loopback source", {.source = "127.0.0.1"}, Drop::kBadSource},
      {"RFC 1122 3.2.1.3: multicast source", {.source = "224.0.0.1"}, Drop::kBadSource},
      {"RFC 1122 3.2.1.3: broadcast source", {.source = "255.255.255.255"}, Drop::kBadSource},
      {"RFC 7126 4.3: LSRR", {.options = hex("83 07 04 c6336401 00")}, Drop::kSourceRoute},
      {"RFC 7126 4.4: SSRR", {.options = hex("89 07 04 c6336401 00")}, Drop::kSourceRoute},
      {"LSRR behind others", {.options = hex("01 94 04 0000 83 03 04")}, Drop::kSourceRoute},
      {"LSRR as the last octet", {.options = hex("01 01 01 83")}, Drop::kSourceRoute},
      {"option of length 0", {.options = hex("07 00 0000")}, Drop::kBadHeaderLength},
      {"option of length 1", {.options = hex("07 01 0000")}, Drop::kBadHeaderLength},
      {"option past the header", {.options = hex("07 05 0000")}, Drop::kBadHeaderLength},
      {"option without a length", {.options = hex("01 01 01 07")}, Drop::kBadHeaderLength},
  };
  for (const Row& row : rows) {
    const Octets bytes = ipv4(row.fields, text("12345678"));
    const Parsed<IpPacket> packet = parse_ipv4(bytes);
    ASSERT_FALSE(packet) << row.name;
    EXPECT_EQ(drop_name(packet.error()), drop_name(row.drop)) << row.name;
  }
}

TEST(ParseIpv4, OtherVersionsAreRefused) {
  for (unsigned version = 0; version < 16; ++version) {
    if (version == 4) continue;
    Octets bytes = ipv4({}, text("12345678"));
    bytes[0] = static_cast<std::uint8_t>(version << 4 | 5);
    const Parsed<IpPacket> packet = parse_ipv4(bytes);
    ASSERT_FALSE(packet) << version;
    EXPECT_EQ(packet.error(), Drop::kBadIpVersion) << version;
  }
}

TEST(ParseIpv4, AnyWrongBitOfTheHeaderBreaksItsChecksum) {
  const Octets right = ipv4({.options = hex("01010101")}, text("12345678"));
  for (std::size_t bit = 0; bit < 24 * 8; ++bit) {
    Octets wrong = right;
    wrong[bit / 8] = static_cast<std::uint8_t>(wrong[bit / 8] ^ (1U << (bit % 8)));
    EXPECT_FALSE(parse_ipv4(wrong)) << bit;
  }
  Octets wrong = right;
  wrong[10] ^= 1;
  EXPECT_EQ(parse_ipv4(wrong).error(), Drop::kBadIpChecksum);
  // The payload is none of its business.
  wrong = right;
  wrong[24] ^= 1;
  EXPECT_TRUE(parse_ipv4(wrong));
}

TEST(ParseIpv4, OptionsAreAcceptedAndIgnored) {
  const Octets options[] = {
      hex("01010101"),                     // no operation
      hex("00ffffff"),                     // the end, and rubbish behind it
      hex("94040000"),                     // router alert, RFC 2113
      hex("070b04 00000000 00000000 00"),  // record route
      hex("44080500 00000000"),            // timestamp
      Octets(40, 1),                       // as many as there can be
  };
  for (const Octets& each : options) {
    const Octets bytes = ipv4({.options = each}, text("data"));
    const Parsed<IpPacket> packet = parse_ipv4(bytes);
    ASSERT_TRUE(packet) << each.size();
    EXPECT_EQ(packet->payload.data(), bytes.data() + 20 + each.size());
    EXPECT_EQ(packet->payload.size(), 4U);
  }
}

TEST(ParseIpv4, EthernetPaddingIsCut) {
  const Octets bytes = ipv4({}, text("ab")) + Octets(26, 0xa5);
  const Parsed<IpPacket> packet = parse_ipv4(bytes);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->packet.size(), 22U);
  EXPECT_EQ(packet->payload.size(), 2U);
}

TEST(ParseIpv4, AnEmptyPayloadIsAPacket) {
  const Octets bytes = ipv4({}, {});
  const Parsed<IpPacket> packet = parse_ipv4(bytes);
  ASSERT_TRUE(packet);
  EXPECT_TRUE(packet->payload.empty());
}

TEST(ParseIpv4, IdentificationMayBeZeroWithAndWithoutDontFragment) {
  for (const unsigned flags : {0x0000U, 0x4000U}) {
    const Parsed<IpPacket> packet =
        parse_ipv4(ipv4({.identification = 0, .flags_and_offset = flags}, text("x")));
    ASSERT_TRUE(packet) << "RFC 6864 section 4";
    EXPECT_EQ(packet->has_dont_fragment, flags != 0);
    EXPECT_FALSE(packet->fragment);
  }
}

TEST(ParseIpv4, TheUnspecifiedSourceIsLeftToTheCaller) {
  EXPECT_TRUE(parse_ipv4(ipv4({.source = "0.0.0.0"}, text("x"))));
}

TEST(ParseIpv4, FragmentsAreViewsOfTheirShare) {
  struct Row {
    const char* name;
    unsigned field;
    std::uint32_t offset;
    bool has_more;
  };
  for (const Row& row : {Row{"first", 0x2000, 0, true}, Row{"middle", 0x2001, 8, true},
                         Row{"last", 0x0002, 16, false}, Row{"farthest", 0x1fff, 65528, false}}) {
    const Octets bytes =
        ipv4({.identification = 0x1234, .flags_and_offset = row.field}, counting(16));
    const Parsed<IpPacket> packet = parse_ipv4(bytes);
    ASSERT_TRUE(packet) << row.name;
    ASSERT_TRUE(packet->fragment) << row.name;
    EXPECT_EQ(packet->fragment->identification, 0x1234U) << row.name;
    EXPECT_EQ(packet->fragment->offset, row.offset) << row.name;
    EXPECT_EQ(packet->fragment->has_more, row.has_more) << row.name;
    EXPECT_EQ(packet->payload.size(), 16U) << row.name;
  }
}

TEST(WriteIpHeader, WhatIsWrittenIsParsedAgain) {
  for (const bool has_dont_fragment : {true, false}) {
    const IpHeaderFields fields{.source = ip("198.51.100.1"),
                                .destination = ip("198.51.100.2"),
                                .protocol = IpProtocol::kTcp,
                                .ttl = 3,
                                .traffic_class = 0x1c,
                                .has_dont_fragment = has_dont_fragment};
    Octets out(20 + 11, 0x77);
    ASSERT_TRUE(write_ip_header(out, fields, 11));
    const Parsed<IpPacket> packet = parse_ipv4(out);
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->source, fields.source);
    EXPECT_EQ(packet->destination, fields.destination);
    EXPECT_EQ(packet->protocol, 6);
    EXPECT_EQ(packet->ttl, 3);
    EXPECT_EQ(packet->traffic_class, 0x1c);
    EXPECT_EQ(packet->has_dont_fragment, has_dont_fragment);
    EXPECT_EQ(packet->payload.size(), 11U);
    EXPECT_EQ(out[20], 0x77) << "the payload is not touched";
  }
}

TEST(WriteIpHeader, CanonicalBytesAreWrittenBitByBit) {
  Octets out(20);
  const IpHeaderFields fields{.source = ip("198.51.100.2"), .destination = ip("198.51.100.20")};
  ASSERT_TRUE(write_ip_header(out, fields, 8));
  EXPECT_EQ(out + Octets(8), ipv4({}, Octets(8)));
}

TEST(WriteIpHeader, WhatDoesNotFitIsRefusedAndNothingWritten) {
  const IpHeaderFields fields{.source = ip("198.51.100.2"), .destination = ip("198.51.100.20")};
  Octets out(19, 0x77);
  EXPECT_FALSE(write_ip_header(out, fields, 0));
  out.resize(20, 0x77);
  EXPECT_FALSE(write_ip_header(out, fields, 65516));
  EXPECT_FALSE(write_ip_header(out, fields, SIZE_MAX));
  IpHeaderFields mixed = fields;
  mixed.destination = ip("2001:db8::1");
  EXPECT_FALSE(write_ip_header(out, mixed, 0));
  EXPECT_EQ(out, Octets(20, 0x77));
  EXPECT_TRUE(write_ip_header(out, fields, 65515));
}

}  // namespace
}  // namespace cordon
