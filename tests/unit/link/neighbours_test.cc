#include "netstack/link/neighbours.h"

#include <gtest/gtest.h>

#include "tests/unit/wire/packets.h"

namespace cordon {
namespace {

using testing::address;
using testing::hex;
using testing::icmp6;
using testing::ip;
using testing::ipv6;
using testing::Octets;
using testing::operator+;
using testing::V6;

constexpr MacAddress kGuestMac{2, 0, 0, 0, 0, 2};
constexpr MacAddress kGatewayMac{2, 0, 0, 0, 0, 1};

class Neighbours : public ::testing::Test {
 protected:
  std::optional<Octets> arp(const Octets& packet) {
    Octets out(100, 0xa5);
    const Parsed<std::size_t> size = answer_arp(link_, packet, out);
    EXPECT_EQ(size.has_value() ? Drop::kBadArp : size.error(), Drop::kBadArp);
    return cut(out, size);
  }

  std::optional<Octets> ndp(const Octets& packet) {
    const Parsed<IpPacket> parsed = parse_ipv6(packet);
    EXPECT_TRUE(parsed);
    return ndp(*parsed);
  }

  std::optional<Octets> ndp(const IpPacket& packet) {
    Octets out(100, 0xa5);
    const Parsed<std::size_t> size = answer_ndp(link_, packet, out);
    EXPECT_EQ(size.has_value() ? Drop::kBadNdp : size.error(), Drop::kBadNdp);
    return cut(out, size);
  }

  static std::optional<Octets> cut(Octets out, const Parsed<std::size_t>& size) {
    const std::size_t written = size.value_or(0);
    for (std::size_t i = written; i < out.size(); ++i) EXPECT_EQ(out[i], 0xa5) << i;
    if (!size) return std::nullopt;
    out.resize(written);
    return out;
  }

  std::vector<IpAddress> ours_{ip("198.51.100.1"), ip("198.51.100.3"), ip("fe80::1"),
                               ip("2001:db8::1")};
  LinkAddresses link_{.guest_mac = kGuestMac, .gateway_mac = kGatewayMac, .ours = ours_};
};

Octets arp_request(std::string_view sender, std::string_view target) {
  return hex("0001 0800 06 04 0001 020000000002") + address(sender) + hex("000000000000") +
         address(target);
}

// P-05: every octet of the reply is compared, so that none can be one that was lying about.
TEST_F(Neighbours, AnArpRequestForAnAddressOfOursIsAnsweredOctetByOctet) {
  EXPECT_EQ(arp(hex("0001 0800 06 04 0001 020000000002 c6336402 000000000000 c6336401")),
            hex("020000000002 020000000001 0806"
                "0001 0800 06 04 0002 020000000001 c6336401 020000000002 c6336402"));
}

TEST_F(Neighbours, EveryAddressOfOursAnswers) {
  EXPECT_TRUE(arp(arp_request("198.51.100.2", "198.51.100.1")));
  EXPECT_TRUE(arp(arp_request("198.51.100.2", "198.51.100.3")));
}

TEST_F(Neighbours, PaddingBehindAnArpRequestIsIgnored) {
  const auto reply = arp(arp_request("198.51.100.2", "198.51.100.1") + Octets(18, 0xee));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->size(), 42U);
}

TEST_F(Neighbours, AProbeForAnAddressOfOursIsAnsweredSoThatTheGuestDoesNotTakeIt) {
  const auto reply = arp(arp_request("0.0.0.0", "198.51.100.1"));
  ASSERT_TRUE(reply) << "RFC 5227 section 2.1.1";
  EXPECT_EQ(Octets(reply->end() - 4, reply->end()), Octets(4));
}

TEST_F(Neighbours, WhatArpIsSilentAbout) {
  struct Row {
    const char* name;
    Octets packet;
  };
  const Row rows[] = {
      {"RFC 5227 2.1.1: a probe for the guest's own address",
       arp_request("0.0.0.0", "198.51.100.2")},
      {"RFC 5227 2.3: an announcement of the guest's", arp_request("198.51.100.2", "198.51.100.2")},
      {"an announcement that claims ours", arp_request("198.51.100.1", "198.51.100.1")},
      {"a sender that says it is us", arp_request("198.51.100.3", "198.51.100.1")},
      {"somebody else's address", arp_request("198.51.100.2", "198.51.100.4")},
      {"a broadcast sender", arp_request("255.255.255.255", "198.51.100.1")},
      {"a loopback sender", arp_request("127.0.0.1", "198.51.100.1")},
      {"a reply", hex("0001 0800 06 04 0002 020000000002 c6336402 000000000000 c6336401")},
      {"operation 0", hex("0001 0800 06 04 0000 020000000002 c6336402 000000000000 c6336401")},
      {"RARP", hex("0001 0800 06 04 0003 020000000002 c6336402 000000000000 c6336401")},
      {"another station's MAC",
       hex("0001 0800 06 04 0001 020000000009 c6336402 000000000000 c6336401")},
      {"not Ethernet", hex("0006 0800 06 04 0001 020000000002 c6336402 000000000000 c6336401")},
      {"not IPv4", hex("0001 86dd 06 04 0001 020000000002 c6336402 000000000000 c6336401")},
      {"CVE-2020-29130: MAC length 255",
       hex("0001 0800 ff 04 0001 020000000002 c6336402 000000000000 c6336401")},
      {"MAC length 0", hex("0001 0800 00 04 0001 020000000002 c6336402 000000000000 c6336401")},
      {"address length 16",
       hex("0001 0800 06 10 0001 020000000002 c6336402 000000000000 c6336401")},
  };
  for (const Row& row : rows) EXPECT_FALSE(arp(row.packet)) << row.name;
}

// P-09
TEST_F(Neighbours, ArpOfEveryLengthIsReadToItsEndAndNoFurther) {
  const Octets whole = arp_request("198.51.100.2", "198.51.100.1") + Octets(32);
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    Octets part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    part.shrink_to_fit();
    EXPECT_EQ(arp(part).has_value(), size >= 28) << size;
  }
}

