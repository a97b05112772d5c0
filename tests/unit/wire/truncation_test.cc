// U-01: each parser, each golden frame, every length, in a buffer that ends where the octets end.
// Under AddressSanitizer a read past the end is an error; everywhere, what is too short must be
// refused or be a packet that says so itself.
#include <gtest/gtest.h>

#include "netstack/link/neighbours.h"
#include "netstack/wire/ethernet.h"
#include "netstack/wire/icmp.h"
#include "netstack/wire/tcp.h"
#include "netstack/wire/udp.h"
#include "tests/unit/wire/packets.h"

namespace cordon {
namespace {

using testing::counting;
using testing::ethernet;
using testing::hex;
using testing::icmp;
using testing::icmp6;
using testing::ipv4;
using testing::ipv6;
using testing::Octets;
using testing::operator+;
using testing::tcp;
using testing::text;
using testing::udp;
using testing::V4;
using testing::V6;
using testing::with_checksum;

struct Golden {
  const char* name;
  Octets frame;
};

Octets syn_options() { return hex("020405b4 0402080a 00000001 00000000 01030307"); }

std::vector<Golden> golden_frames() {
  const V6 solicitation{
      .source = "fe80::2", .destination = "ff02::1:ff00:1", .next_header = 58, .hop_limit = 255};
  const Octets target = hex("fe80000000000000 0000000000000001 0101 020000000002");
  return {
      {"ARP who-has 198.51.100.1 tell 198.51.100.2",
       ethernet(0x0806, hex("0001 0800 06 04 0001 020000000002 c6336402 000000000000 c6336401"))},
      {"IP 198.51.100.2.40000 > 198.51.100.20.80: Flags [S]",
       ethernet(0x0800, ipv4({.protocol = 6},
                             with_checksum(V4{}, 6, 16, tcp({.options = syn_options()}))))},
      {"IP 198.51.100.2.40000 > 198.51.100.20.53: UDP, length 5",
       ethernet(0x0800, ipv4({}, with_checksum(V4{}, 17, 6, udp(text("hello")))))},
      {"IP 198.51.100.2 > 198.51.100.20: ICMP echo request",
       ethernet(0x0800, ipv4({.protocol = 1}, icmp(8, 0, 0x10001, counting(24))))},
      {"IP (options (NOP,NOP,NOP,NOP)) 198.51.100.2 > 198.51.100.20: UDP",
       ethernet(0x0800, ipv4({.options = hex("01010101")}, udp(text("x"))))},
      {"IP 198.51.100.2 > 198.51.100.20: frag (offset 16, flags [+])",
       ethernet(0x0800, ipv4({.flags_and_offset = 0x2002}, counting(16)))},
      {"IP6 2001:db8::2.40000 > 2001:db8::20.80: Flags [S]",
       ethernet(0x86dd, ipv6({.next_header = 6},
                             with_checksum(V6{}, 6, 16, tcp({.options = syn_options()}))))},
      {"IP6 2001:db8::2.40000 > 2001:db8::20.53: UDP, length 5",
       ethernet(0x86dd, ipv6({}, with_checksum(V6{}, 17, 6, udp(text("hello")))))},
      {"IP6 2001:db8::2 > 2001:db8::20: ICMP6, echo request",
       ethernet(0x86dd, ipv6({.next_header = 58}, icmp6({}, 128, 0, 0x10001, counting(24))))},
      {"IP6 fe80::2 > ff02::1:ff00:1: ICMP6, neighbor solicitation, who has fe80::1",
       ethernet(0x86dd, ipv6(solicitation, icmp6(solicitation, 135, 0, 0, target)))},
      {"IP6 2001:db8::2 > 2001:db8::20: HBH DSTOPT RT frag (0|16)",
       ethernet(0x86dd,
                ipv6({.next_header = 0}, hex("3c 00 0104 00000000") + hex("2b 00 0104 00000000") +
                                             hex("2c 00 0400 00000000") +
                                             hex("11 00 0001 00000007") + counting(16)))},
      {"IP6 2001:db8::2 > 2001:db8::20: atomic fragment, UDP",
       ethernet(0x86dd,
                ipv6({.next_header = 44},
                     hex("11 00 0000 00000007") + with_checksum(V6{}, 17, 6, udp(text("hello")))))},
  };
}

/// Everything that a frame may meet. Returns how many parsers took it.
int parse_all(Bytes frame, bool is_checksum_trusted) {
  static const IpAddress kOurs[] = {testing::ip("198.51.100.1"), testing::ip("fe80::1")};
  const LinkAddresses link{
      .guest_mac = {2, 0, 0, 0, 0, 2}, .gateway_mac = {2, 0, 0, 0, 0, 1}, .ours = kOurs};
  Octets out(1500);
  const Parsed<EthernetFrame> ethernet_frame = parse_ethernet(frame);
  if (!ethernet_frame) return 0;
  int taken = 1;
  if (ethernet_frame->ether_type == EtherType::kArp) {
    return taken + (answer_arp(link, ethernet_frame->payload, out) ? 1 : 0);
  }
  const bool is_v4 = ethernet_frame->ether_type == EtherType::kIpv4;
  const Bytes bytes = ethernet_frame->payload;
  // An error about a packet that was cut short is written from what is there.
  (void)write_icmp_error(out,
                         {.source = testing::ip(is_v4 ? "198.51.100.1" : "2001:db8::1"),
                          .destination = testing::ip(is_v4 ? "198.51.100.2" : "2001:db8::2")},
                         bytes);
  const Parsed<IpPacket> packet = is_v4 ? parse_ipv4(bytes) : parse_ipv6(bytes);
  if (!packet) return taken;
  ++taken;
  taken += is_ndp(*packet) ? 1 : 0;
  taken += answer_ndp(link, *packet, out) ? 1 : 0;
  taken += parse_udp(*packet, is_checksum_trusted) ? 1 : 0;
  taken += parse_echo(*packet, is_checksum_trusted) ? 1 : 0;
  if (const auto segment = parse_tcp(*packet, is_checksum_trusted)) {
    ++taken;
    (void)parse_syn_options(segment->options);
  }
  return taken;
}

TEST(Truncation, AFrameThatWasCutIsTakenByNoParserBehindEthernet) {
  for (const Golden& golden : golden_frames()) {
    EXPECT_GE(parse_all(golden.frame, false), 2) << golden.name << ": whole";
    for (std::size_t size = 0; size < golden.frame.size(); ++size) {
      Octets cut(golden.frame.begin(), golden.frame.begin() + static_cast<std::ptrdiff_t>(size));
      cut.shrink_to_fit();
      ASSERT_LE(parse_all(cut, false), 1) << golden.name << ": " << size;
    }
  }
}

// The lengths in the IP header are made to fit what is left, so that the cut reaches the parsers
// behind.
TEST(Truncation, AFrameThatWasCutAndSaysSoIsReadToItsEndAndNoFurther) {
  for (const Golden& golden : golden_frames()) {
    for (std::size_t size = 14; size < golden.frame.size(); ++size) {
      Octets cut(golden.frame.begin(), golden.frame.begin() + static_cast<std::ptrdiff_t>(size));
      const bool is_v4 = cut[12] == 0x08 && cut[13] == 0x00;
      const bool is_v6 = cut[12] == 0x86;
      const std::size_t header = is_v4 ? std::size_t{golden.frame[14] & 0x0fU} * 4 : 40;
      if ((!is_v4 && !is_v6) || size < 14 + header) continue;
      if (is_v4) {
        testing::put16(cut, 16, size - 14);
        testing::put16(cut, 24, 0);
        const Bytes ip_header = Bytes(cut).subspan(14, header);
        testing::put16(cut, 24, static_cast<std::uint16_t>(~testing::plain_sum(ip_header)));
      } else {
        testing::put16(cut, 18, size - 54);
      }
      cut.shrink_to_fit();
      (void)parse_all(cut, true);
      ASSERT_LE(parse_all(cut, false), 3) << golden.name << ": " << size;
    }
  }
}

TEST(Truncation, EveryGoldenFrameIsTakenToItsEnd) {
  // Ethernet and ARP; Ethernet, IP and a transport; Ethernet, IP, is_ndp and the answer; a fragment
  // ends with IP.
  const int expected[] = {2, 3, 3, 3, 3, 2, 3, 3, 3, 4, 2, 3};
  const std::vector<Golden> frames = golden_frames();
  ASSERT_EQ(frames.size(), std::size(expected));
  for (std::size_t i = 0; i < frames.size(); ++i) {
    EXPECT_EQ(parse_all(frames[i].frame, false), expected[i]) << frames[i].name;
  }
}

}  // namespace
}  // namespace cordon
