#include "netstack/wire/tcp.h"

#include <gtest/gtest.h>

#include "tests/unit/wire/packets.h"

namespace cordon {
namespace {

using testing::counting;
using testing::hex;
using testing::ip;
using testing::ipv4;
using testing::ipv6;
using testing::Octets;
using testing::operator+;
using testing::Segment;
using testing::tcp;
using testing::text;
using testing::V4;
using testing::V6;
using testing::with_checksum;

struct Sent {
  explicit Sent(const Octets& payload, bool is_v4 = true)
      : octets(is_v4 ? ipv4({.protocol = 6}, payload) : ipv6({.next_header = 6}, payload)),
        packet(is_v4 ? parse_ipv4(octets).value() : parse_ipv6(octets).value()) {}
  Octets octets;
  IpPacket packet;
};

Octets summed(const Octets& segment, bool is_v4 = true) {
  return is_v4 ? with_checksum(V4{}, 6, 16, segment) : with_checksum(V6{}, 6, 16, segment);
}

/// The options of a SYN as Linux sends it.
Octets linux_options() { return hex("020405b4 0402080a 00000001 00000000 01030307"); }

TEST(ParseTcp, EveryFieldIsWhereRfc9293PutsIt) {
  for (const bool is_v4 : {true, false}) {
    const Sent sent(summed(tcp({.source_port = 40001,
                                .destination_port = 8080,
                                .seq = 0x01020304,
                                .ack = 0xf1f2f3f4,
                                .flags = 0x12,
                                .window = 0xabcd,
                                .options = linux_options()},
                               text("data")),
                           is_v4),
                    is_v4);
    const Parsed<TcpSegment> segment = parse_tcp(sent.packet, false);
    ASSERT_TRUE(segment);
    EXPECT_EQ(segment->source_port, 40001);
    EXPECT_EQ(segment->destination_port, 8080);
    EXPECT_EQ(segment->seq, Seq(0x01020304));
    EXPECT_EQ(segment->ack, Seq(0xf1f2f3f4));
    EXPECT_EQ(segment->flags, (TcpFlags{.syn = true, .ack = true}));
    EXPECT_EQ(segment->window, 0xabcd);
    EXPECT_EQ(Octets(segment->options.begin(), segment->options.end()), linux_options());
    EXPECT_EQ(Octets(segment->payload.begin(), segment->payload.end()), text("data"));
  }
}

// T1, nstun: SYN+FIN and SYN+RST were accepted.
TEST(ParseTcp, EveryCombinationOfFlagsIsJudged) {
  for (unsigned flags = 0; flags < 256; ++flags) {
    const Sent sent(summed(tcp({.flags = flags})));
    const Parsed<TcpSegment> segment = parse_tcp(sent.packet, false);
    const bool has_syn = (flags & 2) != 0;
    const bool is_bad = (flags & 0x3f) == 0 || (has_syn && (flags & 5) != 0);
    ASSERT_EQ(segment.has_value(), !is_bad) << flags;
    if (is_bad) {
      EXPECT_EQ(segment.error(), Drop::kBadTcpFlags) << flags;
      continue;
    }
    const TcpFlags expected{.fin = (flags & 1) != 0,
                            .syn = has_syn,
                            .rst = (flags & 4) != 0,
                            .psh = (flags & 8) != 0,
                            .ack = (flags & 16) != 0,
                            .urg = (flags & 32) != 0};
    EXPECT_EQ(segment->flags, expected) << flags;
  }
}

TEST(ParseTcp, DataOffsetsThatCannotBeAreRefused) {
  for (int offset = 0; offset < 16; ++offset) {
    const Sent sent(tcp({.data_offset = offset}, counting(12)));
    const Parsed<TcpSegment> segment = parse_tcp(sent.packet, true);
    const bool is_possible = offset >= 5 && offset <= 8;
    ASSERT_EQ(segment.has_value(), is_possible) << offset;
    if (!is_possible) {
      EXPECT_EQ(segment.error(), Drop::kBadHeaderLength) << offset;
      continue;
    }
    EXPECT_EQ(segment->options.size() + segment->payload.size(), 12U) << offset;
  }
}

TEST(ParseTcp, AHeaderCutShortIsRefused) {
  for (std::size_t size = 1; size < 20; ++size) {
    const Sent sent(counting(size));
    EXPECT_EQ(parse_tcp(sent.packet, true).error(), Drop::kTruncated) << size;
  }
}

TEST(ParseTcp, AWrongBitIsSeenUnlessTheChecksumIsTrusted) {
  for (const bool is_v4 : {true, false}) {
    const Octets right = summed(tcp({}, text("odd")), is_v4);
    for (std::size_t bit = 0; bit < right.size() * 8; ++bit) {
      if (bit / 8 == 12 || bit / 8 == 13) continue;  // data offset and flags, judged by themselves
      Octets wrong = right;
      wrong[bit / 8] = static_cast<std::uint8_t>(wrong[bit / 8] ^ (1U << (bit % 8)));
      const Sent sent(wrong, is_v4);
      EXPECT_EQ(parse_tcp(sent.packet, false).error(), Drop::kBadTransportChecksum) << bit;
      EXPECT_TRUE(parse_tcp(sent.packet, true)) << bit;
    }
  }
}

TEST(ParseTcp, PortZeroIsRefused) {
  EXPECT_EQ(parse_tcp(Sent(tcp({.source_port = 0})).packet, true).error(), Drop::kBadPort);
  EXPECT_EQ(parse_tcp(Sent(tcp({.destination_port = 0})).packet, true).error(), Drop::kBadPort);
}

// URGENT/11, P-12: the pointer is the kernel's to read, whatever it says.
TEST(ParseTcp, AnyUrgentPointerPasses) {
  for (const unsigned pointer : {0U, 4U, 5U, 65535U}) {
    const Sent sent(summed(tcp({.flags = 0x38, .urgent_pointer = pointer}, text("data"))));
    const Parsed<TcpSegment> segment = parse_tcp(sent.packet, false);
    ASSERT_TRUE(segment) << pointer;
    EXPECT_TRUE(segment->flags.urg);
    EXPECT_EQ(segment->payload.size(), 4U);
  }
}

// P-04: nothing of ours looks into ident, FTP or IRC.
TEST(ParseTcp, ThePortsOfOldGatewaysCarryOrdinaryOctets) {
  for (const unsigned port : {21U, 113U, 6667U}) {
    const Octets data = text(
        "PORT 198,51,100,2,9,9\r\n\x01"
        "DCC SEND f 1 2\x01");
    const Sent sent(summed(tcp({.destination_port = port, .flags = 0x18}, data)));
    const Parsed<TcpSegment> segment = parse_tcp(sent.packet, false);
    ASSERT_TRUE(segment);
    EXPECT_EQ(Octets(segment->payload.begin(), segment->payload.end()), data) << port;
  }
}

TEST(ParseTcp, FragmentsAndOtherProtocolsAreRefused) {
  Sent sent(tcp({}));
  sent.packet.fragment = Fragment{.has_more = true};
  EXPECT_EQ(parse_tcp(sent.packet, true).error(), Drop::kBadTransportLength);
  sent.packet.fragment.reset();
  sent.packet.protocol = 17;
  EXPECT_EQ(parse_tcp(sent.packet, true).error(), Drop::kUnknownTransport);
}

// --- C-T T2

TEST(ParseSynOptions, WhatEachListMeans) {
  struct Row {
    const char* name;
    Octets octets;
    SynOptions options;
  };
  SynOptions linux_syn;
  linux_syn.mss = 1460;
  linux_syn.window_scale = 7;
  linux_syn.has_sack_permitted = true;
  linux_syn.timestamps = SynOptions::Timestamps{.value = 1, .echo = 0};
  const SynOptions mss{.mss = 1460};
  const Row rows[] = {
      {"none", {}, {}},
      {"as Linux sends them", linux_options(), linux_syn},
      {"RFC 9293 3.1: END ends", hex("020405b4 00 030307"), mss},
      {"END as the first", hex("00 020405b4"), {}},
      {"NOP only", Octets(40, 1), {}},
      {"40 octets full", linux_options() + Octets(20, 1), linux_syn},
      {"length 0 ends", hex("020405b4 fd00 030307"), mss},
      {"length 1 ends", hex("020405b4 fd01 030307"), mss},
      {"length 0 first", hex("0200 020405b4"), {}},
      {"an option past the end", hex("020405b4 0803"), mss},
      {"an option past the end by much", hex("020405b4 03ff07"), mss},
      {"a kind without a length", hex("020405b4 03"), mss},
      {"unknown kinds are passed over", hex("fd06aabbccdd 020405b4"), mss},
      {"RFC 8684: MPTCP", hex("1e0c 0100 0102030405060708 020405b4"), mss},
      {"RFC 7413: Fast Open, with a cookie and without", hex("220a0102030405060708 2202 020405b4"),
       mss},
      {"RFC 2385: MD5", hex("1312 00112233445566778899aabbccddeeff 020405b4"), mss},
      {"RFC 7323 2.3: window scale 14", hex("03030e"), {.window_scale = 14}},
      {"RFC 7323 2.3: window scale 15 is 14", hex("03030f"), {.window_scale = 14}},
      {"window scale 255 is 14", hex("0303ff"), {.window_scale = 14}},
      {"window scale 0 is an offer", hex("030300"), {.window_scale = 0}},
      {"MSS 0 says nothing", hex("02040000"), {}},
      {"MSS 1", hex("02040001"), {.mss = 1}},
      {"MSS 64", hex("02040040"), {.mss = 64}},
      {"MSS 65,535", hex("0204ffff"), {.mss = 65535}},
      {"MSS of a wrong length", hex("0203ff 020405b4"), mss},
      {"window scale of a wrong length", hex("030407 ff 020405b4"), mss},
      {"SACK permitted of a wrong length", hex("0403 ff 020405b4"), mss},
      {"timestamps of a wrong length", hex("0809 00000001000000 020405b4"), mss},
      {"timestamps alone",
       hex("080a fffffffe 80000001"),
       {.timestamps = SynOptions::Timestamps{.value = 0xfffffffe, .echo = 0x80000001}}},
      {"the last of two counts", hex("02040001 020405b4"), mss},
  };
  for (const Row& row : rows) EXPECT_EQ(parse_syn_options(row.octets), row.options) << row.name;
}

// P-12: every pair of kind and length, at every place of a list of 40 octets.
TEST(ParseSynOptions, EveryKindAndLengthEnds) {
  for (unsigned kind = 0; kind < 256; ++kind) {
    for (unsigned length = 0; length <= 41; ++length) {
      for (std::size_t size = 0; size <= 40; size += size < 12 ? 1 : 7) {
        Octets octets(size, 1);
        if (size > 0) octets[0] = static_cast<std::uint8_t>(kind);
        if (size > 1) octets[1] = static_cast<std::uint8_t>(length);
        const SynOptions options = parse_syn_options(octets);
        ASSERT_LE(options.window_scale.value_or(0), 14);
      }
    }
  }
}

// --- Writing

IpHeaderFields v4_header() {
  return {.source = ip("198.51.100.2"), .destination = ip("198.51.100.20")};
}

IpHeaderFields v6_header() {
  return {.source = ip("2001:db8::2"), .destination = ip("2001:db8::20")};
}

TEST(WriteTcp, EveryChoiceOfOptionsIsParsedAgain) {
  for (unsigned choice = 0; choice < 16; ++choice) {
    SynOptions options;
    if ((choice & 1) != 0) options.mss = 1220;
    if ((choice & 2) != 0) options.window_scale = 9;
    options.has_sack_permitted = (choice & 4) != 0;
    if ((choice & 8) != 0) options.timestamps = SynOptions::Timestamps{.value = 77, .echo = 88};
    // T3: sequence numbers at the wrap.
    for (const std::uint32_t seq : {0xffffffffU, 0x7fffffffU, 0xffffff9cU}) {
      for (const IpHeaderFields& header : {v4_header(), v6_header()}) {
        const TcpHeaderFields fields{.source_port = 80,
                                     .destination_port = 40000,
                                     .seq = Seq(seq),
                                     .ack = Seq(seq).plus(1),
                                     .flags = {.syn = true, .ack = true},
                                     .window = 65535};
        Octets out(200, 0xa5);
        const std::size_t size = write_tcp(out, header, fields, &options);
        ASSERT_GT(size, 0U);
        EXPECT_EQ(out[size], 0xa5) << "nothing behind the segment";
        const Bytes written = Bytes(out).first(size);
        const Parsed<IpPacket> packet =
            header.source.is_v4() ? parse_ipv4(written) : parse_ipv6(written);
        ASSERT_TRUE(packet);
        const Parsed<TcpSegment> segment = parse_tcp(*packet, false);
        ASSERT_TRUE(segment) << choice;
        EXPECT_EQ(segment->seq, fields.seq);
        EXPECT_EQ(segment->ack, fields.ack);
        EXPECT_EQ(segment->flags, fields.flags);
        EXPECT_EQ(segment->window, fields.window);
        EXPECT_TRUE(segment->payload.empty());
        EXPECT_EQ(parse_syn_options(segment->options), options) << choice;
      }
    }
  }
}

TEST(WriteTcp, ASynIsTheOneThatLinuxSendsBitByBit) {
  SynOptions options;
  options.mss = 1460;
  options.window_scale = 7;
  options.has_sack_permitted = true;
  options.timestamps = SynOptions::Timestamps{.value = 1, .echo = 0};
  const TcpHeaderFields fields{.source_port = 40000,
                               .destination_port = 80,
                               .seq = Seq(0xffffffff),
                               .flags = {.syn = true},
                               .window = 64240};
  Octets out(60);
  ASSERT_EQ(write_tcp(out, v4_header(), fields, &options), 60U);
  EXPECT_EQ(out, ipv4({.protocol = 6}, summed(tcp({.options = linux_options()}))));
}

TEST(WriteTcp, ARstCarriesNoOptionsEvenWhereTheyAreGiven) {
  const SynOptions options{.mss = 1460};
  const TcpHeaderFields fields{
      .source_port = 80, .destination_port = 40000, .flags = {.rst = true, .ack = true}};
  Octets out(100);
  EXPECT_EQ(write_tcp(out, v4_header(), fields, &options), 40U);
  EXPECT_EQ(write_tcp(out, v6_header(), fields, nullptr), 60U);
}

TEST(WriteTcp, AWindowScalePast14IsNeverWritten) {
  const SynOptions options{.window_scale = 200};
  const TcpHeaderFields fields{
      .source_port = 80, .destination_port = 40000, .flags = {.syn = true}};
  Octets out(100);
  const std::size_t size = write_tcp(out, v4_header(), fields, &options);
  ASSERT_EQ(size, 44U);
  EXPECT_EQ(out[43], 14);
}

TEST(WriteTcp, WhatDoesNotFitIsNotWritten) {
  const SynOptions options{.mss = 1460};
  const TcpHeaderFields fields{
      .source_port = 80, .destination_port = 40000, .flags = {.syn = true}};
  for (std::size_t size = 0; size < 44; ++size) {
    Octets out(size, 0xa5);
    EXPECT_EQ(write_tcp(out, v4_header(), fields, &options), 0U) << size;
    EXPECT_EQ(out, Octets(size, 0xa5)) << size;
  }
  Octets out(44);
  EXPECT_EQ(write_tcp(out, v4_header(), fields, &options), 44U);
}

TEST(Seq, AdditionWraps) {
  EXPECT_EQ(Seq(0xffffffff).plus(1), Seq(0));
  EXPECT_EQ(Seq(0x7fffffff).plus(1), Seq(0x80000000));
  EXPECT_EQ(Seq(0xffffff9c).plus(200), Seq(100));
}

}  // namespace
}  // namespace cordon