TEST_F(Neighbours, AnAnswerThatDoesNotFitIsNotWritten) {
  const Octets request = arp_request("198.51.100.2", "198.51.100.1");
  for (std::size_t size = 0; size < 42; ++size) {
    Octets out(size);
    const Parsed<std::size_t> written = answer_arp(link_, request, out);
    ASSERT_FALSE(written) << size;
    EXPECT_EQ(written.error(), Drop::kTooBig) << size;
  }
}

// --- Neighbour Discovery

struct Solicitation {
  V6 fields{
      .source = "fe80::2", .destination = "ff02::1:ff00:1", .next_header = 58, .hop_limit = 255};
  std::string_view target = "fe80::1";
  Octets options = hex("0101 020000000002");
  unsigned type = 135;
  unsigned code = 0;

  [[nodiscard]] Octets packet() const {
    return ipv6(fields, icmp6(fields, type, code, 0, address(target) + options));
  }
};

Octets advertisement(std::string_view source, std::string_view destination, std::string_view macs,
                     std::uint32_t flags) {
  const V6 fields{
      .source = source, .destination = destination, .next_header = 58, .hop_limit = 255};
  return hex(macs) + hex("86dd") +
         ipv6(fields, icmp6(fields, 136, 0, flags, address(source) + hex("0201 020000000001")));
}

TEST_F(Neighbours, ASolicitationIsAnsweredOctetByOctet) {
  // RFC 4861 section 4.4: router, solicited, override.
  EXPECT_EQ(ndp(Solicitation{}.packet()),
            advertisement("fe80::1", "fe80::2", "020000000002 020000000001", 0xe0000000));
}

// The client of a published port, say: RFC 4861 section 7.2.8, neither a router nor overriding.
TEST_F(Neighbours, TheGatewayStandsForLinkLocalStationsOfOtherLinks) {
  Solicitation solicitation{.target = "fe80::9"};
  solicitation.fields.destination = "ff02::1:ff00:9";
  EXPECT_EQ(ndp(solicitation.packet()),
            advertisement("fe80::9", "fe80::2", "020000000002 020000000001", 0x40000000));
}

TEST_F(Neighbours, AProbeForAnAddressOfOursIsAnsweredToEverybody) {
  Solicitation probe{.options = {}};
  probe.fields.source = "::";
  // RFC 4861 section 7.2.4: not solicited, to all nodes; RFC 2464 section 7 gives the MAC address.
  EXPECT_EQ(ndp(probe.packet()),
            advertisement("fe80::1", "ff02::1", "333300000001 020000000001", 0xa0000000));
}

TEST_F(Neighbours, AUnicastSolicitationAndOneWithoutOptionsAreAnswered) {
  Solicitation reachable;
  reachable.fields.destination = "fe80::1";
  EXPECT_TRUE(ndp(reachable.packet())) << "RFC 4861 section 7.3.3";
  reachable.options = {};
  EXPECT_TRUE(ndp(reachable.packet()));
  Solicitation global{.target = "2001:db8::1"};
  EXPECT_TRUE(ndp(global.packet()));
  Solicitation nonce{.options = hex("0101 020000000002 0e01 112233445566")};
  EXPECT_TRUE(ndp(nonce.packet())) << "RFC 4861 section 4.6: unknown options are passed over";
}

