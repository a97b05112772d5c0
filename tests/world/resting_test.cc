// Where descriptors are scarce, streams that rest go to relays, whose tables of descriptors are
// their own; so there are more flows than one table could hold.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/world/many_streams.h"
#include "tests/world/world.h"

namespace cordon::world {
namespace {

std::string server(int number) { return "198.51.100." + std::to_string(16 + number) + ":80"; }

/// A worker with descriptors for four flows, and relays for four more.
struct Scarce {
  explicit Scarce(WorldOptions options = {}) : world(scarce(std::move(options))) {}
  static WorldOptions scarce(WorldOptions options) {
    options.max_tcp_flows = 8;
    options.max_held_flows = 4;
    if (options.relayed_streams == 0) options.relayed_streams = 4;
    options.shares_bulk_out = false;
    return options;
  }
  /// The n-th flow, to a server of its own.
  void connect(int number) {
    world.guest_connects(server(number));
    hosts.push_back(world.host_socket().handle);
    guests.push_back(world.guest_socket().handle);
  }
  void connect_up_to(int count) {
    while (hosts.size() < static_cast<std::size_t>(count)) {
      connect(static_cast<int>(hosts.size()) + 1);
    }
  }
  /// Whether a SYN to one more server is answered by a dial.
  bool is_dialled(int number) {
    const std::size_t before = world.host.dialled.size();
    world.guest_sends(Syn().to(server(number)));
    return world.host.dialled.size() > before;
  }
  [[nodiscard]] bool is_with_relay(std::size_t index) const {
    return std::any_of(world.relays.streams.begin(), world.relays.streams.end(),
                       [&](const auto& each) { return each.second.stream.host == hosts[index]; });
  }

