#include "netstack/wire/icmp.h"

#include <gtest/gtest.h>

#include "tests/unit/wire/packets.h"

namespace cordon {
namespace {

using testing::counting;
using testing::get16;
using testing::hex;
using testing::icmp;
using testing::icmp6;
using testing::ip;
using testing::ipv4;
using testing::ipv6;
using testing::Octets;
using testing::operator+;
using testing::plain_sum;
using testing::plain_transport_sum;
using testing::text;
using testing::udp;
using testing::V4;
using testing::V6;

Parsed<EchoMessage> parse_v4(const Octets& bytes, bool is_trusted = false) {
  return parse_echo(parse_ipv4(bytes).value(), is_trusted);
}

Parsed<EchoMessage> parse_v6(const Octets& bytes, bool is_trusted = false) {
  return parse_echo(parse_ipv6(bytes).value(), is_trusted);
}

TEST(ParseEcho, RequestAndReplyOfBothFamilies) {
  struct Row {
    bool is_v4;
    unsigned type;
    bool is_request;
  };
  for (const Row& row :
       {Row{true, 8, true}, Row{true, 0, false}, Row{false, 128, true}, Row{false, 129, false}}) {
    const Octets data = counting(56);
    const Octets bytes = row.is_v4
                             ? ipv4({.protocol = 1}, icmp(row.type, 0, 0x12340007, data))
                             : ipv6({.next_header = 58}, icmp6({}, row.type, 0, 0x12340007, data));
    const Parsed<EchoMessage> echo = row.is_v4 ? parse_v4(bytes) : parse_v6(bytes);
    ASSERT_TRUE(echo) << row.type;
    EXPECT_EQ(echo->is_request, row.is_request) << row.type;
    EXPECT_EQ(echo->identifier, 0x1234);
    EXPECT_EQ(echo->sequence, 7);
    EXPECT_EQ(Octets(echo->data.begin(), echo->data.end()), data);
  }
}

TEST(ParseEcho, EveryOtherTypeIsUnknown) {
  for (unsigned type = 0; type < 256; ++type) {
    const bool is_echo_v4 = type == 0 || type == 8;
    const bool is_echo_v6 = type == 128 || type == 129;
    const Parsed<EchoMessage> v4 = parse_v4(ipv4({.protocol = 1}, icmp(type, 0, 1)));
    const Parsed<EchoMessage> v6 = parse_v6(ipv6({.next_header = 58}, icmp6({}, type, 0, 1)));
    ASSERT_EQ(v4.has_value(), is_echo_v4) << type;
    ASSERT_EQ(v6.has_value(), is_echo_v6) << type;
    if (!is_echo_v4) {
      EXPECT_EQ(v4.error(), Drop::kUnknownIcmp) << type;
    }
    if (!is_echo_v6) {
      EXPECT_EQ(v6.error(), Drop::kUnknownIcmp) << type;
    }
  }
}

TEST(ParseEcho, ACodeOtherThanZeroIsUnknown) {
  EXPECT_EQ(parse_v4(ipv4({.protocol = 1}, icmp(8, 9, 1))).error(), Drop::kUnknownIcmp);
}

TEST(ParseEcho, TheOtherFamilysProtocolIsUnknown) {
  EXPECT_EQ(parse_v4(ipv4({.protocol = 58}, icmp(8, 0, 1))).error(), Drop::kUnknownIcmp);
  EXPECT_EQ(parse_v6(ipv6({.next_header = 1}, icmp(8, 0, 1))).error(), Drop::kUnknownIcmp);
}

TEST(ParseEcho, AWrongChecksumIsSeenUnlessItIsTrusted) {
  Octets bytes = ipv4({.protocol = 1}, icmp(8, 0, 1, text("abc")));
  bytes.back() ^= 1;
  EXPECT_EQ(parse_v4(bytes).error(), Drop::kBadTransportChecksum);
  EXPECT_TRUE(parse_v4(bytes, true));
  // RFC 4443 section 2.3: over IPv6 the pseudo-header counts, so the sum of the message alone is
  // wrong.
  bytes = ipv6({.next_header = 58}, icmp(128, 0, 1, text("abc")));
  EXPECT_EQ(parse_v6(bytes).error(), Drop::kBadTransportChecksum);
}

TEST(ParseEcho, AHeaderCutShortIsRefused) {
  for (std::size_t size = 0; size < 8; ++size) {
    EXPECT_EQ(parse_v4(ipv4({.protocol = 1}, Octets(size, 8)), true).error(), Drop::kTruncated);
  }
}

// P-07: CVE-2020-10756 and its kin answered with the length that the guest claimed.
TEST(ParseEcho, TheDataIsWhatThePacketHoldsAndNoMore) {
  const Octets message = icmp(8, 0, 1, counting(32));
  const Octets longer = ipv4({.protocol = 1, .total_length = 1500}, message);
  EXPECT_FALSE(parse_ipv4(longer));
  const Octets shorter = ipv4({.protocol = 1, .total_length = 20 + 8 + 4}, message);
  const Parsed<EchoMessage> echo = parse_v4(shorter, true);
  ASSERT_TRUE(echo);
  EXPECT_EQ(echo->data.size(), 4U);
  const Octets lying = ipv6({.next_header = 58, .payload_length = 0xffff}, message);
  EXPECT_FALSE(parse_ipv6(lying));
}

TEST(WriteEcho, WhatIsWrittenIsParsedAgain) {
  for (const bool is_v4 : {true, false}) {
    for (const bool is_request : {true, false}) {
      for (const std::size_t size : {0U, 1U, 56U, 1472U, 60001U}) {
        const Octets data = counting(size);
        const IpHeaderFields header{.source = ip(is_v4 ? "198.51.100.2" : "2001:db8::2"),
                                    .destination = ip(is_v4 ? "198.51.100.20" : "2001:db8::20"),
                                    .ttl = 61};
        Octets out(size + 100, 0xa5);
        const std::size_t written = write_echo(
            out, header,
            {.is_request = is_request, .identifier = 0xfffe, .sequence = 0x8001, .data = data});
        ASSERT_EQ(written, (is_v4 ? 28 : 48) + size);
        EXPECT_EQ(out[written], 0xa5);
        out.resize(written);
        const Parsed<EchoMessage> echo = is_v4 ? parse_v4(out) : parse_v6(out);
        ASSERT_TRUE(echo);
        EXPECT_EQ(echo->is_request, is_request);
        EXPECT_EQ(echo->identifier, 0xfffe);
        EXPECT_EQ(echo->sequence, 0x8001);
        EXPECT_EQ(Octets(echo->data.begin(), echo->data.end()), data);
      }
    }
  }
}

TEST(WriteEcho, CanonicalBytesAreWrittenBitByBit) {
  Octets out(48);
  ASSERT_EQ(write_echo(out, {.source = ip("198.51.100.2"), .destination = ip("198.51.100.20")},
                       {.identifier = 1, .sequence = 2, .data = counting(20)}),
            48U);
  EXPECT_EQ(out, ipv4({.protocol = 1}, icmp(8, 0, 0x00010002, counting(20))));
}

TEST(WriteEcho, DataMayLieInTheOutput) {
  Octets out = Octets(10) + counting(40) + Octets(60);
  const std::size_t size =
      write_echo(out, {.source = ip("198.51.100.2"), .destination = ip("198.51.100.20")},
                 {.data = Bytes(out).subspan(10, 40)});
  ASSERT_EQ(size, 68U);
  EXPECT_EQ(Octets(out.begin() + 28, out.begin() + 68), counting(40));
}

TEST(WriteEcho, WhatDoesNotFitIsNotWritten) {
  const IpHeaderFields header{.source = ip("198.51.100.2"), .destination = ip("198.51.100.20")};
  const Octets data = counting(10);
  for (std::size_t size = 0; size < 38; ++size) {
    Octets out(size);
    EXPECT_EQ(write_echo(out, header, {.data = data}), 0U) << size;
  }
  const Octets large = counting(65508);
  Octets out(70000);
  EXPECT_EQ(write_echo(out, header, {.data = large}), 0U);
  EXPECT_EQ(write_echo(out, header, {.data = Bytes(large).first(65507)}), 65535U);
}

// --- Errors

IcmpErrorFields about_v4(IcmpError error, std::uint32_t mtu = 1400) {
  return {
      .source = ip("198.51.100.1"), .destination = ip("198.51.100.2"), .error = error, .mtu = mtu};
}

IcmpErrorFields about_v6(IcmpError error, std::uint32_t mtu = 1400) {
  return {
      .source = ip("2001:db8::1"), .destination = ip("2001:db8::2"), .error = error, .mtu = mtu};
}

Octets error_about(const IcmpErrorFields& fields, const Octets& offending) {
  Octets out(2000, 0xa5);
  const std::size_t size = write_icmp_error(out, fields, offending);
  for (std::size_t i = size; i < out.size(); ++i) EXPECT_EQ(out[i], 0xa5) << "written past the end";
  out.resize(size);
  return out;
}

TEST(WriteIcmpError, EachErrorHasItsTypeAndCodeInBothFamilies) {
  struct Row {
    const char* name;
    IcmpError error;
    unsigned type4, code4, type6, code6;
    std::uint32_t word4, word6;
  };
  const Row rows[] = {
      {"RFC 792, 4443 3.1", IcmpError::kNetUnreachable, 3, 0, 1, 0, 0, 0},
      {"RFC 792, 4443 3.1", IcmpError::kHostUnreachable, 3, 1, 1, 3, 0, 0},
      {"RFC 792, 4443 3.4", IcmpError::kProtocolUnreachable, 3, 2, 4, 1, 0, 6},
      {"RFC 792, 4443 3.1", IcmpError::kPortUnreachable, 3, 3, 1, 4, 0, 0},
      {"RFC 1191 4, 4443 3.2", IcmpError::kTooBig, 3, 4, 2, 0, 1400, 1400},
      {"RFC 1812 5.2.7.1, 4443 3.1", IcmpError::kProhibited, 3, 13, 1, 1, 0, 0},
      {"RFC 792, 4443 3.3", IcmpError::kTtlExceeded, 11, 0, 3, 0, 0, 0},
      {"RFC 792, 4443 3.3", IcmpError::kReassemblyTimeout, 11, 1, 3, 1, 0, 0},
  };
  for (const Row& row : rows) {
    const Octets offending4 = ipv4({}, udp(text("hello")));
    const Octets v4 = error_about(about_v4(row.error), offending4);
    ASSERT_EQ(v4.size(), 28 + offending4.size()) << row.name;
    EXPECT_EQ(v4[20], row.type4) << row.name;
    EXPECT_EQ(v4[21], row.code4) << row.name;
    EXPECT_EQ(get16(v4, 24) << 16 | get16(v4, 26), row.word4) << row.name;
    EXPECT_EQ(plain_sum(Bytes(v4).subspan(20)), 0xffff) << row.name;
    EXPECT_EQ(Octets(v4.begin() + 28, v4.end()), offending4) << row.name;

    const Octets offending6 = ipv6({}, udp(text("hello")));
    const Octets v6 = error_about(about_v6(row.error), offending6);
    ASSERT_EQ(v6.size(), 48 + offending6.size()) << row.name;
    EXPECT_EQ(v6[40], row.type6) << row.name;
    EXPECT_EQ(v6[41], row.code6) << row.name;
    EXPECT_EQ(get16(v6, 44) << 16 | get16(v6, 46), row.word6) << row.name;
    EXPECT_EQ(plain_transport_sum(ip("2001:db8::1"), ip("2001:db8::2"), 58, Bytes(v6).subspan(40)),
              0xffff)
        << row.name;
    EXPECT_EQ(Octets(v6.begin() + 48, v6.end()), offending6) << row.name;
  }
}

TEST(WriteIcmpError, ItGoesFromTheReporterToTheGuest) {
  const Octets v4 = error_about(about_v4(IcmpError::kTtlExceeded), ipv4({}, udp({})));
  const Parsed<IpPacket> packet = parse_ipv4(v4);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->source, ip("198.51.100.1"));
  EXPECT_EQ(packet->destination, ip("198.51.100.2"));
  EXPECT_EQ(packet->protocol, 1);
  EXPECT_EQ(packet->traffic_class, 0xc0) << "RFC 1812 section 4.3.2.5";
}

TEST(WriteIcmpError, TheQuoteIsAsLongAsTheRfcsLet) {
  EXPECT_EQ(
      error_about(about_v4(IcmpError::kPortUnreachable), ipv4({}, udp(counting(1400)))).size(),
      576U)
      << "RFC 1812 section 4.3.2.3";
  EXPECT_EQ(
      error_about(about_v6(IcmpError::kPortUnreachable), ipv6({}, udp(counting(1800)))).size(),
      1280U)
      << "RFC 4443 section 2.4 c";
}

TEST(WriteIcmpError, PaddingBehindThePacketIsNotQuoted) {
  const Octets packet = ipv4({}, udp(text("x")));
  EXPECT_EQ(error_about(about_v4(IcmpError::kPortUnreachable), packet + Octets(17, 0xee)).size(),
            28 + packet.size());
}

TEST(WriteIcmpError, TheMtuStaysWithinWhatEachFamilyKnows) {
  const Octets offending4 = ipv4({}, udp({}));
  const Octets offending6 = ipv6({}, udp({}));
  EXPECT_EQ(get16(error_about(about_v4(IcmpError::kTooBig, 70000), offending4), 26), 65535U);
  EXPECT_EQ(get16(error_about(about_v4(IcmpError::kTooBig, 10), offending4), 26), 68U);
  EXPECT_EQ(get16(error_about(about_v6(IcmpError::kTooBig, 576), offending6), 46), 1280U)
      << "RFC 8201 section 4";
  EXPECT_EQ(get16(error_about(about_v6(IcmpError::kTooBig, 9000), offending6), 46), 9000U);
}

TEST(WriteIcmpError, ThePointerNamesTheFieldOfTheUnknownHeader) {
  const Octets options = hex("84 00 01 04 00000000");  // next header: SCTP
  const Octets error = error_about(about_v6(IcmpError::kProtocolUnreachable),
                                   ipv6({.next_header = 60}, options + counting(12)));
  ASSERT_FALSE(error.empty());
  EXPECT_EQ(get16(error, 46), 40U) << "RFC 4443 section 3.4";
}

TEST(WriteIcmpError, WhatIsNeverAnsweredOverIpv4) {
  struct Row {
    const char* name;
    Octets offending;
  };
  const Octets inner = ipv4({}, udp({}));
  const Row rows[] = {
      {"RFC 1122 3.2.2: unreachable", ipv4({.protocol = 1}, icmp(3, 3, 0, inner))},
      {"RFC 1122 3.2.2: source quench", ipv4({.protocol = 1}, icmp(4, 0, 0, inner))},
      {"RFC 1122 3.2.2: redirect", ipv4({.protocol = 1}, icmp(5, 0, 0, inner))},
      {"RFC 1122 3.2.2: time exceeded", ipv4({.protocol = 1}, icmp(11, 0, 0, inner))},
      {"RFC 1122 3.2.2: parameter problem", ipv4({.protocol = 1}, icmp(12, 0, 0, inner))},
      {"ICMP without a type", ipv4({.protocol = 1}, {})},
      {"RFC 1122 3.2.2: multicast", ipv4({.destination = "224.0.0.251"}, udp({}))},
      {"RFC 1122 3.2.2: broadcast", ipv4({.destination = "255.255.255.255"}, udp({}))},
      {"RFC 1122 3.2.2: a later fragment", ipv4({.flags_and_offset = 0x2001}, udp({}))},
      {"a fragment of a high offset", ipv4({.flags_and_offset = 0x1000}, udp({}))},
      {"RFC 1122 3.2.2: source zero", ipv4({.source = "0.0.0.0"}, udp({}))},
      {"source in 0/8", ipv4({.source = "0.1.2.3"}, udp({}))},
      {"RFC 1122 3.2.2: loopback source", ipv4({.source = "127.0.0.1"}, udp({}))},
      {"RFC 1122 3.2.2: multicast source", ipv4({.source = "239.1.1.1"}, udp({}))},
      {"RFC 1122 3.2.2: broadcast source", ipv4({.source = "255.255.255.255"}, udp({}))},
      {"RFC 1122 3.2.2: class E source", ipv4({.source = "240.0.0.1"}, udp({}))},
      {"the other family", ipv6({}, udp({}))},
      {"nothing", {}},
  };
  for (const Row& row : rows) {
    for (const IcmpError error : {IcmpError::kPortUnreachable, IcmpError::kTooBig}) {
      EXPECT_TRUE(error_about(about_v4(error), row.offending).empty()) << row.name;
    }
  }
}

TEST(WriteIcmpError, QueriesAndFirstFragmentsAreAnswered) {
  EXPECT_FALSE(
      error_about(about_v4(IcmpError::kHostUnreachable), ipv4({.protocol = 1}, icmp(8, 0, 1)))
          .empty());
  EXPECT_FALSE(error_about(about_v6(IcmpError::kHostUnreachable),
                           ipv6({.next_header = 58}, icmp6({}, 128, 0, 1)))
                   .empty());
  EXPECT_FALSE(error_about(about_v4(IcmpError::kReassemblyTimeout),
                           ipv4({.flags_and_offset = 0x2000}, udp(counting(16))))
                   .empty());
  EXPECT_FALSE(
      error_about(about_v6(IcmpError::kReassemblyTimeout),
                  ipv6({.next_header = 44}, hex("11 00 0001 00000007") + udp(text("12345678"))))
          .empty());
}

TEST(WriteIcmpError, WhatIsNeverAnsweredOverIpv6) {
  struct Row {
    const char* name;
    Octets offending;
  };
  const Row rows[] = {
      {"RFC 4443 2.4 e.1: an error", ipv6({.next_header = 58}, icmp6({}, 1, 4, 0, counting(48)))},
      {"RFC 4443 2.4 e.1: an unknown error", ipv6({.next_header = 58}, icmp6({}, 127, 0, 0))},
      {"RFC 4443 2.4 e.2: a redirect", ipv6({.next_header = 58}, icmp6({}, 137, 0, 0))},
      {"an error behind options",
       ipv6({.next_header = 60}, hex("3a 00 01 04 00000000") + icmp6({}, 1, 4, 0))},
      {"RFC 4443 2.4 e.3: multicast", ipv6({.destination = "ff0e::1"}, udp({}))},
      {"RFC 4443 2.4 e.6: source ::", ipv6({.source = "::"}, udp({}))},
      {"RFC 4443 2.4 e.6: multicast source", ipv6({.source = "ff02::1"}, udp({}))},
      {"a later fragment", ipv6({.next_header = 44}, hex("11 00 0008 00000007") + udp({}))},
      {"a chain that is broken", ipv6({.next_header = 60}, hex("11 09 01 04 00000000"))},
      {"the other family", ipv4({}, udp({}))},
      {"nothing", {}},
  };
  for (const Row& row : rows) {
    EXPECT_TRUE(error_about(about_v6(IcmpError::kPortUnreachable), row.offending).empty())
        << row.name;
  }
}

TEST(WriteIcmpError, OnlyTooBigAnswersIpv6Multicast) {
  const Octets offending = ipv6({.destination = "ff0e::1"}, udp(counting(1400)));
  EXPECT_FALSE(error_about(about_v6(IcmpError::kTooBig), offending).empty())
      << "RFC 4443 section 2.4 e.3";
  EXPECT_TRUE(error_about(about_v6(IcmpError::kTtlExceeded), offending).empty());
}

// P-08, CVE-2026-120830: the quote was taken from lengths that the packet claimed.
TEST(WriteIcmpError, NoClaimOfThePacketMakesTheQuoteLongerThanThePacket) {
  const Octets whole = ipv4({}, udp(counting(40)));
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    for (unsigned ihl = 0; ihl < 16; ++ihl) {
      for (const unsigned total : {0U, 19U, 20U, 28U, 68U, 1500U, 65535U}) {
        Octets offending(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        offending.shrink_to_fit();
        if (size > 0) offending[0] = static_cast<std::uint8_t>(0x40 | ihl);
        if (size > 3) testing::put16(offending, 2, total);
        const Octets error = error_about(about_v4(IcmpError::kPortUnreachable), offending);
        if (error.empty()) continue;
        ASSERT_LE(error.size(), 28 + size) << ihl << ' ' << total;
        ASSERT_TRUE(std::equal(error.begin() + 28, error.end(), offending.begin()));
      }
    }
  }
}

TEST(WriteIcmpError, WhatDoesNotFitIsNotWritten) {
  const Octets offending = ipv4({}, udp({}));
  for (std::size_t size = 0; size < 28 + offending.size(); ++size) {
    Octets out(size);
    EXPECT_EQ(write_icmp_error(out, about_v4(IcmpError::kPortUnreachable), offending), 0U) << size;
  }
}

TEST(WriteIcmpError, AnErrorIsNeverAnsweredByAnother) {
  const Octets first = error_about(about_v4(IcmpError::kPortUnreachable), ipv4({}, udp({})));
  IcmpErrorFields back = about_v4(IcmpError::kPortUnreachable);
  std::swap(back.source, back.destination);
  EXPECT_TRUE(error_about(back, first).empty());
}

}  // namespace
}  // namespace cordon
