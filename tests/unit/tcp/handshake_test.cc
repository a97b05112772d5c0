#include "netstack/tcp/handshake.h"

#include <set>

#include <gtest/gtest.h>

namespace cordon {
namespace {

using namespace std::chrono_literals;

FlowKey flow(Family family, std::uint16_t port = 40000) {
  const bool is_v4 = family == Family::kIpv4;
  return FlowKey{
      .guest = {.address = *IpAddress::parse(is_v4 ? "10.0.2.100" : "fd00::100"), .port = port},
      .remote = {.address = *IpAddress::parse(is_v4 ? "198.51.100.17" : "2001:db8::17"),
                 .port = 80}};
}

constexpr SipKey kKey{.k0 = 1, .k1 = 2};

TEST(InitialSequence, AdvancesByOneEachFourMicroseconds) {  // RFC 6528 section 3
  const Instant now = Instant{} + 1h;
  const Seq first = initial_sequence(kKey, flow(Family::kIpv4), now);
  EXPECT_EQ(initial_sequence(kKey, flow(Family::kIpv4), now + 4us), first.plus(1));
  EXPECT_EQ(initial_sequence(kKey, flow(Family::kIpv4), now + 3us), first);
  // The clock wraps after 4.77 hours; the sum goes on.
  EXPECT_EQ(initial_sequence(kKey, flow(Family::kIpv4), now + 4294967296 * 4us), first);
}

TEST(InitialSequence, OfNeighbouringTuplesHasNothingInCommon) {
  std::set<std::uint32_t> seen;
  for (std::uint16_t port = 1; port <= 1000; ++port) {
    seen.insert(initial_sequence(kKey, flow(Family::kIpv6, port), Instant{}).get() >> 8);
  }
  EXPECT_GT(seen.size(), 995U);
}

TEST(SynAck, SaysWhatTheAdoptionSays) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const SynRecord syn{.irs = Seq(0xffffffff),
                        .iss = Seq(77),
                        .window = 1000,
                        .options = {.mss = 1400, .window_scale = 7}};
    std::array<std::uint8_t, 128> out{};
    const std::size_t size = write_syn_ack(out, flow(family), syn, 1500, 0);
    const auto packet = family == Family::kIpv4 ? parse_ipv4(Bytes(out).first(size))
                                                : parse_ipv6(Bytes(out).first(size));
    ASSERT_TRUE(packet);
    const auto segment = parse_tcp(*packet, false);
    ASSERT_TRUE(segment);
    const Adoption adoption = adoption_of(flow(family), syn);
    EXPECT_EQ(segment->seq, adoption.iss);
    EXPECT_EQ(segment->ack, adoption.irs.plus(1));
    EXPECT_EQ(segment->window, adoption.receive_window);
    EXPECT_EQ(parse_syn_options(segment->options).window_scale, adoption.our_window_scale);
    EXPECT_EQ(adoption.mss, 1400);
  }
}

TEST(HandshakePackets, AreNotWrittenWhereThereIsNoRoom) {
  const SynRecord syn{.options = {.mss = 1400, .window_scale = 7}};
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    std::array<std::uint8_t, 128> whole{};
    const std::size_t size = write_syn_ack(whole, flow(family), syn, 1500, 0);
    for (std::size_t room = 0; room < size; ++room) {
      std::vector<std::uint8_t> out(room);
      EXPECT_EQ(write_syn_ack(out, flow(family), syn, 1500, 0), 0U);
    }
    const std::size_t header = ip_header_size(family) + kTcpHeaderSize;
    for (std::size_t room = 0; room < header; ++room) {
      std::vector<std::uint8_t> out(room);
      EXPECT_EQ(write_refusal(out, flow(family), Seq(1)), 0U);
      EXPECT_EQ(write_quoted_syn(out, flow(family), Seq(1)), 0U);
    }
  }
}

TEST(Refusal, AcknowledgesTheSynFromSequenceZero) {  // RFC 9293 section 3.5.2
  std::array<std::uint8_t, 128> out{};
  const std::size_t size = write_refusal(out, flow(Family::kIpv4), Seq(0xffffffff));
  const auto packet = parse_ipv4(Bytes(out).first(size));
  ASSERT_TRUE(packet);
  const auto segment = parse_tcp(*packet, false);
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->seq, Seq(0));
  EXPECT_EQ(segment->ack, Seq(0));
  EXPECT_TRUE(segment->flags.rst && segment->flags.ack);
  EXPECT_EQ(packet->source, flow(Family::kIpv4).remote.address);
}

}  // namespace
}  // namespace cordon
