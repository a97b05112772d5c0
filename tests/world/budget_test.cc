// Budgets where the octets move: exact to the octet, over all flows of a rule, both ways; a rate
// that nobody sleeps for; flows at one time; an end.
#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "tests/world/world.h"

namespace cordon::world {
namespace {

constexpr const char* kServer = "198.51.100.17:80";

WorldOptions limited(const RuleLimits& limits) {
  return {.allow = {"198.51.100.17"},
          .default_action = DefaultAction::kDeny,
          .each_rule = [limits](Rule& rule) { rule.limits = limits; }};
}

struct Ends {
  SocketHandle host;
  SocketHandle guest;
};

Ends connect(World& world, std::uint16_t port = 40000) {
  world.guest_connects(kServer, port);
  return {.host = world.host_socket().handle, .guest = world.guest_socket().handle};
}

void expect_over_limit(World& world) {
  ASSERT_FALSE(world.events.denials.empty());
  EXPECT_EQ(world.events.denials.back().verdict.reason, Reason::kLimit);
  EXPECT_EQ(world.events.denials.back().verdict.rule, 0U);
}

TEST(UploadBudget, HoldsToTheOctet) {
  for (const std::uint64_t budget : {1ULL, 1000ULL, 100000ULL, 50'000'000ULL}) {
    World world(limited({.up_bytes = budget}));
    const Ends ends = connect(world);
    world.arrives(ends.guest, budget / 2);
    world.arrives(ends.guest, budget - budget / 2);
    EXPECT_EQ(world.sockets.was(ends.host).written, budget);
    EXPECT_TRUE(world.events.denials.empty()) << "a budget may be used up";
    world.arrives(ends.guest, 1);
    EXPECT_EQ(world.sockets.was(ends.host).written, budget);
    EXPECT_EQ(world.sockets.was(ends.host).end, End::kReset);
    EXPECT_EQ(world.sockets.was(ends.guest).end, End::kReset);
    EXPECT_EQ(world.events.flows.back().end, FlowEnd::kRevoked);
    expect_over_limit(world);
  }
}

TEST(UploadBudget, LetsAFlowEndInPeaceThatHasNoMoreToSay) {
  World world(limited({.up_bytes = 1000}));
  const Ends ends = connect(world);
  world.arrives(ends.guest, 1000);
  world.fin_arrives(ends.guest);
  EXPECT_TRUE(world.sockets.was(ends.host).has_fin_gone);
  world.arrives(ends.host, 1 << 20);
  world.fin_arrives(ends.host);
  EXPECT_EQ(world.sockets.was(ends.guest).written, 1U << 20);
  EXPECT_EQ(world.events.flows.back().end, FlowEnd::kClosed);
  EXPECT_TRUE(world.events.denials.empty());
}

TEST(UploadBudget, IsOfAllFlowsOfTheRuleTogether) {
  World world(limited({.up_bytes = 1000}));
  const Ends first = connect(world);
  const Ends second = connect(world, 40001);
  world.arrives(first.guest, 600);
  world.arrives(second.guest, 600);
  EXPECT_EQ(world.sockets.was(second.host).written, 400U);
  EXPECT_EQ(world.sockets.was(second.guest).end, End::kReset);
  // The first has nothing more to say and stays; nobody new comes in.
  EXPECT_EQ(world.sockets.was(first.guest).end, End::kOpen);
  const std::size_t dialled = world.host.dialled.size();
  world.guest_sends(Syn().to(kServer).from_port(40002));
  (void)world.expect_reset();
  EXPECT_EQ(world.host.dialled.size(), dialled) << "refused without a packet on the host's side";
  expect_over_limit(world);
}

TEST(UploadBudget, CountsWhatASlowHostHasNotTakenYet) {
  World world(limited({.up_bytes = 1000}));
  const Ends ends = connect(world);
  world.sockets.at(ends.host, "room").room = 100;
  world.arrives(ends.guest, 5000);
  EXPECT_EQ(world.sockets.was(ends.host).written, 100U);
  world.has_room(ends.host, 1 << 20);
  EXPECT_LE(world.sockets.was(ends.host).written, 1000U);
  EXPECT_EQ(world.flow_sockets(), 0U);
  expect_over_limit(world);
}

TEST(DownloadBudget, HoldsToTheOctet) {
  World world(limited({.down_bytes = 100000}));
  const Ends ends = connect(world);
  world.arrives(ends.guest, 1 << 20);
  world.arrives(ends.host, 100001);
  EXPECT_EQ(world.sockets.was(ends.guest).written, 100000U);
  EXPECT_EQ(world.sockets.was(ends.host).end, End::kReset);
  expect_over_limit(world);
}

TEST(RateBudget, PacesByTheClock) {
  World world(limited({.bytes_per_second = 1'000'000}));
  const Ends ends = connect(world);
  world.arrives(ends.guest, 100'000'000);
  const std::uint64_t at_once = world.sockets.was(ends.host).written;
  EXPECT_LE(at_once, 100'000U);
  world.advance(10s);
  const std::uint64_t later = world.sockets.was(ends.host).written - at_once;
  EXPECT_GE(later, 9'900'000U);
  EXPECT_LE(later, 10'100'000U);
  EXPECT_GT(world.translator.next_deadline(), world.now) << "and sleeps in between";
  EXPECT_TRUE(world.events.denials.empty());
}

TEST(RateBudget, IsSharedByFlowsInTurn) {
  World world(limited({.bytes_per_second = 1'000'000}));
  const Ends first = connect(world);
  const Ends second = connect(world, 40001);
  world.arrives(first.guest, 100'000'000);
  world.arrives(second.guest, 100'000'000);
  world.advance(10s);
  const std::uint64_t one = world.sockets.was(first.host).written;
  const std::uint64_t other = world.sockets.was(second.host).written;
  EXPECT_LE(one + other, 10'200'000U);
  EXPECT_GE(std::min(one, other), 2'000'000U) << "neither starves";
}

TEST(RateBudget, DoesNotHoldUpAnEndOrAReset) {
  World world(limited({.bytes_per_second = 1000}));
  const Ends ends = connect(world);
  world.arrives(ends.guest, 1'000'000);
  world.reset_arrives(ends.guest);
  EXPECT_EQ(world.flow_sockets(), 0U);
  world.advance(1s);
}

TEST(FlowBudget, RefusesOneTooManyUntilOneEnds) {
  World world(limited({.flows = 2}));
  const Ends first = connect(world);
  (void)connect(world, 40001);
  world.guest_sends(Syn().to(kServer).from_port(40002));
  (void)world.expect_reset();
  expect_over_limit(world);
  world.fin_arrives(first.guest);
  world.fin_arrives(first.host);
  (void)connect(world, 40003);
}

TEST(FlowBudget, CountsFlowsThatFailToConnectNoLonger) {
  World world(limited({.flows = 1}));
  for (std::uint16_t port = 40000; port < 40010; ++port) {
    world.guest_sends(Syn().to(kServer).from_port(port));
    world.dial_fails(ECONNREFUSED);
    (void)world.expect_reset();
  }
  EXPECT_TRUE(world.events.denials.empty());
  (void)connect(world, 40010);
}

TEST(TimeBudget, ResetsItsFlowsAndRefusesNewOnes) {
  World world(limited({.until_seconds = 60}));
  const Ends ends = connect(world);
  world.advance(60s - 1ms);
  world.arrives(ends.guest, 10);
  EXPECT_EQ(world.sockets.was(ends.host).written, 10U);
  world.advance(1ms);
  EXPECT_EQ(world.sockets.was(ends.host).end, End::kReset);
  EXPECT_EQ(world.sockets.was(ends.guest).end, End::kReset);
  expect_over_limit(world);
  world.guest_sends(Syn().to(kServer).from_port(40001));
  (void)world.expect_reset();
  EXPECT_EQ(world.events.denials.size(), 2U);
}

// The supervisor finds a process by its socket: it is there until the denial has been told.
WorldOptions holding(const RuleLimits& limits) {
  WorldOptions options = limited(limits);
  options.holds_refusals = true;
  return options;
}

void expect_guest_waits(World& world, const Ends& ends, std::uint64_t up, std::uint64_t down) {
  expect_over_limit(world);
  EXPECT_EQ(world.sockets.was(ends.host).end, End::kReset) << "the remote hears of it at once";
  EXPECT_EQ(world.sockets.was(ends.guest).end, End::kOpen);
  EXPECT_EQ(world.events.flows.back().end, FlowEnd::kRevoked);
  world.arrives(ends.guest, 100'000);
  world.advance(5ms);
  EXPECT_EQ(world.sockets.was(ends.host).written, up) << "not an octet more";
  EXPECT_EQ(world.sockets.was(ends.guest).written, down);
}

TEST(LimitOfAStream, IsToldToTheGuestOnceItsProcessIsKnown) {
  World world(holding({.up_bytes = 1000, .flows = 1}));
  const Ends ends = connect(world);
  world.arrives(ends.host, 300);
  world.arrives(ends.guest, 5000);
  expect_guest_waits(world, ends, 1000, 300);
  // It counts as a flow for as long as it is one.
  world.guest_sends(Syn().to(kServer).from_port(40001));
  EXPECT_EQ(world.events.denials.size(), 2U);
  world.supervisor_tells(world.events.denials.front().id);
  EXPECT_EQ(world.sockets.was(ends.guest).end, End::kReset);
  EXPECT_EQ(world.flow_sockets(), 0U);
  EXPECT_EQ(world.events.flows.size(), 2U) << "a beginning and one end";
}

TEST(LimitOfAStream, IsToldToTheGuestAfter25MillisecondsByItself) {
  World world(holding({.down_bytes = 1000}));
  const Ends ends = connect(world);
  world.arrives(ends.guest, 10);
  world.arrives(ends.host, 1001);
  expect_guest_waits(world, ends, 10, 1000);
  world.advance(20ms - 1us);
  EXPECT_EQ(world.sockets.was(ends.guest).end, End::kOpen);
  world.advance(1us);
  EXPECT_EQ(world.sockets.was(ends.guest).end, End::kReset);
  world.supervisor_tells(world.events.denials.front().id);  // too late
}

TEST(LimitOfAStream, ThatIsATimeWaitsForItsProcessToo) {
  World world(holding({.until_seconds = 60}));
  const Ends ends = connect(world);
  world.arrives(ends.guest, 10);
  world.advance(60s);
  expect_guest_waits(world, ends, 10, 0);
  world.supervisor_tells(world.events.denials.front().id);
  EXPECT_EQ(world.sockets.was(ends.guest).end, End::kReset);
}

TEST(LimitOfAStream, LetsAGuestGoThatEndsWhileItWaits) {
  World world(holding({.up_bytes = 1000}));
  const Ends ends = connect(world);
  world.arrives(ends.guest, 5000);
  world.reset_arrives(ends.guest);
  EXPECT_EQ(world.flow_sockets(), 0U);
  world.supervisor_tells(world.events.denials.front().id);
  world.advance(1s);
}

TEST(LimitOfAStream, HoldsSixteenAndEndsTheOthersAtOnce) {
  World world(holding({.up_bytes = 1}));
  std::vector<Ends> all;
  for (std::uint16_t i = 0; i < 20; ++i) all.push_back(connect(world, 41000 + i));
  for (const Ends& ends : all) world.arrives(ends.guest, 100);
  const auto waiting = [&](const Ends& ends) {
    return world.sockets.was(ends.guest).end == End::kOpen;
  };
  EXPECT_EQ(std::count_if(all.begin(), all.end(), waiting), 16);
  EXPECT_EQ(world.events.denials.size(), 20U);
  world.advance(25ms);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(PolicyThatEndsAStream, IsToldToTheGuestOnceItsProcessIsKnown) {
  World world(holding({}));
  const Ends ends = connect(world);
  world.arrives(ends.guest, 10);
  world.changes_policy({.default_action = DefaultAction::kDeny});
  world.advance(1ms);
  ASSERT_EQ(world.events.denials.size(), 1U);
  EXPECT_EQ(world.sockets.was(ends.host).end, End::kReset);
  EXPECT_EQ(world.sockets.was(ends.guest).end, End::kOpen);
  world.supervisor_tells(world.events.denials.front().id);
  EXPECT_EQ(world.sockets.was(ends.guest).end, End::kReset);
}

TEST(WholeBudget, IsOfEverythingThatPasses) {
  WorldOptions options;
  options.limits = {.up_bytes = 1000};
  World world(options);
  const Ends ends = connect(world);
  world.arrives(ends.guest, 1001);
  EXPECT_EQ(world.sockets.was(ends.host).written, 1000U);
  EXPECT_EQ(world.flow_sockets(), 0U);
  ASSERT_EQ(world.events.denials.size(), 1U);
  EXPECT_FALSE(world.events.denials[0].verdict.rule);
  EXPECT_EQ(world.events.denials[0].verdict.limit, Limit::kUp);
}

TEST(Budget, IsOnlyReportedInReportMode) {
  WorldOptions options = limited({.up_bytes = 1000, .flows = 1});
  options.mode = PolicyMode::kReport;
  World world(options);
  const Ends ends = connect(world);
  world.arrives(ends.guest, 5000);
  world.arrives(ends.guest, 5000);
  EXPECT_EQ(world.sockets.was(ends.host).written, 10000U);
  EXPECT_EQ(world.events.denials.size(), 1U);
  EXPECT_TRUE(world.events.denials[0].is_only_reported);
  (void)connect(world, 40001);
  EXPECT_EQ(world.events.denials.size(), 2U);
}

TEST(Budget, ThatNobodyHasCostsNothing) {
  World world;
  const Ends ends = connect(world);
  world.advance(kTcpYoung);
  const std::size_t moves = world.streams.moves;
  world.arrives(ends.guest, 1000);
  EXPECT_EQ(world.streams.moves, moves + 1);
  EXPECT_EQ(world.streams.peeks, 0U);
  EXPECT_EQ(world.translator.next_deadline(), world.now + 24h);
}

}  // namespace
}  // namespace cordon::world
