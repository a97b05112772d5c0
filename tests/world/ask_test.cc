// Flows that wait for a person's answer: nothing leaves before it, the first packet goes on when it
// is yes, and the refusal goes out when it is no or does not come.
#include <gtest/gtest.h>

#include "tests/world/naming.h"

namespace cordon::world {
namespace {

constexpr const char* kServer = "198.51.100.17:80";
const WorldOptions kAsking{.default_action = DefaultAction::kDeny, .mode = PolicyMode::kAsk};

void answer(World& world, bool is_yes, std::size_t question = 0) {
  ASSERT_LT(question, world.events.questions.size());
  world.translator.on_answer(world.now, world.events.questions[question].id, is_yes);
  world.run_due();
}

TEST(Ask, ASynWaitsAndGoesOnWhenTheAnswerIsYes) {
  World world(kAsking);
  world.guest_sends(Syn().to(kServer).seq(7).mss(1400));
  world.expect_nothing();
  EXPECT_TRUE(world.host.dialled.empty());
  ASSERT_EQ(world.events.questions.size(), 1U);
  EXPECT_EQ(world.events.questions[0].request.dialled, endpoint(kServer));
  EXPECT_EQ(world.events.questions[0].verdict.action, Action::kAsk);
  world.advance(20s);
  answer(world, true);
  EXPECT_EQ(world.host.dialled, std::vector{endpoint(kServer)});
  world.dial_succeeds();
  EXPECT_EQ(world.expect_syn_ack().ack, 8U);
  EXPECT_TRUE(world.events.denials.empty());
}

TEST(Ask, ASynIsRefusedWhenTheAnswerIsNo) {
  World world(kAsking);
  world.guest_sends(Syn().to(kServer).seq(7));
  answer(world, false);
  EXPECT_EQ(world.expect_reset().ack, 8U);
  EXPECT_TRUE(world.host.dialled.empty());
  ASSERT_EQ(world.events.denials.size(), 1U);
  EXPECT_EQ(world.events.denials[0].verdict.action, Action::kDeny);
  EXPECT_EQ(world.events.denials[0].verdict.reason, Reason::kDefault);
}

TEST(Ask, NoAnswerWithinThirtySecondsIsANo) {
  World world(kAsking);
  world.guest_sends(Syn().to(kServer));
  world.advance(kAskPatience - 1ms);
  world.expect_nothing();
  world.advance(1ms);
  world.expect_reset();
  EXPECT_EQ(world.events.denials.size(), 1U);
  answer(world, true);  // Too late.
  EXPECT_TRUE(world.host.dialled.empty());
}

TEST(Ask, NobodyToAskIsANoAtOnce) {
  World world(kAsking);
  world.events.can_ask = false;
  world.guest_sends(Syn().to(kServer));
  world.expect_reset();
  EXPECT_EQ(world.events.denials.size(), 1U);
}

TEST(Ask, AGuestThatRepeatsItselfIsNotAskedAboutAgain) {
  World world(kAsking);
  for (int i = 0; i < 4; ++i) {
    world.guest_sends(Syn().to(kServer).seq(7));
    world.advance(1s);
  }
  EXPECT_EQ(world.events.questions.size(), 1U);
  world.expect_nothing();
  answer(world, true);
  EXPECT_EQ(world.host.dialled.size(), 1U);
  world.dial_succeeds();
  world.expect_syn_ack();
  // Nor while it is dialled or lives.
  world.guest_sends(Syn().to(kServer).seq(7));
  EXPECT_EQ(world.events.questions.size(), 1U);
}

TEST(Ask, ManyQuestionsAreAScanAndDenied) {
  World world(kAsking);
  for (std::uint16_t port = 1; port <= 500; ++port) {
    world.guest_sends(Syn().from_port(port).to(kServer));
  }
  EXPECT_EQ(world.events.questions.size(), kMaxAsked);
  EXPECT_EQ(world.events.denials.size(), 500 - kMaxAsked);
}

TEST(Ask, ADatagramWaitsAndGoesOn) {
  World world(kAsking);
  world.guest_sends(Udp("question").to("198.51.100.17:123"));
  EXPECT_EQ(world.sockets.opened(OwnerKind::kUdp), 0U);
  world.expect_nothing();
  answer(world, true);
  ASSERT_EQ(world.udp_socket().sent.size(), 1U);
  EXPECT_EQ(world.udp_socket().sent[0].payload.size(), 8U);
  world.guest_sends(Udp("more").to("198.51.100.17:123"));
  EXPECT_EQ(world.udp_socket().sent.size(), 2U);
  EXPECT_EQ(world.events.questions.size(), 1U);
}

TEST(Ask, AnAskRuleAsksWhereTheDefaultAllows) {
  World world({.ask = {"198.51.100.17"}});
  world.guest_sends(Syn().to("198.51.100.18:80"));
  EXPECT_TRUE(world.events.questions.empty());
  world.guest_sends(Syn().to(kServer));
  ASSERT_EQ(world.events.questions.size(), 1U);
  EXPECT_EQ(world.events.questions[0].verdict.rule, 0U);
}

TEST(Ask, AFloorClassIsNeverAsked) {
  World world(kAsking);
  world.guest_sends(Syn().to("10.1.2.3:80"));
  world.expect_reset();
  EXPECT_TRUE(world.events.questions.empty());
}

TEST(Ask, AFlowThatWasAnsweredLivesOnWhenTheHostChanges) {
  World world(kAsking);
  world.guest_sends(Syn().to(kServer));
  answer(world, true);
  world.dial_succeeds();
  world.expect_syn_ack();
  world.host_changes();
  EXPECT_EQ(world.flow_sockets(), 2U);
  EXPECT_TRUE(world.events.denials.empty());
}

TEST(Ask, ANameIsAskedAboutBeforeAnybodyIsAskedForItsAddress) {
  Naming world(kAsking);
  world.zone["api.example"] = {"198.51.100.17"};
  const Endpoint remote = world.looks_up("api.example", 443);
  EXPECT_EQ(world.host_contacts(), 0U);
  world.guest_sends(Syn().to(remote));
  EXPECT_EQ(world.host_contacts(), 0U);
  ASSERT_EQ(world.events.questions.size(), 1U);
  ASSERT_NE(world.events.questions[0].request.name, nullptr);
  EXPECT_EQ(world.events.questions[0].request.name->to_string(), "api.example");
  EXPECT_EQ(world.events.questions[0].request.dialled.port, 443);
  answer(world, true);
  world.upstreams_answer();
  EXPECT_EQ(world.host.dialled, std::vector{endpoint("198.51.100.17:443")});
  world.dial_succeeds(world.attempt().handle);
  world.expect_syn_ack();
  EXPECT_TRUE(world.events.denials.empty());
}

TEST(Ask, AnAnswerStandsWhenTheHostChangesWhileTheNameIsDialled) {
  Naming world(kAsking);
  world.zone["api.example"] = {"198.51.100.17"};
  const Endpoint remote = world.looks_up("api.example", 443);
  world.guest_sends(Syn().to(remote));
  answer(world, true);
  world.host_changes();  // while it is looked up
  world.upstreams_answer();
  ASSERT_EQ(world.host.dialled.size(), 1U);
  world.host_changes();  // while it is dialled
  world.expect_nothing();
  world.dial_succeeds(world.attempt().handle);
  world.expect_syn_ack();
  EXPECT_TRUE(world.events.denials.empty());
  EXPECT_EQ(world.events.questions.size(), 1U);
}

TEST(Ask, OnlyTheFloorTakesAnAnswerAwayWhileAFlowIsDialled) {
  for (const bool is_taken : {false, true}) {
    World world(kAsking);
    world.guest_sends(Syn().to(kServer));
    answer(world, true);
    ASSERT_EQ(world.host.dialled.size(), 1U);
    // The address is behind another gateway now, or on this host's own link.
    world.routes.set("198.51.100.17", {RouteFacts::Type::kUnicast, is_taken});
    world.host_changes();
    if (is_taken) {
      world.expect_reset();
      ASSERT_EQ(world.events.denials.size(), 1U);
      EXPECT_EQ(world.events.denials[0].verdict.reason, Reason::kFloor);
    } else {
      world.expect_nothing();
      world.dial_succeeds();
      world.expect_syn_ack();
      EXPECT_TRUE(world.events.denials.empty());
    }
  }
}

TEST(Ask, ADenyRuleOfANewPolicyTakesAnAnswerAway) {
  Naming world(kAsking);
  world.zone["api.example"] = {"198.51.100.17"};
  const Endpoint remote = world.looks_up("api.example", 443);
  world.guest_sends(Syn().to(remote));
  answer(world, true);
  WorldOptions denying = kAsking;
  denying.deny = {"api.example"};
  world.changes_policy(denying);
  world.expect_reset();
  EXPECT_EQ(world.events.denials.size(), 1U);
}

TEST(Ask, ADatagramAndAPingToANameGoOnWhenTheAnswerIsYes) {
  Naming world(kAsking);
  world.zone["api.example"] = {"198.51.100.17"};
  const Endpoint remote = world.looks_up("api.example", 123);
  world.guest_sends(Udp("question").to(remote));
  answer(world, true, 0);
  world.host_changes();
  world.upstreams_answer();
  EXPECT_EQ(world.udp_socket().sent.size(), 1U);
  world.guest_sends(Ping().to(Endpoint{.address = remote.address}));
  answer(world, true, 1);
  world.upstreams_answer();
  EXPECT_EQ(world.ping_socket().sent.size(), 1U);
  world.host_changes();
  EXPECT_EQ(world.translator.flows(), 2U);
  EXPECT_TRUE(world.events.denials.empty());
  EXPECT_EQ(world.events.questions.size(), 2U);
}

TEST(Ask, ANameThatLeadsToTheFloorIsRefusedThoughTheAnswerWasYes) {
  Naming world(kAsking);
  world.zone["api.example"] = {"10.1.2.3"};
  const Endpoint remote = world.looks_up("api.example", 443);
  world.guest_sends(Syn().to(remote));
  answer(world, true);
  world.upstreams_answer();
  world.expect_reset();
  EXPECT_TRUE(world.host.dialled.empty());
  ASSERT_FALSE(world.events.denials.empty());
  EXPECT_EQ(world.events.denials[0].verdict.reason, Reason::kRebind);
}

TEST(NewPolicy, ResetsWhatItDoesNotAllowAndLeavesTheRest) {
  World world;
  world.guest_connects("198.51.100.17:80", 40001);
  world.guest_connects("198.51.100.18:80", 40002);
  EXPECT_EQ(world.flow_sockets(), 4U);
  world.translator.set_policy(world.now, make_policy({.deny = {"198.51.100.18"}}), {});
  world.run_due();
  EXPECT_EQ(world.flow_sockets(), 2U);
  ASSERT_EQ(world.events.denials.size(), 1U);
  EXPECT_EQ(world.events.denials[0].request.dialled, endpoint("198.51.100.18:80"));
  world.guest_sends(Syn().to("198.51.100.18:80").from_port(40003));
  world.expect_reset();
  world.guest_connects("198.51.100.17:80", 40004);
}

TEST(NewPolicy, LeavesEveryAddressOfThePoolWithItsName) {
  Naming world({.allow = {"ok.example"}});
  world.zone["ok.example"] = {"198.51.100.17"};
  const Endpoint before = world.looks_up("ok.example", 443);
  NameSettings names;
  names.pool_v4 = *Prefix::parse("10.99.0.0/16");
  world.translator.set_policy(world.now, make_policy({.allow = {"ok.example", "new.example"}}),
                              names);
  world.zone["new.example"] = {"198.51.100.18"};
  EXPECT_EQ(world.looks_up("ok.example", 443), before);
  EXPECT_TRUE(Prefix::parse("198.18.0.0/15")->contains(world.looks_up("new.example", 443).address));
  world.connects(before);
}

}  // namespace
}  // namespace cordon::world
