#include "launcher/audit/outbound_watch.h"

#include <array>
#include <linux/if_ether.h>

#include <gtest/gtest.h>

#include "netstack/wire/ip.h"

namespace cordon::audit {
namespace {

IpAddress address(const char* text) { return *IpAddress::parse(text); }

std::vector<std::uint8_t> packet(const char* to, IpProtocol protocol,
                                 std::vector<std::uint8_t> payload) {
  const IpAddress destination = address(to);
  const IpHeaderFields fields{
      .source = address(destination.is_v4() ? "198.51.100.2" : "2001:db8::2"),
      .destination = destination,
      .protocol = protocol};
  std::vector<std::uint8_t> bytes(ip_header_size(destination.family()));
  EXPECT_TRUE(write_ip_header(bytes, fields, payload.size()));
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

TEST(OutboundWatch, SeesWhereTcpAndUdpGo) {
  const auto udp =
      look_at_packet(ETH_P_IP, packet("198.51.100.7", IpProtocol::kUdp, {0, 9, 0, 53, 0, 8, 0, 0}));
  ASSERT_TRUE(udp);
  EXPECT_EQ(udp->destination, address("198.51.100.7"));
  EXPECT_EQ(udp->transport, Transport::kUdp);
  EXPECT_EQ(udp->port, 53);
  EXPECT_FALSE(udp->asks_for_neighbour);
  const auto tcp = look_at_packet(ETH_P_IPV6, packet("2001:db8::7", IpProtocol::kTcp,
                                                     std::vector<std::uint8_t>{1, 2, 3, 4, 5}));
  ASSERT_TRUE(tcp);
  EXPECT_EQ(tcp->transport, Transport::kTcp);
  EXPECT_EQ(tcp->port, 0x0304);
}

TEST(OutboundWatch, SeesWhoIsLookedFor) {
  std::vector<std::uint8_t> arp{0,   1,  8,   0, 6, 4, 0, 1, 2, 2, 2,   2,  2,   2,
                                198, 51, 100, 2, 0, 0, 0, 0, 0, 0, 198, 51, 100, 9};
  const auto seen = look_at_packet(ETH_P_ARP, arp);
  ASSERT_TRUE(seen);
  EXPECT_TRUE(seen->asks_for_neighbour);
  EXPECT_EQ(seen->destination, address("198.51.100.9"));
  arp[7] = 2;  // a reply
  EXPECT_FALSE(look_at_packet(ETH_P_ARP, arp));

  std::vector<std::uint8_t> solicitation{135, 0, 0, 0, 0, 0, 0, 0};
  const IpAddress neighbour = address("2001:db8::9");
  const Bytes target = neighbour.octets();
  solicitation.insert(solicitation.end(), target.begin(), target.end());
  const auto asked =
      look_at_packet(ETH_P_IPV6, packet("ff02::1:ff00:9", IpProtocol::kIcmpv6, solicitation));
  ASSERT_TRUE(asked);
  EXPECT_TRUE(asked->asks_for_neighbour);
  EXPECT_EQ(asked->destination, neighbour);
}

TEST(OutboundWatch, PassesOverWhatItCannotRead) {
  EXPECT_FALSE(look_at_packet(ETH_P_IP, std::vector<std::uint8_t>{0x45, 0}));
  EXPECT_FALSE(look_at_packet(ETH_P_ARP, std::vector<std::uint8_t>{0, 1}));
  EXPECT_FALSE(look_at_packet(0x88cc, std::vector<std::uint8_t>(64)));
  const auto short_udp = look_at_packet(ETH_P_IP, packet("198.51.100.7", IpProtocol::kUdp, {0, 9}));
  ASSERT_TRUE(short_udp);
  EXPECT_EQ(short_udp->transport, std::nullopt);
}

TEST(SocketTable, TellsTheRemoteEnds) {
  const auto ends = parse_remote_ends(
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
      "   0: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n"
      "   1: 026433C6:9C40 FEA9FEA9:0050 02 00000000:00000000 00:00000000 00000000     0\n"
      "   2: B80D0120000000000000000002000000:9C40 "
      "B80D0120000000000000000053000000:0035 02 00000000:00000000\n"
      "   3: 0000000000000000FFFF0000026433C6:9C40 "
      "0000000000000000FFFF0000096433C6:0050 01 00000000:00000000\n"
      "nonsense\n   4: zz:1 zz:2\n");
  EXPECT_EQ(ends, (std::vector<Endpoint>{{address("169.254.169.254"), 80},
                                         {address("2001:db8::53"), 53},
                                         {address("198.51.100.9"), 80}}));
}

}  // namespace
}  // namespace cordon::audit
