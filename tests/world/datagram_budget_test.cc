// Budgets of UDP and echo: what is past them is lost, the denial is told once, and everything else
// goes on.
#include <gtest/gtest.h>

#include "tests/world/naming.h"

namespace cordon::world {
namespace {

constexpr const char* kServer = "198.51.100.17:5000";

WorldOptions limited(const RuleLimits& limits) {
  return {.allow = {"198.51.100.17"},
          .default_action = DefaultAction::kAllowPublic,
          .each_rule = [limits](Rule& rule) { rule.limits = limits; }};
}

std::string text(std::size_t octets) { return std::string(octets, 'x'); }

std::size_t octets_sent(const FakeSocket& socket) {
  std::size_t octets = 0;
  for (const SentDatagram& sent : socket.sent) octets += sent.payload.size();
  return octets;
}

void expect_denied_once(World& world, Limit limit) {
  ASSERT_EQ(world.events.denials.size(), 1U);
  const Verdict& verdict = world.events.denials.back().verdict;
  EXPECT_EQ(verdict.reason, Reason::kLimit);
  EXPECT_EQ(verdict.limit, limit);
  EXPECT_EQ(verdict.rule, 0U);
}

TEST(UdpUploadBudget, LosesWhatIsPastItAndSaysSoOnce) {
  World world(limited({.up_bytes = 1000}));
  for (int i = 0; i < 2; ++i) world.guest_sends(Udp(text(500)).to(kServer));
  EXPECT_EQ(octets_sent(world.udp_socket()), 1000U);
  EXPECT_TRUE(world.events.denials.empty()) << "a budget may be used up";
  for (int i = 0; i < 5; ++i) world.guest_sends(Udp(text(1)).to(kServer));
  EXPECT_EQ(octets_sent(world.udp_socket()), 1000U);
  expect_denied_once(world, Limit::kUp);
  EXPECT_EQ(world.drops(Drop::kBudget), 5U);
  (void)world.expect_icmp(3, 13);
  world.expect_nothing();
  // Answers still come in, and whom the rule is not about goes on.
  world.datagram_arrives(world.udp_socket().handle, kServer, "answer");
  EXPECT_EQ(world.expect_udp().text(), "answer");
  world.guest_sends(Udp(text(1400)).to("198.51.100.18:5000"));
  EXPECT_EQ(octets_sent(world.udp_socket()), 2400U);
}

TEST(UdpUploadBudget, IsOfAllFlowsOfTheRuleAndNobodyNewComesIn) {
  World world(limited({.up_bytes = 1000}));
  world.guest_sends(Udp(text(600)).to(kServer));
  const SocketHandle first = world.udp_socket().handle;
  world.guest_sends(Udp(text(400)).to(kServer).from_port(41000));
  EXPECT_NE(world.udp_socket().handle, first);
  EXPECT_EQ(octets_sent(world.udp_socket()), 400U);
  const std::size_t opened = world.sockets.opened(OwnerKind::kUdp);
  world.guest_sends(Udp("x").to(kServer).from_port(42000));
  (void)world.expect_icmp(3, 13);
  EXPECT_EQ(world.sockets.opened(OwnerKind::kUdp), opened);
  expect_denied_once(world, Limit::kUp);
}

TEST(UdpUploadBudget, LetsTheFirstDatagramsOfATrainPass) {
  World world(limited({.up_bytes = 2500}));
  world.guest_sends(Udp(text(4000)).to(kServer).train(1000));
  ASSERT_EQ(world.udp_socket().sent.size(), 1U);
  EXPECT_EQ(world.udp_socket().sent[0].payload.size(), 2000U);
  EXPECT_EQ(world.drops(Drop::kBudget), 1U);
  expect_denied_once(world, Limit::kUp);
  World free(limited({.up_bytes = 4000}));
  free.guest_sends(Udp(text(4000)).to(kServer).train(1000));
  EXPECT_EQ(free.udp_socket().sent.at(0).payload.size(), 4000U);
}

TEST(UdpDownloadBudget, LosesWhatIsPastIt) {
  World world(limited({.down_bytes = 1000}));
  world.guest_sends(Udp("x").to(kServer));
  world.datagram_arrives(world.udp_socket().handle, kServer, text(1000));
  EXPECT_EQ(world.expect_udp().payload.size(), 1000U);
  EXPECT_TRUE(world.events.denials.empty());
  for (int i = 0; i < 3; ++i) {
    world.datagram_arrives(world.udp_socket().handle, kServer, text(1));
  }
  world.expect_nothing();
  expect_denied_once(world, Limit::kDown);
}

TEST(UdpRateBudget, LosesWhatComesTooEarlyAndDeniesNobody) {
  World world(limited({.bytes_per_second = 100'000}));
  for (int i = 0; i < 1000; ++i) {
    world.guest_sends(Udp(text(1000)).to(kServer));
    world.advance(1ms);  // a megabyte a second
  }
  const std::size_t sent = octets_sent(world.udp_socket());
  EXPECT_GE(sent, 100'000U);
  EXPECT_LE(sent, 120'000U);
  EXPECT_EQ(world.drops(Drop::kBudget), 1000 - sent / 1000);
  EXPECT_TRUE(world.events.denials.empty());
}

TEST(UdpFlowBudget, RefusesOneTooManyUntilOneEnds) {
  World world(limited({.flows = 2}));
  world.guest_sends(Udp("x").to(kServer).from_port(41000));
  world.guest_sends(Udp("x").to(kServer).from_port(42000));
  world.guest_sends(Udp("x").to(kServer).from_port(43000));
  (void)world.expect_icmp(3, 13);
  expect_denied_once(world, Limit::kFlows);
  EXPECT_EQ(world.translator.flows(), 2U);
  world.advance(301s);
  world.guest_sends(Udp("x").to(kServer).from_port(43000));
  world.expect_nothing();
  EXPECT_EQ(world.translator.flows(), 1U);
}

TEST(UdpTimeBudget, EndsItsFlowsAndRefusesNewOnes) {
  World world(limited({.until_seconds = 60}));
  world.guest_sends(Udp("x").to(kServer));
  world.guest_sends(Udp("x").to("198.51.100.18:5000").from_port(41000));
  world.advance(60s - 1ms);
  EXPECT_EQ(world.translator.flows(), 2U);
  world.advance(1ms);
  EXPECT_EQ(world.translator.flows(), 1U) << "the other is nobody's budget";
  expect_denied_once(world, Limit::kTime);
  EXPECT_EQ(world.events.flows.back().end, FlowEnd::kRevoked);
  world.guest_sends(Udp("x").to(kServer));
  (void)world.expect_icmp(3, 13);
  EXPECT_EQ(world.translator.flows(), 1U);
}

TEST(UdpBudget, IsSharedWithTcp) {
  World world(limited({.up_bytes = 1000}));
  world.guest_connects("198.51.100.17:80");
  world.arrives(world.guest_socket().handle, 900);
  world.guest_sends(Udp(text(101)).to(kServer));
  EXPECT_EQ(world.drops(Drop::kBudget), 1U);
  expect_denied_once(world, Limit::kUp);
  world.guest_sends(Udp(text(100)).to(kServer));
  EXPECT_EQ(octets_sent(world.udp_socket()), 100U);
}

TEST(UdpBudget, IsOfWhatAPublishedPortReceivesToo) {
  WorldOptions options;
  options.limits = {.down_bytes = 100};
  options.published_udp = {5353};
  World world(options);
  const SocketHandle socket = world.published_udp(0);
  // A client's octets go to the guest, whoever began.
  world.datagram_arrives(socket, "198.51.100.200:4000", text(100));
  EXPECT_EQ(world.expect_udp().payload.size(), 100U);
  world.datagram_arrives(socket, "198.51.100.200:4000", text(1));
  world.expect_nothing();
  ASSERT_EQ(world.events.denials.size(), 1U);
  EXPECT_FALSE(world.events.denials[0].verdict.rule);
  EXPECT_EQ(world.events.denials[0].verdict.limit, Limit::kDown);
}

TEST(UdpBudget, IsOnlyReportedInReportMode) {
  WorldOptions options = limited({.up_bytes = 1000, .flows = 1});
  options.mode = PolicyMode::kReport;
  World world(options);
  for (int i = 0; i < 3; ++i) world.guest_sends(Udp(text(600)).to(kServer));
  EXPECT_EQ(octets_sent(world.udp_socket()), 1800U);
  expect_denied_once(world, Limit::kUp);
  EXPECT_TRUE(world.events.denials[0].is_only_reported);
  world.guest_sends(Udp("x").to(kServer).from_port(41000));
  EXPECT_EQ(world.events.denials.size(), 2U);
  world.expect_nothing();
}

TEST(UdpBudget, FollowsTheRuleThroughAReload) {
  World world(limited({.up_bytes = 1000}));
  world.guest_sends(Udp(text(900)).to(kServer));
  world.changes_policy(limited({.up_bytes = 2000}));
  world.guest_sends(Udp(text(1100)).to(kServer));
  EXPECT_EQ(octets_sent(world.udp_socket()), 2000U);
  world.guest_sends(Udp(text(1)).to(kServer));
  expect_denied_once(world, Limit::kUp);
}

TEST(NamedUdpBudget, HoldsForAFlowByName) {
  Naming world({.allow = {"udp/ntp.example:123"},
                .each_rule = [](Rule& rule) { rule.limits = {.up_bytes = 100, .flows = 1}; }});
  world.zone["ntp.example"] = {"198.51.100.123"};
  const Endpoint remote = world.looks_up("ntp.example", 123);
  world.guest_sends(Udp(text(60)).to(remote));
  world.guest_sends(Udp(text(60)).to(remote));
  world.upstreams_answer();
  EXPECT_EQ(octets_sent(world.udp_socket()), 60U);
  expect_denied_once(world, Limit::kUp);
  (void)world.expect_icmp(3, 13);
  world.guest_sends(Udp("x").to(remote).from_port(41000));
  world.upstreams_answer();
  (void)world.expect_icmp(3, 13);
  EXPECT_EQ(world.events.denials.back().verdict.limit, Limit::kFlows);
  EXPECT_EQ(world.translator.flows(), 1U);
}

TEST(EchoBudget, CountsWholeMessagesBothWays) {
  World world(limited({.up_bytes = 200, .down_bytes = 108}));
  for (std::uint16_t i = 0; i < 3; ++i) {
    world.guest_sends(Ping().to("198.51.100.17").sequence(i).payload(text(92)));
  }
  EXPECT_EQ(world.ping_socket().sent.size(), 2U);
  (void)world.expect_icmp(3, 13);
  expect_denied_once(world, Limit::kUp);
  Octets reply = world.ping_socket().sent[0].payload;
  reply[0] = 0;
  world.datagram_arrives(world.ping_socket().handle, endpoint("198.51.100.17:0"), reply);
  EXPECT_TRUE(world.expect_packet().is_icmp());
  world.datagram_arrives(world.ping_socket().handle, endpoint("198.51.100.17:0"), reply);
  world.expect_nothing();
  EXPECT_EQ(world.drops(Drop::kBudget), 2U);
  // Whom no rule limits goes on.
  world.guest_sends(Ping().to("198.51.100.18").payload(text(1000)));
  EXPECT_EQ(world.ping_socket().sent.size(), 1U);
}

TEST(EchoBudget, OfFlowsAndTimeHolds) {
  World world(limited({.flows = 1, .until_seconds = 50}));
  world.guest_sends(Ping().to("198.51.100.17").id(1));
  world.guest_sends(Ping().to("198.51.100.17").id(2));
  (void)world.expect_icmp(3, 13);
  expect_denied_once(world, Limit::kFlows);
  EXPECT_EQ(world.translator.flows(), 1U);
  world.advance(50s);
  EXPECT_EQ(world.translator.flows(), 0U);
  EXPECT_EQ(world.events.denials.back().verdict.limit, Limit::kTime);
}

TEST(EchoBudget, OfAFlowByNameHolds) {
  Naming world({.allow = {"icmp/ntp.example"},
                .each_rule = [](Rule& rule) { rule.limits = {.up_bytes = 50, .flows = 1}; }});
  world.zone["ntp.example"] = {"198.51.100.123"};
  const Endpoint remote = world.looks_up("ntp.example", 0);
  world.guest_sends(Ping().to(remote).id(1).payload(text(42)));
  world.upstreams_answer();
  EXPECT_EQ(world.ping_socket().sent.size(), 1U);
  world.guest_sends(Ping().to(remote).id(1).sequence(2).payload(text(42)));
  EXPECT_EQ(world.ping_socket().sent.size(), 1U);
  expect_denied_once(world, Limit::kUp);
  EXPECT_EQ(world.translator.flows(), 1U);
}

}  // namespace
}  // namespace cordon::world
