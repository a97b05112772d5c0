#include "netstack/wire/udp.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "tests/unit/wire/packets.h"

namespace cordon {
namespace {

using testing::counting;
using testing::ipv4;
using testing::ipv6;
using testing::Octets;
using testing::operator+;
using testing::put16;
using testing::text;
using testing::udp;
using testing::V4;
using testing::V6;
using testing::with_checksum;

/// A parsed packet and the octets it looks at.
struct Sent {
  explicit Sent(const Octets& payload, bool is_v4 = true)
      : octets(is_v4 ? ipv4({}, payload) : ipv6({}, payload)),
        packet(is_v4 ? parse_ipv4(octets).value() : parse_ipv6(octets).value()) {}
  Octets octets;
  IpPacket packet;
};

TEST(ParseUdp, PortsAndPayloadOfBothFamilies) {
  for (const bool is_v4 : {true, false}) {
    Octets datagram = udp(text("hello"), 40000, 443);
    datagram = is_v4 ? with_checksum(V4{}, 17, 6, datagram) : with_checksum(V6{}, 17, 6, datagram);
    const Sent sent(datagram, is_v4);
    const Parsed<UdpDatagram> parsed = parse_udp(sent.packet, false);
    ASSERT_TRUE(parsed) << is_v4;
    EXPECT_EQ(parsed->source_port, 40000);
    EXPECT_EQ(parsed->destination_port, 443);
    EXPECT_EQ(Octets(parsed->payload.begin(), parsed->payload.end()), text("hello"));
  }
}

TEST(ParseUdp, LengthsThatLieAreRefused) {
  struct Row {
    const char* name;
    int length;
    Drop drop;
  };
  for (const Row& row : {Row{"RFC 768: length 0", 0, Drop::kBadTransportLength},
                         Row{"RFC 768: length 7", 7, Drop::kBadTransportLength},
                         Row{"length past the packet", 14, Drop::kBadTransportLength},
                         Row{"length 65,535", 65535, Drop::kBadTransportLength}}) {
    const Sent sent(udp(text("hello"), 1, 2, row.length));
    const Parsed<UdpDatagram> parsed = parse_udp(sent.packet, true);
    ASSERT_FALSE(parsed) << row.name;
    EXPECT_EQ(parsed.error(), row.drop) << row.name;
  }
}

TEST(ParseUdp, AHeaderCutShortIsRefused) {
  for (std::size_t size = 0; size < 8; ++size) {
    const Sent sent(counting(size));
    EXPECT_EQ(parse_udp(sent.packet, true).error(), Drop::kTruncated) << size;
  }
}

TEST(ParseUdp, OctetsBehindTheLengthAreCutOff) {
  const Octets datagram = with_checksum(V4{}, 17, 6, udp(text("abc")));
  const Sent sent(datagram + text("surplus"));
  const Parsed<UdpDatagram> parsed = parse_udp(sent.packet, false);
  ASSERT_TRUE(parsed) << "the checksum covers the datagram, not the surplus";
  EXPECT_EQ(parsed->payload.size(), 3U);
}

TEST(ParseUdp, AnEmptyDatagramPasses) {
  const Sent sent(with_checksum(V4{}, 17, 6, udp({})));
  const Parsed<UdpDatagram> parsed = parse_udp(sent.packet, false);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->payload.empty());
}

TEST(ParseUdp, ChecksumZeroPassesOverIpv4AndNotOverIpv6) {
  const Sent v4(udp(text("abc")));
  EXPECT_TRUE(parse_udp(v4.packet, false)) << "RFC 768";
  const Sent v6(udp(text("abc")), false);
  ASSERT_FALSE(parse_udp(v6.packet, false)) << "RFC 8200 section 8.1";
  EXPECT_EQ(parse_udp(v6.packet, false).error(), Drop::kBadTransportChecksum);
}

TEST(ParseUdp, AWrongBitIsSeenUnlessTheChecksumIsTrusted) {
  for (const bool is_v4 : {true, false}) {
    const Octets plain = udp(text("hello"));
    const Octets right =
        is_v4 ? with_checksum(V4{}, 17, 6, plain) : with_checksum(V6{}, 17, 6, plain);
    for (std::size_t bit = 0; bit < right.size() * 8; ++bit) {
      if (bit / 8 == 4 || bit / 8 == 5) continue;  // the length, which fails by itself
      Octets wrong = right;
      wrong[bit / 8] = static_cast<std::uint8_t>(wrong[bit / 8] ^ (1U << (bit % 8)));
      const Sent sent(wrong, is_v4);
      EXPECT_EQ(parse_udp(sent.packet, false).error(), Drop::kBadTransportChecksum) << bit;
      EXPECT_TRUE(parse_udp(sent.packet, true)) << bit;
    }
  }
}

TEST(ParseUdp, SourcePortZeroIsLegalAndDestinationPortZeroIsNot) {
  const Sent from_zero(udp(text("x"), 0, 53));
  EXPECT_TRUE(parse_udp(from_zero.packet, false)) << "RFC 768: no reply expected";
  const Sent to_zero(udp(text("x"), 53, 0));
  EXPECT_EQ(parse_udp(to_zero.packet, false).error(), Drop::kBadPort);
}

TEST(ParseUdp, ATrainTakesTheWholePayloadWhateverItsLengthSays) {
  for (const int length : {0, 8, 1008, 65535}) {
    const Sent sent(udp(counting(3000), 1, 2, length));
    const Parsed<UdpDatagram> parsed = parse_udp(sent.packet, true, true);
    ASSERT_TRUE(parsed) << length;
    EXPECT_EQ(parsed->payload.size(), 3000U) << length;
  }
}

TEST(ParseUdp, FragmentsAndOtherProtocolsAreRefused) {
  Sent sent(udp(text("x")));
  sent.packet.fragment = Fragment{.has_more = true};
  EXPECT_EQ(parse_udp(sent.packet, true).error(), Drop::kBadTransportLength);
  sent.packet.fragment.reset();
  sent.packet.protocol = 6;
  EXPECT_EQ(parse_udp(sent.packet, true).error(), Drop::kUnknownTransport);
}

TEST(WriteUdpPacket, WritesWhatParses) {
  for (const auto& [from, to] : {std::pair{"10.0.2.3", "10.0.2.100"}, {"fd00::3", "fd00::100"}}) {
    for (const std::size_t size : {0, 1, 2, 999, 1000}) {
      const Octets payload = counting(size);
      Octets out(1280, 0xa5);
      const IpHeaderFields ip{.source = testing::ip(from),
                              .destination = testing::ip(to),
                              .protocol = IpProtocol::kUdp};
      const std::size_t written = write_udp_packet(out, ip, 53, 40000, payload);
      ASSERT_GT(written, size);
      const Bytes octets = Bytes(out).first(written);
      const auto packet = ip.source.is_v4() ? parse_ipv4(octets) : parse_ipv6(octets);
      ASSERT_TRUE(packet);
      const auto datagram = parse_udp(*packet, false);
      ASSERT_TRUE(datagram);
      EXPECT_EQ(datagram->source_port, 53);
      EXPECT_EQ(datagram->destination_port, 40000);
      EXPECT_TRUE(std::ranges::equal(datagram->payload, payload));
      EXPECT_EQ(write_udp_packet(MutableBytes(out).first(written - 1), ip, 53, 40000, payload), 0U);
    }
  }
}

}  // namespace
}  // namespace cordon
