// The stream and its ends (RFC 9293 section 3.6): FIN is passed on as FIN, RST as RST, a half that
// is open stays open, and no end is ever seen that the other side did not mean.
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/world/world.h"

namespace cordon::world {
namespace {

constexpr const char* kServer = "198.51.100.17:80";

struct Stream {
  explicit Stream(const WorldOptions& options = {}) : world(options) {
    world.guest_connects(kServer);
    host = world.host_socket().handle;
    guest = world.guest_socket().handle;
  }
  [[nodiscard]] const FakeSocket& at(SocketHandle socket) const {
    return world.sockets.was(socket);
  }
  [[nodiscard]] FlowEnd end() const {
    EXPECT_EQ(world.events.flows.size(), 2U);
    return world.events.flows.back().end.value_or(FlowEnd::kTimedOut);
  }

  World world;
  SocketHandle host;
  SocketHandle guest;
};

// How each side goes, and in which order.
enum class Leaves { kStays, kFin, kReset };
struct CloseRow {
  const char* name;
  Leaves host;
  Leaves guest;
  bool is_guest_first;
  End host_end;
  End guest_end;
};

constexpr CloseRow kCloseRows[] = {
    {"NobodyLeaves", Leaves::kStays, Leaves::kStays, false, End::kOpen, End::kOpen},
    {"HostFin", Leaves::kFin, Leaves::kStays, false, End::kOpen, End::kOpen},
    {"GuestFin", Leaves::kStays, Leaves::kFin, true, End::kOpen, End::kOpen},
    {"HostFinThenGuestFin", Leaves::kFin, Leaves::kFin, false, End::kClosed, End::kClosed},
    {"GuestFinThenHostFin", Leaves::kFin, Leaves::kFin, true, End::kClosed, End::kClosed},
    {"HostReset", Leaves::kReset, Leaves::kStays, false, End::kReset, End::kReset},
    {"GuestReset", Leaves::kStays, Leaves::kReset, true, End::kReset, End::kReset},
    {"HostFinThenGuestReset", Leaves::kFin, Leaves::kReset, false, End::kReset, End::kReset},
    {"GuestFinThenHostReset", Leaves::kReset, Leaves::kFin, true, End::kReset, End::kReset},
    {"HostResetThenGuestFin", Leaves::kReset, Leaves::kFin, false, End::kReset, End::kReset},
    {"GuestResetThenHostFin", Leaves::kFin, Leaves::kReset, true, End::kReset, End::kReset},
    {"HostResetThenGuestReset", Leaves::kReset, Leaves::kReset, false, End::kReset, End::kReset},
    {"GuestResetThenHostReset", Leaves::kReset, Leaves::kReset, true, End::kReset, End::kReset},
};

class TcpClose : public testing::TestWithParam<CloseRow> {};

TEST_P(TcpClose, PassesEachEndOn) {
  const CloseRow& row = GetParam();
  Stream stream;
  const auto leave = [&](SocketHandle socket, Leaves how) {
    if (!stream.world.sockets.is_open(socket)) return;
    if (how == Leaves::kFin) stream.world.fin_arrives(socket);
    if (how == Leaves::kReset) stream.world.reset_arrives(socket);
  };
  if (row.is_guest_first) leave(stream.guest, row.guest);
  leave(stream.host, row.host);
  if (!row.is_guest_first) leave(stream.guest, row.guest);

  EXPECT_EQ(stream.at(stream.host).end, row.host_end);
  EXPECT_EQ(stream.at(stream.guest).end, row.guest_end);
  // A FIN reaches the other side as a FIN (close() says the last one), a reset never as one.
  const bool is_orderly = row.host_end != End::kReset;
  if (is_orderly && row.host == Leaves::kFin) {
    EXPECT_TRUE(stream.at(stream.guest).has_fin_gone || row.guest_end == End::kClosed);
  }
  if (row.host == Leaves::kStays && row.guest == Leaves::kStays) {
    EXPECT_FALSE(stream.at(stream.guest).has_fin_gone);
    EXPECT_FALSE(stream.at(stream.host).has_fin_gone);
  }
  const bool is_over = row.host_end != End::kOpen;
  EXPECT_EQ(stream.world.translator.flows(), is_over ? 0U : 1U);
  EXPECT_EQ(stream.world.flow_sockets(), is_over ? 0U : 2U);
  if (is_over) {
    EXPECT_EQ(stream.end(), row.host_end == End::kReset ? FlowEnd::kReset : FlowEnd::kClosed);
  }
  stream.world.expect_nothing();  // the kernel's sockets say it all
}

INSTANTIATE_TEST_SUITE_P(Matrix, TcpClose, testing::ValuesIn(kCloseRows),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(TcpHalfClose, HostFinThenGuestDataForAMinuteArrives) {
  Stream stream;
  stream.world.fin_arrives(stream.host);
  EXPECT_TRUE(stream.at(stream.guest).has_fin_gone);
  for (int i = 0; i < 60; ++i) {
    stream.world.advance(1s);
    stream.world.arrives(stream.guest, 1000);
  }
  EXPECT_EQ(stream.at(stream.host).written, 60000U);
  EXPECT_FALSE(stream.at(stream.host).has_fin_gone);
  stream.world.fin_arrives(stream.guest);
  EXPECT_EQ(stream.end(), FlowEnd::kClosed);
}

TEST(TcpHalfClose, GuestFinThenHostDataForAMinuteArrives) {
  Stream stream;
  stream.world.fin_arrives(stream.guest);
  EXPECT_TRUE(stream.at(stream.host).has_fin_gone);
  for (int i = 0; i < 60; ++i) {
    stream.world.advance(1s);
    stream.world.arrives(stream.host, 1000);
  }
  EXPECT_EQ(stream.at(stream.guest).written, 60000U);
  stream.world.fin_arrives(stream.host);
  EXPECT_EQ(stream.end(), FlowEnd::kClosed);
}

TEST(TcpHalfClose, StaysWhileQuietForLongerThan240Seconds) {
  Stream stream;
  stream.world.fin_arrives(stream.guest);
  stream.world.advance(23h);
  EXPECT_EQ(stream.world.flow_sockets(), 2U);
  stream.world.arrives(stream.host, 10);
  EXPECT_EQ(stream.at(stream.guest).written, 10U);
}

TEST(TcpStream, DataAndFinTogetherArriveInThatOrder) {
  Stream stream;
  stream.world.sockets.at(stream.host, "data").unread = 5000;
  stream.world.fin_arrives(stream.host);
  EXPECT_EQ(stream.at(stream.guest).written, 5000U);
  EXPECT_TRUE(stream.at(stream.guest).has_fin_gone);
}

TEST(TcpStream, RequestsAreCopiedHoweverMuchHasGoneBeforeThem) {
  Stream stream;
  stream.world.arrives(stream.guest, 100'000);
  const std::size_t before = stream.world.streams.small_moves;
  stream.world.arrives(stream.guest, 64);  // the turn before it was large
  EXPECT_EQ(stream.world.streams.small_moves, before);
  stream.world.arrives(stream.guest, 64);
  EXPECT_EQ(stream.world.streams.small_moves, before + 1);
  stream.world.arrives(stream.host, 64);  // the other way has been small all the time
  EXPECT_EQ(stream.world.streams.small_moves, before + 2);
  EXPECT_EQ(stream.at(stream.host).written, 100'128U);
}

TEST(TcpStream, WhatTheHostSaidBeforeTheAdoptionArrives) {
  World world;
  world.script.fails(Call::kAdopt, ENOBUFS, 2);
  world.guest_sends(Syn().to("198.51.100.17:25"));
  world.dial_succeeds();
  world.arrives(world.host_socket().handle, 220);  // a greeting; its only event comes too early
  world.advance(10ms);
  (void)world.expect_syn_ack();
  EXPECT_EQ(world.guest_socket().written, 220U);
}

TEST(TcpStream, AHostThatHungUpBeforeTheAdoptionReachesTheGuest) {
  World world;
  world.script.fails(Call::kAdopt, ENOBUFS, 2);
  world.guest_sends(Syn().to("198.51.100.17:25"));
  world.dial_succeeds();
  world.sockets.at(world.host_socket().handle, "data").unread = 100;
  world.fin_arrives(world.host_socket().handle);
  world.advance(10ms);
  (void)world.expect_syn_ack();
  EXPECT_EQ(world.guest_socket().written, 100U);
  EXPECT_TRUE(world.guest_socket().has_fin_gone);
}

TEST(TcpStream, AHostThatResetBeforeTheAdoptionResetsTheGuest) {
  World world;
  world.script.fails(Call::kAdopt, ENOBUFS, 2);
  world.guest_sends(Syn().to("198.51.100.17:25"));
  world.dial_succeeds();
  world.reset_arrives(world.host_socket().handle);
  world.advance(10ms);
  (void)world.expect_syn_ack();
  EXPECT_EQ(world.guest_socket().end, End::kReset);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(TcpStream, MoreThanOneTurnsBudgetGoesOnByItself) {
  Stream stream;
  stream.world.arrives(stream.host, 64ULL * 1024 * 1024);  // one event, many budgets
  EXPECT_EQ(stream.at(stream.guest).written, 64ULL * 1024 * 1024);
}

TEST(TcpStream, ABulkFlowLeavesOthersTheirTurn) {
  Stream stream;
  FakeSocket& host = stream.world.sockets.at(stream.host, "data");
  host.unread = 64ULL * 1024 * 1024;
  stream.world.translator.on_socket(stream.world.now, host.owner, Readiness{.is_readable = true});
  EXPECT_LT(stream.at(stream.guest).written, 16ULL * 1024 * 1024);
  EXPECT_LE(stream.world.translator.next_deadline(), stream.world.now);
}

TEST(TcpStream, AFullSinkWaitsUntilItHasRoom) {
  Stream stream;
  stream.world.sockets.at(stream.guest, "room").room = 1000;
  stream.world.arrives(stream.host, 5000);
  EXPECT_EQ(stream.at(stream.guest).written, 1000U);
  const std::size_t moves = stream.world.streams.moves;
  stream.world.arrives(stream.host, 5000);  // more to read, but nowhere to put it
  EXPECT_EQ(stream.world.streams.moves, moves);
  stream.world.advance(30s);
  stream.world.has_room(stream.guest, 7000);
  EXPECT_EQ(stream.at(stream.guest).written, 8000U);
  stream.world.has_room(stream.guest, 1 << 20);
  EXPECT_EQ(stream.at(stream.guest).written, 10000U);
  EXPECT_EQ(stream.world.streams.holds, 0U);
}

TEST(TcpStream, AFinBehindAFullSinkWaitsForTheOctetsBeforeIt) {
  Stream stream;
  stream.world.sockets.at(stream.guest, "room").room = 1000;
  stream.world.arrives(stream.host, 5000);
  stream.world.fin_arrives(stream.guest);
  stream.world.fin_arrives(stream.host);
  EXPECT_EQ(stream.at(stream.guest).end, End::kOpen);
  EXPECT_FALSE(stream.at(stream.guest).has_fin_gone);
  stream.world.has_room(stream.guest, 1 << 20);
  EXPECT_EQ(stream.at(stream.guest).written, 5000U);
  EXPECT_EQ(stream.at(stream.guest).end, End::kClosed);
  EXPECT_EQ(stream.end(), FlowEnd::kClosed);
}

TEST(TcpStream, AResetWithAFullSinkGivesThePipeBack) {
  Stream stream;
  stream.world.sockets.at(stream.guest, "room").room = 1000;
  stream.world.arrives(stream.host, 5000);
  EXPECT_EQ(stream.world.streams.holds, 1U);
  stream.world.reset_arrives(stream.guest);
  EXPECT_EQ(stream.world.streams.holds, 0U);
  EXPECT_EQ(stream.at(stream.host).end, End::kReset);
}

TEST(TcpStream, BothWaysAtOnceAreCounted) {
  Stream stream;
  stream.world.arrives(stream.host, 70000);
  stream.world.arrives(stream.guest, 30000);
  stream.world.fin_arrives(stream.guest);
  stream.world.fin_arrives(stream.host);
  ASSERT_EQ(stream.world.events.flows.size(), 2U);
  EXPECT_FALSE(stream.world.events.flows[0].end);
  EXPECT_EQ(stream.world.events.flows[1].bytes_up, 30000U);
  EXPECT_EQ(stream.world.events.flows[1].bytes_down, 70000U);
  EXPECT_EQ(stream.world.events.flows[1].request.dialled, endpoint(kServer));
}

TEST(TcpStream, EveryErrorOfASocketEndsItWithAReset) {
  for (const int error : {ECONNRESET, ETIMEDOUT, EPIPE, EHOSTUNREACH, ENETUNREACH, EPROTO}) {
    for (const bool is_host : {true, false}) {
      Stream stream;
      stream.world.reset_arrives(is_host ? stream.host : stream.guest, error);
      EXPECT_EQ(stream.at(stream.host).end, End::kReset);
      EXPECT_EQ(stream.at(stream.guest).end, End::kReset);
    }
  }
}

TEST(TcpStream, ABrokenSinkEndsIt) {
  Stream stream;
  stream.world.sockets.at(stream.guest, "break").error = EPIPE;
  stream.world.arrives(stream.host, 10);
  EXPECT_EQ(stream.at(stream.host).end, End::kReset);
  EXPECT_EQ(stream.world.flow_sockets(), 0U);
}

TEST(TcpStream, EventsOfAFlowThatIsGoneAreHarmless) {
  Stream stream;
  const SocketOwner host = stream.at(stream.host).owner;
  const SocketOwner guest = stream.at(stream.guest).owner;
  stream.world.reset_arrives(stream.host);
  const Readiness everything{.is_readable = true, .is_writable = true, .has_error = true};
  for (const SocketOwner& owner : {host, guest}) {
    EXPECT_FALSE(stream.world.translator.on_socket(stream.world.now, owner, everything));
  }
  // The slot's next flow is not theirs either.
  stream.world.guest_connects(kServer, 40001);
  ASSERT_EQ(stream.world.host_socket().owner.index, host.index);
  for (const SocketOwner& owner : {host, guest}) {
    EXPECT_FALSE(stream.world.translator.on_socket(stream.world.now, owner, everything));
  }
  EXPECT_EQ(stream.world.flow_sockets(), 2U);
}

TEST(TcpStream, SurvivesEventsWithoutCause) {
  Stream stream;
  for (int i = 0; i < 100; ++i) {
    stream.world.is_ready(stream.host, Readiness{.is_readable = true, .is_writable = true});
    stream.world.is_ready(stream.guest, Readiness{.is_readable = true, .is_writable = true});
    stream.world.is_ready(stream.guest, Readiness{});
  }
  EXPECT_EQ(stream.world.flow_sockets(), 2U);
}

TEST(TcpStream, IdleForADayIsForgottenAndNotAMillisecondEarlier) {
  Stream stream;
  stream.world.advance(kTcpYoung);  // from here on its idleness counts
  stream.world.advance(24h - 1ms);
  EXPECT_EQ(stream.world.flow_sockets(), 2U);
  stream.world.advance(1ms);
  EXPECT_EQ(stream.world.flow_sockets(), 0U);
  EXPECT_EQ(stream.end(), FlowEnd::kTimedOut);
  EXPECT_EQ(stream.at(stream.host).end, End::kReset);
}

TEST(TcpStream, AnOctetADayKeepsItAlive) {
  Stream stream;
  for (int day = 0; day < 30; ++day) {
    stream.world.advance(24h - 1s);
    stream.world.arrives(day % 2 == 0 ? stream.host : stream.guest, 1);
  }
  EXPECT_EQ(stream.world.flow_sockets(), 2U);
}

TEST(TcpStream, TheSameTupleConnectsTenThousandTimesWithoutAReset) {
  World world({.reports_flows = false});
  world.sockets.forget_ended();
  for (int i = 0; i < 10000; ++i) {
    world.guest_sends(Syn().to(kServer).seq(static_cast<std::uint32_t>(i) * 100000));
    world.dial_succeeds();
    (void)world.expect_syn_ack();
    const SocketHandle host = world.host_socket().handle;
    const SocketHandle guest = world.guest_socket().handle;
    world.fin_arrives(i % 2 == 0 ? host : guest);
    world.fin_arrives(i % 2 == 0 ? guest : host);
    world.advance(1ms);
  }
  world.expect_nothing();
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(TcpKeepAlive, IsForStreamsThatLive) {
  Stream stream;
  stream.world.advance(kTcpYoung - 1ms);
  EXPECT_EQ(stream.at(stream.host).keep_alive, 0s);
  EXPECT_EQ(stream.at(stream.guest).keep_alive, 0s);
  stream.world.advance(1ms);
  EXPECT_EQ(stream.at(stream.host).keep_alive, kTcpKeepAlive);
  EXPECT_EQ(stream.at(stream.guest).keep_alive, kTcpGuestKeepAlive);
}

TEST(TcpKeepAlive, ComesInTimeHoweverBusyTheStream) {
  Stream stream;
  for (int i = 0; i < 20; ++i) {
    stream.world.advance(kTcpYoung / 20);
    stream.world.arrives(stream.host, 100);
  }
  EXPECT_EQ(stream.at(stream.host).keep_alive, kTcpKeepAlive);
}

TEST(TcpKeepAlive, FindsThePeerOfAHalfClosedStreamGoneToo) {
  Stream stream;
  stream.world.fin_arrives(stream.host);
  stream.world.advance(kTcpYoung);
  EXPECT_EQ(stream.at(stream.host).keep_alive, kTcpKeepAlive);
  EXPECT_EQ(stream.at(stream.guest).keep_alive, kTcpGuestKeepAlive);
}

}  // namespace
}  // namespace cordon::world
