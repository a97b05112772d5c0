// Streams that turn bulk go to a relay, which moves them and nothing else; whatever ends, lists or
// counts flows has them all the same. What is judged or counted is never handed over.
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/world/flight.h"

namespace cordon::world {
namespace {

constexpr const char* kServer = "198.51.100.17:80";
constexpr std::uint64_t kNearlyBulk = kBulkStream - 1;

struct Relaying {
  explicit Relaying(WorldOptions options = {}) : world(with_relays(std::move(options))) {
    connect();
  }
  static WorldOptions with_relays(WorldOptions options) {
    if (options.relayed_streams == 0) options.relayed_streams = 1000;
    return options;
  }
  void connect(std::uint16_t port = 40000, const char* server = kServer) {
    world.guest_connects(server, port);
    host = world.host_socket().handle;
    guest = world.guest_socket().handle;
  }
  /// Moves as much as makes a stream bulk; the next event hands it over.
  void turn_bulk() {
    world.arrives(host, kBulkStream);
    world.arrives(host, 1);
  }
  [[nodiscard]] const FakeSocket& at(SocketHandle socket) const {
    return world.sockets.was(socket);
  }
  [[nodiscard]] bool is_relayed() const { return world.relays.living > 0; }

  World world;
  SocketHandle host;
  SocketHandle guest;
};

/// A stream that a relay has.
struct Relayed : Relaying {
  explicit Relayed(WorldOptions options = {}) : Relaying(std::move(options)) {
    turn_bulk();
    EXPECT_TRUE(is_relayed());
  }
};

TEST(HandOver, IsForStreamsThatHaveTurnedBulk) {
  Relaying stream;
  stream.world.arrives(stream.host, kNearlyBulk - 1);
  stream.world.arrives(stream.guest, 1);
  stream.world.arrives(stream.guest, 1);
  EXPECT_FALSE(stream.is_relayed());
  EXPECT_EQ(stream.at(stream.host).written, 2U);
  stream.world.arrives(stream.guest, 5);
  ASSERT_TRUE(stream.is_relayed());
  // What has just come is the relay's to move.
  EXPECT_EQ(stream.at(stream.guest).unread, 5U);
  const Stream& handed = stream.world.relays.last().stream;
  EXPECT_EQ(handed.host, stream.host);
  EXPECT_EQ(handed.guest, stream.guest);
  EXPECT_EQ(handed.up.octets, 2U);
  EXPECT_EQ(handed.down.octets, kBulkStream - 2);
  EXPECT_EQ(stream.at(stream.host).keep_alive, kTcpKeepAlive);
  EXPECT_EQ(stream.at(stream.guest).keep_alive, kTcpGuestKeepAlive);
  EXPECT_EQ(stream.world.translator.flows(), 1U);
}

TEST(HandOver, HappensWithoutAnEventToAStreamThatWaitsForItsTurn) {
  Relaying stream;
  stream.world.arrives(stream.host, 64ULL * 1024 * 1024);
  EXPECT_TRUE(stream.is_relayed());
  EXPECT_GT(stream.at(stream.host).unread, 0U);
}

TEST(HandOver, NeverHappensWithoutRelays) {
  World world;
  world.guest_connects(kServer);
  world.arrives(world.host_socket().handle, 4 * kBulkStream);
  world.arrives(world.host_socket().handle, 4 * kBulkStream);
  EXPECT_EQ(world.guest_socket().written, 8 * kBulkStream);
  EXPECT_EQ(world.relays.handed_over, 0U);
}

TEST(HandOver, LeavesTheStreamWhereItIsWhileRelaysHaveNoRoom) {
  Relayed stream({.relayed_streams = 1});
  stream.connect(40001);
  stream.turn_bulk();
  stream.world.arrives(stream.guest, 100);
  EXPECT_EQ(stream.world.relays.handed_over, 1U);
  EXPECT_EQ(stream.at(stream.guest).written, kBulkStream + 1);
  EXPECT_EQ(stream.at(stream.host).written, 100U);
  stream.world.relay_finishes(RelayNews::Kind::kClosed);
  stream.world.arrives(stream.guest, 100);
  EXPECT_EQ(stream.world.relays.handed_over, 2U);
}

TEST(HandOver, IsForHalfClosedStreamsToo) {
  Relaying stream;
  stream.world.fin_arrives(stream.guest);
  stream.turn_bulk();
  ASSERT_TRUE(stream.is_relayed());
  EXPECT_TRUE(stream.world.relays.last().stream.up.is_done);
  EXPECT_FALSE(stream.world.relays.last().stream.down.is_done);
  EXPECT_TRUE(stream.at(stream.host).has_fin_gone) << "and was told once";
}

TEST(HandOver, WaitsUntilAFullSinkHasTakenWhatItsPipeHolds) {
  Relaying stream;
  stream.world.arrives(stream.guest, 2000);
  stream.world.sockets.at(stream.guest, "room").room = kBulkStream - 1000;
  stream.world.arrives(stream.host, kBulkStream + 5000);
  EXPECT_EQ(stream.world.streams.holds, 1U);
  stream.world.arrives(stream.guest, 7);
  EXPECT_FALSE(stream.is_relayed());
  EXPECT_EQ(stream.at(stream.host).written, 2007U) << "the other way goes on meanwhile";
  stream.world.has_room(stream.guest, 400);
  EXPECT_FALSE(stream.is_relayed());
  stream.world.has_room(stream.guest, 1 << 20);
  ASSERT_TRUE(stream.is_relayed());
  EXPECT_EQ(stream.world.streams.holds, 0U);
  EXPECT_EQ(stream.at(stream.guest).written, kBulkStream);
  EXPECT_EQ(stream.at(stream.host).unread, 5000U);
}

TEST(HandOver, HoldsNeitherWayUpWhereBothSinksAreFull) {
  Relaying stream;
  stream.world.arrives(stream.guest, 2000);
  stream.world.sockets.at(stream.guest, "room").room = kBulkStream - 1000;
  stream.world.sockets.at(stream.host, "room").room = 0;
  stream.world.arrives(stream.host, kBulkStream + 5000);
  stream.world.arrives(stream.guest, 5000);
  EXPECT_EQ(stream.world.streams.holds, 2U);
  // Who is read from only if it reads would wait for ever, were one way held up for the other.
  stream.world.has_room(stream.guest, 3000);
  EXPECT_EQ(stream.at(stream.guest).written, kBulkStream + 2000);
  EXPECT_FALSE(stream.is_relayed());
  stream.world.has_room(stream.host, 1 << 20);
  EXPECT_FALSE(stream.is_relayed()) << "the other pipe is full still";
  EXPECT_EQ(stream.at(stream.host).written, 7000U);
  stream.world.has_room(stream.guest, 1 << 20);
  EXPECT_TRUE(stream.is_relayed());
}

TEST(HandOver, NeverMeetsAStreamThatBreaks) {
  Relaying stream;
  stream.world.arrives(stream.host, kNearlyBulk);
  stream.world.arrives(stream.guest, 1);
  stream.world.reset_arrives(stream.host);
  EXPECT_EQ(stream.world.relays.handed_over, 0U);
  EXPECT_EQ(stream.at(stream.guest).end, End::kReset);
}

struct LimitRow {
  const char* name;
  RuleLimits limits;
  bool is_handed_over;
};
constexpr LimitRow kLimitRows[] = {
    {"Up", {.up_bytes = 1ULL << 40}, false},
    {"Down", {.down_bytes = 1ULL << 40}, false},
    {"Rate", {.bytes_per_second = 1ULL << 36}, false},
    {"Until", {.until_seconds = 86400}, false},
    {"Flows", {.flows = 10}, true},
    {"None", {}, true},
};

class HandOverUnderALimit : public testing::TestWithParam<LimitRow> {};

TEST_P(HandOverUnderALimit, IsForWhatNobodyHasToCount) {
  const LimitRow& row = GetParam();
  Relaying by_rule({.allow = {"198.51.100.17"},
                    .default_action = DefaultAction::kDeny,
                    .each_rule = [&](Rule& rule) { rule.limits = row.limits; }});
  by_rule.turn_bulk();
  by_rule.turn_bulk();
  EXPECT_EQ(by_rule.is_relayed(), row.is_handed_over);
  Relaying by_all({.limits = row.limits});
  by_all.turn_bulk();
  by_all.turn_bulk();
  EXPECT_EQ(by_all.is_relayed(), row.is_handed_over);
}

INSTANTIATE_TEST_SUITE_P(Rows, HandOverUnderALimit, testing::ValuesIn(kLimitRows),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(HandOver, IsForStreamsUnderOtherRulesThanTheLimitedOne) {
  const WorldOptions options{.allow = {"198.51.100.17", "198.51.100.18"},
                             .default_action = DefaultAction::kDeny,
                             .each_rule = [](Rule& rule) {
                               if (rule.text == "198.51.100.18") rule.limits.up_bytes = 1ULL << 40;
                             }};
  Relaying stream(options);
  stream.turn_bulk();
  EXPECT_EQ(stream.world.relays.handed_over, 1U);
  stream.connect(40001, "198.51.100.18:80");
  stream.turn_bulk();
  EXPECT_EQ(stream.world.relays.handed_over, 1U);
}

TEST(HandOver, NeverHappensBeforeTheFirstFlightIsJudged) {
  Relaying stream({.allow = {"198.51.100.17"},
                   .default_action = DefaultAction::kDeny,
                   .each_rule = [](Rule& rule) { rule.needs_tls = true; }});
  stream.turn_bulk();  // a server that speaks first
  stream.turn_bulk();
  EXPECT_FALSE(stream.is_relayed());
  EXPECT_EQ(stream.at(stream.guest).written, 2 * (kBulkStream + 1));
  stream.world.says(stream.guest, "this is no TLS at all, and never will be one");
  stream.world.advance(1s);
  EXPECT_EQ(stream.world.events.flows.back().end, FlowEnd::kRevoked);
}

WorldOptions names_and_relays() {
  WorldOptions with = options();
  with.relayed_streams = 10;
  return with;
}

TEST(HandOver, IsForTlsByNameOnceBothHellosHavePassed) {
  Flight flight(names_and_relays());
  flight.guest_says(hello_to("ok.example"));
  EXPECT_EQ(flight.world.relays.handed_over, 0U);
  flight.host_says(server_hello());
  flight.world.arrives(flight.host, kBulkStream);
  EXPECT_EQ(flight.world.relays.handed_over, 1U);
}

TEST(HandOver, NeverHappensToPlainHttpByNameWhoseEveryRequestIsJudged) {
  Flight flight(names_and_relays(), 80);
  flight.guest_says(request("ok.example"));
  flight.world.arrives(flight.host, 2 * kBulkStream);
  flight.guest_says(request("ok.example"));
  EXPECT_EQ(flight.host_heard(), request("ok.example") + request("ok.example"));
  // Nor to what is left of it when one was refused.
  flight.guest_says(request("evil.example"));
  flight.world.arrives(flight.host, 2 * kBulkStream);
  flight.world.fin_arrives(flight.host);
  EXPECT_EQ(flight.world.relays.handed_over, 0U);
  EXPECT_NE(flight.guest_heard().find("HTTP/1.1 403 Forbidden\r\n"), std::string::npos);
}

TEST(RelayedStream, EndsInPeaceWithItsLastCounts) {
  Relayed stream;
  stream.world.relay_moves(1000, 2000);
  stream.world.relay_finishes(RelayNews::Kind::kClosed);
  EXPECT_EQ(stream.world.translator.flows(), 0U);
  const FlowReport& report = stream.world.events.flows.back();
  EXPECT_EQ(report.end, FlowEnd::kClosed);
  EXPECT_EQ(report.bytes_up, 1000U);
  EXPECT_EQ(report.bytes_down, kBulkStream + 2000);
}

TEST(RelayedStream, EndsByAReset) {
  Relayed stream;
  stream.world.relay_finishes(RelayNews::Kind::kReset);
  EXPECT_EQ(stream.world.translator.flows(), 0U);
  EXPECT_EQ(stream.world.events.flows.back().end, FlowEnd::kReset);
}

TEST(RelayedStream, IsResetByAPolicyThatDeniesItAndNoOther) {
  Relayed stream;
  stream.world.relay_moves(10, 20);
  stream.world.changes_policy({.deny = {"198.51.100.18"}});
  EXPECT_TRUE(stream.is_relayed());
  stream.world.changes_policy({.deny = {"198.51.100.17"}});
  EXPECT_EQ(stream.at(stream.host).end, End::kReset);
  EXPECT_EQ(stream.at(stream.guest).end, End::kReset);
  EXPECT_EQ(stream.world.translator.flows(), 0U);
  EXPECT_EQ(stream.world.events.denials.size(), 1U);
  const FlowReport& report = stream.world.events.flows.back();
  EXPECT_EQ(report.end, FlowEnd::kRevoked);
  EXPECT_EQ(report.bytes_up, 10U);
  EXPECT_EQ(report.bytes_down, kBulkStream + 20);
}

TEST(RelayedStream, IsReplacedByTheGuestsNextConnectionAndNotByARepeatedSyn) {
  World world({.relayed_streams = 10});
  world.guest_sends(Syn().to(kServer).seq(1000));
  world.dial_succeeds();
  (void)world.expect_syn_ack();
  const SocketHandle host = world.host_socket().handle;
  world.arrives(host, kBulkStream);
  world.arrives(host, 1);
  ASSERT_EQ(world.relays.living, 1U);
  world.guest_sends(Syn().to(kServer).seq(1000));
  (void)world.expect_syn_ack();
  EXPECT_EQ(world.relays.living, 1U);
  world.guest_sends(Syn().to(kServer).seq(2000));
  EXPECT_EQ(world.relays.living, 0U);
  EXPECT_EQ(world.sockets.was(host).end, End::kReset);
  EXPECT_EQ(world.host.dialled.size(), 2U);
  // The relay may need a moment to let go of the old one's socket.
  world.script.fails(Call::kAdopt, EADDRNOTAVAIL, 20);
  world.dial_succeeds();
  world.advance(100ms);
  (void)world.expect_syn_ack();
  EXPECT_EQ(world.flow_sockets(), 2U);
}

TEST(RelayedStream, EndsWithTheHostsAddressThatItUses) {
  Relaying stream;
  stream.world.sockets.at(stream.host, "its address").local = endpoint("198.51.100.2:5000");
  stream.turn_bulk();
  stream.world.routes.add_self("198.51.100.2");
  stream.world.host_changes(true);
  stream.world.advance(kLostAddressGrace);
  EXPECT_TRUE(stream.is_relayed()) << "the host has it still";
  stream.world.routes.remove("198.51.100.2");
  stream.world.host_changes(true);
  stream.world.advance(kLostAddressGrace);
  EXPECT_FALSE(stream.is_relayed());
  EXPECT_EQ(stream.world.events.flows.back().end, FlowEnd::kUnreachable);
}

TEST(RelayedStream, IsListedWithItsCountsOfTheMoment) {
  Relayed stream;
  stream.world.relay_moves(123, 456);
  (void)stream.world.translator.list_flows(0);
  ASSERT_EQ(stream.world.events.list.size(), 1U);
  EXPECT_EQ(stream.world.events.list[0].bytes_up, 123U);
  EXPECT_EQ(stream.world.events.list[0].bytes_down, kBulkStream + 456);
}

TEST(RelayedStream, IsForgottenWhenItHasBeenIdleForADay) {
  Relayed stream;
  for (int day = 0; day < 5; ++day) {
    stream.world.advance(24h - 1s);
    stream.world.relay_moves(day % 2, 1 - day % 2);
  }
  EXPECT_TRUE(stream.is_relayed());
  stream.world.advance(24h - 1ms);
  EXPECT_TRUE(stream.is_relayed());
  stream.world.advance(kRelayLook + 1ms);
  EXPECT_FALSE(stream.is_relayed());
  EXPECT_EQ(stream.world.events.flows.back().end, FlowEnd::kTimedOut);
}

TEST(RelayedStream, MakesRoomOnceItHasBeenIdleForLongEnough) {
  Relaying stream({.max_tcp_flows = 2});
  stream.turn_bulk();
  const SocketHandle busy = stream.host;
  const std::uint16_t first = 0;
  stream.connect(40001);
  stream.turn_bulk();
  const SocketHandle idle = stream.host;
  const auto goes_on = [&](Duration time) {
    stream.world.advance(time);
    stream.world.relays.streams.at(first).counts.moved = stream.world.now;
  };
  goes_on(2h);
  stream.world.guest_sends(Syn().to(kServer).from_port(40002));
  EXPECT_EQ(stream.world.relays.living, 2U) << "RFC 5382 REQ-5: not below 2 h 4 min";
  goes_on(4min);
  stream.world.guest_sends(Syn().to(kServer).from_port(40002));
  EXPECT_EQ(stream.world.relays.living, 1U);
  EXPECT_FALSE(stream.world.sockets.is_open(idle));
  EXPECT_TRUE(stream.world.sockets.is_open(busy));
}

TEST(RelayedStream, ComesBackWhenAPolicyGivesItsRuleABudgetAndCountsFromThere) {
  WorldOptions options{.allow = {"198.51.100.17"}, .default_action = DefaultAction::kDeny};
  Relayed stream(options);
  stream.world.relay_moves(1'000'000, 1'000'000);
  stream.world.changes_policy(options);
  EXPECT_FALSE(stream.world.relays.last().is_asked_back);
  options.each_rule = [](Rule& rule) { rule.limits.up_bytes = 100'000; };
  stream.world.changes_policy(options);
  ASSERT_TRUE(stream.world.relays.last().is_asked_back);
  // What it moves until it hears of that counts; what it moved before does not.
  stream.world.relay_moves(30'000, 0);
  stream.world.relay_finishes(RelayNews::Kind::kReturned);
  EXPECT_EQ(stream.world.flow_sockets(), 2U);
  stream.world.arrives(stream.guest, 70'000);
  EXPECT_EQ(stream.at(stream.host).written, 70'000U);
  EXPECT_TRUE(stream.world.events.denials.empty());
  stream.world.arrives(stream.guest, 1);
  EXPECT_EQ(stream.world.events.denials.back().verdict.reason, Reason::kLimit);
  EXPECT_EQ(stream.world.events.flows.back().bytes_up, 1'100'000U);
}

TEST(RelayedStream, CountsForEverybodysBudgetOfALaterPolicy) {
  // One rule has a limit, so octets are counted; the stream's own has none.
  WorldOptions options{.allow = {"198.51.100.17", "198.51.100.18"},
                       .default_action = DefaultAction::kDeny,
                       .each_rule = [](Rule& rule) {
                         if (rule.text == "198.51.100.18") rule.limits.up_bytes = 1;
                       }};
  Relayed stream(options);
  stream.world.relay_moves(40'000, 0);
  options.limits.up_bytes = 100'000;
  stream.world.changes_policy(options);
  stream.world.relay_moves(30'000, 0);
  stream.world.relay_finishes(RelayNews::Kind::kReturned);
  stream.world.arrives(stream.guest, 30'001);
  EXPECT_EQ(stream.at(stream.host).written, 30'000U);
  EXPECT_EQ(stream.world.events.denials.back().verdict.reason, Reason::kLimit);
}

TEST(RelayedStream, ThatComesBackGoesOnWhereItWas) {
  WorldOptions options{.allow = {"198.51.100.17"}, .default_action = DefaultAction::kDeny};
  Relaying stream(options);
  stream.world.fin_arrives(stream.guest);
  stream.turn_bulk();
  options.limits.bytes_per_second = 1ULL << 36;
  stream.world.changes_policy(options);
  // Octets that it has not taken from the source yet, and whose event was the relay's.
  stream.world.sockets.at(stream.host, "octets").unread += 500;
  const std::uint64_t written = stream.at(stream.guest).written;
  stream.world.relay_finishes(RelayNews::Kind::kReturned);
  stream.world.advance(1s);  // until the rate lets them pass
  EXPECT_EQ(stream.at(stream.guest).written, written + 501);
  stream.world.fin_arrives(stream.host);
  EXPECT_EQ(stream.world.events.flows.back().end, FlowEnd::kClosed);
  // Without the limit the next one is handed over as before.
  options.limits = {};
  stream.world.changes_policy(options);
  stream.connect(40001);
  stream.turn_bulk();
  EXPECT_TRUE(stream.is_relayed());
}

TEST(RelayedStream, ThatIsOverWhenItComesBackIsReset) {
  WorldOptions options{.allow = {"198.51.100.17"}, .default_action = DefaultAction::kDeny};
  Relayed stream(options);
  options.limits.up_bytes = 1000;
  stream.world.changes_policy(options);
  // The relay has let go of it already when the next policy ends it.
  stream.world.relays.last().is_on_its_way_back = true;
  stream.world.changes_policy({.deny = {"198.51.100.17"}});
  EXPECT_EQ(stream.world.translator.flows(), 0U);
  EXPECT_EQ(stream.world.flow_sockets(), 2U);
  stream.world.relay_finishes(RelayNews::Kind::kReturned);
  EXPECT_EQ(stream.at(stream.host).end, End::kReset);
  EXPECT_EQ(stream.at(stream.guest).end, End::kReset);
}

TEST(RelayedStream, ThatCannotBeWatchedAgainIsReset) {
  WorldOptions options{.allow = {"198.51.100.17"}, .default_action = DefaultAction::kDeny};
  Relayed stream(options);
  options.limits.up_bytes = 1000;
  stream.world.changes_policy(options);
  stream.world.script.fails(Call::kOwn, ENOSPC);
  stream.world.relay_finishes(RelayNews::Kind::kReturned);
  EXPECT_EQ(stream.at(stream.host).end, End::kReset);
  EXPECT_EQ(stream.at(stream.guest).end, End::kReset);
  EXPECT_EQ(stream.world.translator.flows(), 0U);
}

TEST(RelayedStream, HearsNothingOfEventsOfTheTurnInWhichItWasHandedOver) {
  Relaying stream;
  const SocketOwner owner = stream.at(stream.guest).owner;
  stream.turn_bulk();
  const Readiness everything{.is_readable = true, .is_writable = true, .has_error = true};
  EXPECT_FALSE(stream.world.translator.on_socket(stream.world.now, owner, everything));
  EXPECT_TRUE(stream.is_relayed());
}

}  // namespace
}  // namespace cordon::world
