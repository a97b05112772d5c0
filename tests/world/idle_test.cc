// Long stretches of virtual time: clocks that wrap, timers that are due all at once, nothing that
// wakes up for no reason.
#include <gtest/gtest.h>

#include "tests/world/dns.h"
#include "tests/world/world.h"

namespace cordon::world {
namespace {

class LongIdle : public testing::TestWithParam<std::chrono::seconds> {};

TEST_P(LongIdle, LeavesAWorldThatWorks) {
  World world({.published_tcp = {80}});
  world.guest_connects("198.51.100.17:80");
  world.guest_sends(Udp().to("198.51.100.17:4000"));
  world.guest_sends(Ping().to("198.51.100.17"));
  world.guest_sends(Udp().to("198.51.100.9:53").payload(dns_query(1, "example.org")));
  world.guest_sends_frame(Udp(std::string(3000, 'x')).to("198.51.100.17:9").fragments(1480, 1)[0]);
  world.client_connects("198.51.100.200:5000");
  world.advance(GetParam());
  EXPECT_EQ(world.flow_sockets(), 0U);
  EXPECT_EQ(world.translator.next_deadline(), kNever) << "an idle translator sleeps";
  world.tap.frames.clear();

  world.guest_connects("198.51.100.17:80", 40001);
  world.arrives(world.host_socket().handle, 1000);
  EXPECT_EQ(world.guest_socket().written, 1000U);
  world.guest_sends(Udp("x").to("198.51.100.17:4000"));
  world.datagram_arrives(world.udp_socket().handle, "198.51.100.17:4000", "y");
  EXPECT_EQ(world.expect_udp().text(), "y");
  // The buckets of the rate limits are full again, and no fuller.
  world.tap.frames.clear();
  for (int i = 0; i < 100; ++i) {
    world.guest_sends(Udp().to(Endpoint{.address = gateway_address(Family::kIpv4), .port = 9}));
  }
  EXPECT_EQ(world.tap.frames.size(), 50U);
}

INSTANTIATE_TEST_SUITE_P(Durations, LongIdle,
                         testing::Values(24h + 3s, 4294968s,  // 49.7 days: 32 bits of milliseconds
                                         720h, 10 * 8760h));

TEST(LongIdleStream, AliveByAnOctetAnHourForFiftyDays) {
  World world;
  world.guest_connects("198.51.100.17:80");
  for (int hour = 0; hour < 50 * 24; ++hour) {
    world.advance(1h);
    world.arrives(world.host_socket().handle, 1);
  }
  EXPECT_EQ(world.guest_socket().written, 1200U);
  EXPECT_EQ(world.flow_sockets(), 2U);
}

TEST(AfterASuspend, EverythingIsDueAtOnceAndTakenInPieces) {
  World world({.reports_flows = false, .max_tcp_flows = 4096});
  for (std::uint16_t i = 0; i < 3000; ++i) {
    world.guest_sends(Udp().from_port(1000 + i).to("198.51.100.17:4000"));
  }
  for (std::uint16_t i = 0; i < 200; ++i) {
    world.guest_sends(Syn().from_port(1000 + i).to("198.51.100.18:80"));
  }
  world.now += 8h;  // one leap, not a walk
  const std::size_t before = world.translator.flows();
  world.translator.on_deadline(world.now);
  EXPECT_LE(before - world.translator.flows(), 2 * 256U);
  world.advance(0s);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(AClockThatStandsStill, DelaysNothingThatNeedsNoTime) {
  World world;
  for (std::uint16_t i = 0; i < 100; ++i) {
    world.guest_connects("198.51.100.17:80", 1000 + i);
    world.arrives(world.host_socket().handle, 100);
    EXPECT_EQ(world.guest_socket().written, 100U);
  }
}

}  // namespace
}  // namespace cordon::world