  World world;
  std::vector<SocketHandle> hosts;
  std::vector<SocketHandle> guests;
};

TEST(ScarceDescriptors, AreMadeFreeForANewFlowByTheStreamThatHasRestedLongest) {
  Scarce flows;
  flows.connect_up_to(4);
  EXPECT_EQ(flows.world.relays.living, 0U);
  flows.connect(5);
  EXPECT_EQ(flows.world.relays.living, 1U);
  EXPECT_TRUE(flows.is_with_relay(0));
  EXPECT_EQ(flows.world.translator.flows(), 5U);
  EXPECT_TRUE(flows.world.sockets.is_open(flows.hosts[0]));
  EXPECT_EQ(flows.world.sockets.was(flows.hosts[0]).keep_alive, kTcpKeepAlive);
  EXPECT_TRUE(flows.world.events.notices.empty());
}

TEST(ScarceDescriptors, AreKeptByTheStreamThatHasSpoken) {
  Scarce flows;
  flows.connect_up_to(4);
  flows.world.advance(10s);
  flows.world.arrives(flows.hosts[0], 1);
  flows.connect(5);
  EXPECT_FALSE(flows.is_with_relay(0));
  EXPECT_TRUE(flows.is_with_relay(1));
}

TEST(ScarceDescriptors, CostAFlowThatComesAndGoesNoMoreThanOneOther) {
  Scarce flows;
  flows.connect_up_to(4);
  for (int i = 0; i < 20; ++i) {
    flows.connect(5 + i);
    flows.world.fin_arrives(flows.guests.back());
    flows.world.fin_arrives(flows.hosts.back());
  }
  EXPECT_EQ(flows.world.relays.handed_over, 1U);
}

TEST(ScarceDescriptors, AreUsedUpOnceRelaysHaveNoRoomEither) {
  Scarce flows;
  flows.connect_up_to(8);
  EXPECT_EQ(flows.world.relays.living, 4U);
  EXPECT_EQ(flows.world.drops(Drop::kFlowLimit), 0U);
  EXPECT_FALSE(flows.is_dialled(9));
  EXPECT_EQ(flows.world.drops(Drop::kFlowLimit), 1U);
  EXPECT_EQ(flows.world.events.count(Notice::kFlowLimit), 1U);
  flows.world.relay_finishes(RelayNews::Kind::kClosed);
  EXPECT_TRUE(flows.is_dialled(9));
}

TEST(ScarceDescriptors, AreUsedUpWithoutRelays) {
  World world({.max_tcp_flows = 4});
  for (int i = 1; i <= 4; ++i) world.guest_connects(server(i));
  world.guest_sends(Syn().to(server(5)));
  EXPECT_EQ(world.drops(Drop::kFlowLimit), 1U);
}

TEST(ScarceDescriptors, WaitForAWayToTheRelayThatIsFull) {
  Scarce flows;
  flows.connect_up_to(4);
  flows.world.relays.is_way_full = true;
  EXPECT_FALSE(flows.is_dialled(5));
  flows.world.arrives(flows.hosts[0], 7);
  EXPECT_EQ(flows.world.sockets.was(flows.guests[0]).written, 7U) << "it goes on here";
  flows.world.relays.is_way_full = false;
  flows.connect(5);
  EXPECT_EQ(flows.world.relays.living, 1U);
}

TEST(ScarceDescriptors, BulkStreamsStayUnlessTheyAreSharedOut) {
  Scarce flows;
  flows.connect(1);
  flows.world.arrives(flows.hosts[0], 4 * kBulkStream);
  flows.world.arrives(flows.hosts[0], 1);
  EXPECT_EQ(flows.world.relays.handed_over, 0U);
}

TEST(ScarceDescriptors, StreamsThatAreCountedStayAndOthersGo) {
  Scarce flows({.allow = {"198.51.100.0/24"},
                .default_action = DefaultAction::kDeny,
                .each_rule = [](Rule& rule) { rule.limits.up_bytes = 1'000'000; }});
  flows.connect_up_to(4);
  EXPECT_FALSE(flows.is_dialled(5));
  EXPECT_EQ(flows.world.relays.handed_over, 0U);
  // They do not stand in the way of one that may go.
  flows.world.advance(kTcpYoung);
  flows.world.changes_policy(
      {.allow = {"198.51.100.0/24"}, .default_action = DefaultAction::kDeny, .max_tcp_flows = 8});
  flows.world.arrives(flows.hosts[2], 1);
  flows.connect(5);
  EXPECT_TRUE(flows.is_with_relay(2));
}

TEST(ScarceDescriptors, StreamsThatCannotGoMakeRoomOnceTheyAreIdleForLongEnough) {
  Scarce flows({.allow = {"198.51.100.0/24"},
                .default_action = DefaultAction::kDeny,
                .each_rule = [](Rule& rule) { rule.limits.up_bytes = 1'000'000; }});
  flows.connect_up_to(4);
  flows.world.advance(kTcpYoung);
  EXPECT_FALSE(flows.is_dialled(5));
  flows.world.advance(kTcpEstablishedMinIdle - 1ms);
  EXPECT_FALSE(flows.is_dialled(5));
  flows.world.advance(1ms);
  EXPECT_TRUE(flows.is_dialled(5));
  EXPECT_FALSE(flows.world.sockets.is_open(flows.hosts[0]));
}

TEST(ScarceDescriptors, AreMadeFreeForAStreamThatComesBackOrItIsReset) {
  WorldOptions options{.allow = {"198.51.100.0/28", "198.51.100.16/28"},
                       .default_action = DefaultAction::kDeny};
  Scarce flows(options);
  flows.connect_up_to(6);
  ASSERT_TRUE(flows.is_with_relay(0));
  ASSERT_TRUE(flows.is_with_relay(1));
  // From here on nothing of it is for relays, and there is room for four of the six.
  options.max_tcp_flows = 8;
  options.each_rule = [](Rule& rule) { rule.limits.up_bytes = 1'000'000; };
  flows.world.changes_policy(options);
  const auto is_reset = [&](SocketHandle host) {
    return flows.world.sockets.was(host).end == End::kReset;
  };
  EXPECT_EQ(std::count_if(flows.hosts.begin(), flows.hosts.end(), is_reset), 2);
  EXPECT_GE(flows.world.events.count(Notice::kFlowLimit), 1U);
  EXPECT_EQ(flows.world.translator.flows(), 4U);
}

TEST(ScarceDescriptors, ThatAreFreeAreForTheStreamsThatComeBack) {
  WorldOptions options{.allow = {"198.51.100.0/24"}, .default_action = DefaultAction::kDeny};
  Scarce flows(options);
  flows.connect_up_to(6);
  for (const std::size_t ended : {4U, 5U}) {
    flows.world.fin_arrives(flows.guests[ended]);
    flows.world.fin_arrives(flows.hosts[ended]);
  }
  options.max_tcp_flows = 8;
  options.each_rule = [](Rule& rule) { rule.limits.up_bytes = 1'000'000; };
  flows.world.changes_policy(options);
  EXPECT_TRUE(flows.world.relays.streams.at(0).is_asked_back);
  EXPECT_TRUE(flows.world.relays.streams.at(1).is_asked_back);
  EXPECT_FALSE(flows.is_dialled(7)) << "their places are taken";
  flows.world.relay_finishes(RelayNews::Kind::kReturned);
  EXPECT_EQ(flows.world.translator.flows(), 4U);
}

TEST(ScarceDescriptors, HoldThirtyThousandStreamsOfWhichOneTableHasEight) {
  World world({.reports_flows = false,
               .max_tcp_flows = kMaxFlows,
               .max_held_flows = 8192,
               .relayed_streams = kMaxFlows,
               .shares_bulk_out = false});
  connect_thirty_thousand(world);
  EXPECT_GE(world.relays.living, 30000U - 8192U);
  EXPECT_EQ(world.drops(Drop::kFlowLimit), 0U);
  // Both kinds end when the policy no longer has them.
  world.changes_policy({.deny = {"198.51.100.0/24"}, .max_tcp_flows = kMaxFlows});
  EXPECT_EQ(world.translator.flows(), 0U);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

}  // namespace
}  // namespace cordon::world
