// Flows that wait until their process has been looked up, as while a run is learned from: nothing
// leaves before it, and nothing is lost or waits for long.
#include <gtest/gtest.h>

#include "tests/world/naming.h"

namespace cordon::world {
namespace {

constexpr const char* kServer = "198.51.100.17:80";
const WorldOptions kLearning{.introduces = Introduces::kAll};

TEST(Introduction, ASynWaitsUntilItsProcessIsKnown) {
  World world(kLearning);
  world.guest_sends(Syn().to(kServer).seq(7).mss(1400));
  EXPECT_TRUE(world.host.dialled.empty());
  ASSERT_EQ(world.events.introductions.size(), 1U);
  EXPECT_EQ(world.events.introductions[0].second.dialled, endpoint(kServer));
  world.supervisor_knows(world.events.introductions[0].first);
  EXPECT_EQ(world.host.dialled, std::vector{endpoint(kServer)});
  world.dial_succeeds();
  EXPECT_EQ(world.expect_syn_ack().ack, 8U);
  ASSERT_EQ(world.events.flows.size(), 1U);
  // Nor is it introduced again.
  world.guest_sends(Syn().to(kServer).seq(7).mss(1400));
  EXPECT_EQ(world.events.introductions.size(), 1U);
}

TEST(Introduction, WaitsForItsTimeAtTheLongest) {
  World world(kLearning);
  world.guest_sends(Syn().to(kServer));
  world.advance(kIntroduction - 1ms);
  EXPECT_TRUE(world.host.dialled.empty());
  world.advance(1ms);
  EXPECT_EQ(world.host.dialled.size(), 1U);
  world.supervisor_knows(world.events.introductions[0].first);  // Too late, and no harm.
  EXPECT_EQ(world.host.dialled.size(), 1U);
}

TEST(Introduction, IsNotMadeWhereNobodyLearns) {
  World world;
  world.guest_sends(Syn().to(kServer));
  EXPECT_EQ(world.host.dialled.size(), 1U);
  EXPECT_TRUE(world.events.introductions.empty());
}

TEST(Introduction, ForALogIsMadeOfFiftyFlowsASecond) {
  World world({.introduces = Introduces::kSome});
  std::uint16_t port = 30000;
  const auto opens = [&](int count) {
    for (int i = 0; i < count; ++i) world.guest_sends(Syn().to(kServer).from_port(port++));
  };
  opens(60);
  EXPECT_EQ(world.events.introductions.size(), kIntroductionsPerSecond);
  EXPECT_EQ(world.host.dialled.size(), 60 - kIntroductionsPerSecond) << "the others do not wait";
  const auto all = world.events.introductions;
  for (const auto& [id, request] : all) world.supervisor_knows(id);
  EXPECT_EQ(world.host.dialled.size(), 60U);
  world.advance(100ms);
  opens(10);
  EXPECT_EQ(world.events.introductions.size(), kIntroductionsPerSecond + 5);
}

TEST(Introduction, ForALogIsMadeWhileSomebodyReads) {
  World world({.reports_flows = false, .introduces = Introduces::kSome});
  world.guest_sends(Syn().to(kServer).from_port(1));
  EXPECT_EQ(world.host.dialled.size(), 1U);
  world.translator.set_reports_flows(true);
  world.guest_sends(Syn().to(kServer).from_port(2));
  EXPECT_EQ(world.host.dialled.size(), 1U);
  ASSERT_EQ(world.events.introductions.size(), 1U);
  // Who has gone meanwhile leaves nobody waiting.
  world.translator.set_reports_flows(false);
  world.guest_sends(Syn().to(kServer).from_port(3));
  EXPECT_EQ(world.host.dialled.size(), 2U);
  world.advance(kIntroduction);
  EXPECT_EQ(world.host.dialled.size(), 3U);
}

TEST(Introduction, IsNotWaitedForWhereItCannotBeTold) {
  World world(kLearning);
  world.events.hears_introductions = false;
  world.guest_sends(Syn().to(kServer));
  EXPECT_EQ(world.host.dialled.size(), 1U);
}

TEST(Introduction, IsNotMadeForWhatIsDenied) {
  World world({.deny = {"198.51.100.17"}, .introduces = Introduces::kAll});
  world.guest_sends(Syn().to(kServer));
  world.expect_reset();
  EXPECT_TRUE(world.events.introductions.empty());
  EXPECT_EQ(world.events.denials.size(), 1U);
}

TEST(Introduction, DatagramsOfOneFlowWaitTogetherAndKeepTheirOrder) {
  World world(kLearning);
  for (const char* const text : {"one", "two", "three"}) {
    world.guest_sends(Udp(text).to("198.51.100.17:9"));
  }
  world.guest_sends(Udp("other").to("198.51.100.18:9"));
  ASSERT_EQ(world.events.introductions.size(), 2U);
  EXPECT_EQ(world.sockets.open_count(), 0U);
  world.supervisor_knows(world.events.introductions[0].first);
  ASSERT_EQ(world.udp_socket().sent.size(), 3U);
  EXPECT_EQ(world.udp_socket().sent[0].payload, octets("one"));
  EXPECT_EQ(world.udp_socket().sent[2].payload, octets("three"));
  world.advance(kIntroduction);
  EXPECT_EQ(world.udp_socket().sent.size(), 4U);
}

TEST(Introduction, WhatHasNoRoomPassesAtOnce) {
  World world(kLearning);
  for (std::size_t i = 0; i <= kMaxIntroductions; ++i) {
    world.guest_sends(Syn().to(kServer).from_port(static_cast<std::uint16_t>(40000 + i)));
  }
  EXPECT_EQ(world.events.introductions.size(), kMaxIntroductions);
  EXPECT_EQ(world.host.dialled.size(), 1U);
  world.advance(kIntroduction);
  EXPECT_EQ(world.host.dialled.size(), kMaxIntroductions + 1);
}

TEST(Introduction, AFlowByNameIsIntroducedBeforeItsNameIsLookedUp) {
  WorldOptions options{.allow = {"ok.example"}, .introduces = Introduces::kAll};
  Naming world(options);
  world.zone["ok.example"] = {"198.51.100.17"};
  const auto address = world.looks_up("ok.example", 443);
  const std::size_t asked = world.sockets.open_count();
  world.guest_sends(Syn().to(address));
  ASSERT_EQ(world.events.introductions.size(), 1U);
  EXPECT_EQ(world.events.introductions[0].second.dialled.port, 443);
  EXPECT_EQ(world.sockets.open_count(), asked);
  world.supervisor_knows(world.events.introductions[0].first);
  EXPECT_GT(world.sockets.open_count(), asked);
}

TEST(Introduction, AFlowThatAPersonHasAllowedIsIntroducedThen) {
  World world({.default_action = DefaultAction::kDeny,
               .mode = PolicyMode::kAsk,
               .introduces = Introduces::kAll});
  world.guest_sends(Syn().to(kServer));
  EXPECT_TRUE(world.events.introductions.empty());
  ASSERT_EQ(world.events.questions.size(), 1U);
  world.translator.on_answer(world.now, world.events.questions[0].id, true);
  world.run_due();
  ASSERT_EQ(world.events.introductions.size(), 1U);
  EXPECT_TRUE(world.host.dialled.empty());
  world.supervisor_knows(world.events.introductions[0].first);
  EXPECT_EQ(world.host.dialled.size(), 1U);
  EXPECT_EQ(world.events.questions.size(), 1U);
}

}  // namespace
}  // namespace cordon::world