TEST_F(Neighbours, WhatNeighbourDiscoveryIsSilentAbout) {
  const auto with = [](auto change) {
    Solicitation solicitation;
    change(solicitation);
    return solicitation.packet();
  };
  using S = Solicitation;
  struct Row {
    const char* name;
    Octets packet;
  };
  const Row rows[] = {
      {"RFC 4861 7.1.1: hop limit 254", with([](S& s) { s.fields.hop_limit = 254; })},
      {"RFC 4861 7.1.1: code 1", with([](S& s) { s.code = 1; })},
      {"RFC 4861 4.6: option of length 0", with([](S& s) { s.options = Octets(8); })},
      {"option past the end", with([](S& s) { s.options = hex("0102 020000000002"); })},
      {"half an option", with([](S& s) { s.options = hex("01"); })},
      {"source address option of length 2",
       with([](S& s) { s.options = hex("0102 020000000002") + Octets(8); })},
      {"somebody else's address", with([](S& s) { s.target = "2001:db8::9"; })},
      {"the guest's own address", with([](S& s) { s.target = "fe80::2"; })},
      {"RFC 4862 5.4: a probe for somebody else's link-local address", with([](S& s) {
         s.fields.source = "::";
         s.fields.destination = "ff02::1:ff00:9";
         s.target = "fe80::9";
         s.options = {};
       })},
      {"a multicast target", with([](S& s) { s.target = "ff02::1"; })},
      {"RFC 4862 5.4: a probe for the guest's own address", with([](S& s) {
         s.fields.source = "::";
         s.fields.destination = "ff02::1:ff00:2";
         s.target = "fe80::2";
         s.options = {};
       })},
      {"RFC 4861 7.1.1: a probe with a source address option",
       with([](S& s) { s.fields.source = "::"; })},
      {"RFC 4861 7.1.1: a probe to a unicast address", with([](S& s) {
         s.fields.source = "::";
         s.fields.destination = "fe80::1";
         s.options = {};
       })},
      {"another station's MAC", with([](S& s) { s.options = hex("0101 020000000009"); })},
      {"a source that says it is us", with([](S& s) { s.fields.source = "2001:db8::1"; })},
      {"router solicitation", with([](S& s) { s.type = 133; })},
      {"router advertisement", with([](S& s) { s.type = 134; })},
      {"neighbour advertisement", with([](S& s) { s.type = 136; })},
      {"redirect", with([](S& s) { s.type = 137; })},
  };
  for (const Row& row : rows) EXPECT_FALSE(ndp(row.packet)) << row.name;
}

TEST_F(Neighbours, ASolicitationWithAWrongChecksumIsIgnored) {
  Octets packet = Solicitation{}.packet();
  packet[42] ^= 1;
  EXPECT_FALSE(ndp(packet));
}

TEST_F(Neighbours, ASolicitationBehindAFragmentHeaderIsIgnored) {
  Octets packet = Solicitation{}.packet();
  const Octets message(packet.begin() + 40, packet.end());
  const V6 fields{
      .source = "fe80::2", .destination = "ff02::1:ff00:1", .next_header = 44, .hop_limit = 255};
  EXPECT_FALSE(ndp(ipv6(fields, hex("3a 00 0000 00000007") + message))) << "RFC 6980, atomic";
}

TEST_F(Neighbours, ASolicitationOfEveryLengthIsReadToItsEndAndNoFurther) {
  const Solicitation whole;
  const Octets body = Octets(20) + hex("0101 020000000002 0e01 112233445566");
  for (std::size_t size = 0; size <= body.size(); ++size) {
    Octets part(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(size));
    Octets message = hex("87 00 0000") + part;
    if (message.size() >= 24) {
      std::ranges::copy(ip("fe80::1").octets(), message.begin() + 8);
    }
    message = testing::with_checksum(whole.fields, 58, 2, message);
    const bool is_whole = message.size() == 24 || message.size() == 32 || message.size() == 40;
    EXPECT_EQ(ndp(ipv6(whole.fields, message)).has_value(), is_whole) << message.size();
  }
}

TEST_F(Neighbours, AnAdvertisementThatDoesNotFitIsNotWritten) {
  const Octets packet = Solicitation{}.packet();
  const Parsed<IpPacket> parsed = parse_ipv6(packet);
  for (std::size_t size = 0; size < 86; ++size) {
    Octets out(size);
    const Parsed<std::size_t> written = answer_ndp(link_, *parsed, out);
    ASSERT_FALSE(written) << size;
    EXPECT_EQ(written.error(), Drop::kTooBig) << size;
  }
}

TEST_F(Neighbours, LinkScopedTypesAreNeverFlows) {
  for (unsigned type = 0; type < 256; ++type) {
    const Octets bytes = ipv6({.next_header = 58}, icmp6({}, type, 0, 0));
    const bool is_expected = (type >= 130 && type <= 137) || (type >= 141 && type <= 143) ||
                             type == 148 || type == 149 || (type >= 151 && type <= 153);
    EXPECT_EQ(is_ndp(parse_ipv6(bytes).value()), is_expected) << type;
  }
}

TEST_F(Neighbours, LaterFragmentsOtherProtocolsAndEmptyPacketsAreNoNdp) {
  const Octets bytes = Solicitation{}.packet();
  IpPacket packet = parse_ipv6(bytes).value();
  ASSERT_TRUE(is_ndp(packet));
  packet.fragment = Fragment{.offset = 8};
  EXPECT_FALSE(is_ndp(packet));
  packet.fragment = Fragment{.offset = 0, .has_more = true};
  EXPECT_TRUE(is_ndp(packet));
  packet.payload = {};
  EXPECT_FALSE(is_ndp(packet));
  EXPECT_FALSE(is_ndp(parse_ipv4(testing::ipv4({.protocol = 58}, Octets(24, 135))).value()));
}

}  // namespace
}  // namespace cordon
