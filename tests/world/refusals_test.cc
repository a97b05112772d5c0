// A refusal waits for the supervisor's look at the process, for 25 ms at the longest, and few wait.
#include <gtest/gtest.h>

#include "tests/world/dns.h"
#include "tests/world/world.h"

namespace cordon::world {
namespace {

const WorldOptions kHolding{.deny = {"198.51.100.66", "2001:db8::66"}, .holds_refusals = true};

TEST(Refusal, WaitsUntilTheSupervisorHasTold) {
  World world(kHolding);
  world.guest_sends(Syn().to("198.51.100.66:80").seq(5));
  world.expect_nothing();
  ASSERT_EQ(world.events.denials.size(), 1U);
  world.advance(3ms);
  world.supervisor_tells(world.events.denials[0].id);
  EXPECT_EQ(world.expect_reset().ack, 6U);
  world.advance(1s);
  world.expect_nothing();  // once
}

TEST(Refusal, OfADnsQuestionWaitsToo) {
  World world({.deny = {"evil.example"}, .holds_refusals = true});
  for (const char* server : {"10.0.2.3:53", "[2001:db8::53]:53"}) {
    world.guest_sends(Udp().to(server).payload(dns_query(7, "evil.example")));
    world.expect_nothing();
    ASSERT_FALSE(world.events.denials.empty());
    world.supervisor_tells(world.events.denials.back().id);
    const Seen reply = world.expect_udp();
    EXPECT_EQ(reply.source, endpoint(server).address);
    EXPECT_EQ(read_dns(reply.payload).rcode, 3);
    // What is asked again at once is not told again, and does not wait.
    world.guest_sends(Udp().to(server).payload(dns_query(8, "evil.example")));
    EXPECT_EQ(read_dns(world.expect_udp().payload).rcode, 3);
    world.advance(1h);
  }
  EXPECT_EQ(world.events.denials.size(), 2U);
}

TEST(Refusal, GoesOutAfter25MillisecondsByItself) {
  World world(kHolding);
  world.guest_sends(Udp().to("[2001:db8::66]:80"));
  world.advance(25ms - 1us);
  world.expect_nothing();
  world.advance(1us);
  (void)world.expect_icmp(1, 1);
  world.supervisor_tells(1);  // too late
  world.expect_nothing();
}

TEST(Refusal, OfAnotherDenialIsNotReleased) {
  World world(kHolding);
  world.guest_sends(Syn().to("198.51.100.66:80").from_port(1));
  world.guest_sends(Syn().to("198.51.100.66:80").from_port(2));
  world.supervisor_tells(0);
  world.supervisor_tells(77);
  world.expect_nothing();
  world.supervisor_tells(2);
  EXPECT_EQ(world.expect_reset().destination_port, 2);
  world.expect_nothing();
}

TEST(Refusal, OnlySixteenWaitAtOnce) {
  World world(kHolding);
  for (std::uint16_t i = 0; i < 20; ++i) {
    world.guest_sends(Syn().to("198.51.100.66:80").from_port(100 + i));
  }
  // The last four are refused on the spot.
  for (std::uint16_t i = 16; i < 20; ++i) {
    EXPECT_EQ(world.expect_reset().destination_port, 100 + i);
  }
  world.expect_nothing();
  EXPECT_EQ(world.events.denials.size(), 20U);
  world.advance(25ms);
  EXPECT_EQ(world.tap.frames.size(), 16U);
}

TEST(Refusal, SlotsAreUsedAgain) {
  World world(kHolding);
  for (std::uint16_t round = 0; round < 100; ++round) {
    world.guest_sends(Syn().to("198.51.100.66:80").from_port(1000 + round));
    world.expect_nothing();
    world.supervisor_tells(round + 1U);
    (void)world.expect_reset();
  }
}

TEST(Refusal, IsSentAtOnceWhereNobodyCallsBack) {
  World world({.deny = {"198.51.100.66"}});
  world.guest_sends(Syn().to("198.51.100.66:80"));
  (void)world.expect_reset();
}

TEST(Refusal, IdsCountFromOneAcrossProtocols) {
  World world(kHolding);
  world.guest_sends(Syn().to("198.51.100.66:80"));
  world.guest_sends(Udp().to("198.51.100.66:80"));
  world.guest_sends(Ping().to("198.51.100.66"));
  ASSERT_EQ(world.events.denials.size(), 3U);
  for (std::uint32_t i = 0; i < 3; ++i) EXPECT_EQ(world.events.denials[i].id, i + 1);
}

}  // namespace
}  // namespace cordon::world
