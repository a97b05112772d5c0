// What gives way when there is too much (reliability: limits and the order of eviction).
#include <cerrno>

#include <gtest/gtest.h>

#include "netstack/flow/limits.h"
#include "tests/world/many_streams.h"
#include "tests/world/world.h"

namespace cordon::world {
namespace {

std::string server(int number, int port = 80) {
  return "198.51.100." + std::to_string(number) + ":" + std::to_string(port);
}

TEST(TcpHalfOpen, IsLimitedForOneAddress) {
  World world({.max_tcp_flows = 8192});
  for (std::uint16_t i = 0; i < 300; ++i) {
    world.guest_sends(Syn().to("198.51.100.17:80").from_port(10000 + i));
  }
  EXPECT_EQ(world.flow_sockets(), kMaxHalfOpenPerAddress);
  EXPECT_EQ(world.drops(Drop::kHalfOpenLimit), 300 - kMaxHalfOpenPerAddress);
  world.expect_nothing();
  // Another address has its own room, at once.
  world.guest_sends(Syn().to("198.51.100.18:80"));
  world.dial_succeeds();
  (void)world.expect_syn_ack();
}

TEST(TcpHalfOpen, OfOneAddressHasRoomAgainAsDialsEnd) {
  World world({.max_tcp_flows = 8192});
  std::vector<SocketHandle> dials;
  for (std::uint16_t i = 0; i < kMaxHalfOpenPerAddress; ++i) {
    world.guest_sends(Syn().to("198.51.100.17:80").from_port(10000 + i));
    dials.push_back(world.host_socket().handle);
  }
  // Each way out of the dial makes room for one.
  world.dial_succeeds(dials[0]);
  world.dial_fails(dials[1], ECONNREFUSED);
  world.dial_fails(dials[2], ETIMEDOUT);
  world.guest_sends(Syn().to("198.51.100.17:80").from_port(10003).seq(5));  // replaces its own
  for (std::uint16_t i = 0; i < 5; ++i) {
    world.guest_sends(Syn().to("198.51.100.17:80").from_port(20000 + i));
  }
  EXPECT_EQ(world.drops(Drop::kHalfOpenLimit), 2U);
  world.advance(131s);
  EXPECT_EQ(world.translator.flows(), 1U);
  for (std::uint16_t i = 0; i < kMaxHalfOpenPerAddress; ++i) {
    world.guest_sends(Syn().to("198.51.100.17:80").from_port(30000 + i));
  }
  EXPECT_EQ(world.drops(Drop::kHalfOpenLimit), 2U);
}

TEST(TcpHalfOpen, InAllTakesAQuarterOfTheTableAndTheOldestGivesWay) {
  World world({.max_tcp_flows = 400});
  for (int i = 0; i < 100; ++i) world.guest_sends(Syn().to(server(1 + i)));
  EXPECT_EQ(world.flow_sockets(), 100U);
  const SocketHandle last = world.host_socket().handle;
  world.advance(499ms);
  world.guest_sends(Syn().to(server(200)));
  EXPECT_EQ(world.drops(Drop::kHalfOpenLimit), 1U);
  world.advance(1ms);
  world.guest_sends(Syn().to(server(200)));
  EXPECT_EQ(world.drops(Drop::kHalfOpenLimit), 1U);
  EXPECT_EQ(world.flow_sockets(), 100U);
  EXPECT_TRUE(world.sockets.is_open(last));
  EXPECT_EQ(world.host_socket().remote, endpoint(server(200)));
}

TEST(TcpHalfOpen, ClientsThatTheGuestDoesNotAcceptTakeAQuarterOfTheTable) {
  World world({.published_tcp = {80}, .max_tcp_flows = 400});
  for (std::uint16_t i = 0; i < 150; ++i) {
    world.client_connects("198.51.100.200:" + std::to_string(5000 + i));
  }
  EXPECT_EQ(world.flow_sockets(), 200U);  // two for each of a hundred
  EXPECT_EQ(world.drops(Drop::kFlowLimit), 50U);
  // What the guest itself dials has its room.
  world.guest_sends(Syn().to(server(17)));
  world.dial_succeeds();
  (void)world.expect_syn_ack();
  // One that has waited for half a second gives way to a newer one.
  world.advance(501ms);
  world.client_connects("198.51.100.200:6000");
  EXPECT_EQ(world.drops(Drop::kFlowLimit), 50U);
  world.guest_accepts();
  EXPECT_EQ(world.translator.flows(), 101U);
  world.advance(7s);  // RFC 5382 REQ-4
  EXPECT_EQ(world.translator.flows(), 2U);
}

TEST(TcpHalfOpen, ABlackHoleDoesNotKeepAGoodConnectWaiting) {
  World world({.max_tcp_flows = 8192});
  for (std::uint16_t i = 0; i < 1000; ++i) {
    world.guest_sends(Syn().to("198.51.100.66:80").from_port(1000 + i));
  }
  world.guest_sends(Syn().to("198.51.100.17:80"));
  world.dial_succeeds();
  (void)world.expect_syn_ack();
}

TEST(NewFlows, ToOneAddressAreLimitedBySecond) {
  World world({.max_tcp_flows = 32768});
  std::size_t begun = 0;
  for (std::uint32_t i = 0; i < kNewFlowsBurst + 2000; ++i) {
    world.script.fails(Call::kDial, ECONNREFUSED);
    world.guest_sends(Syn().to("198.51.100.17:" + std::to_string(1024 + i)));
    begun = world.host.dialled.size();
  }
  EXPECT_EQ(begun, kNewFlowsBurst);
  EXPECT_EQ(world.drops(Drop::kDestinationRate), 2000U);
  world.guest_sends(Syn().to("198.51.100.18:80"));
  EXPECT_EQ(world.host.dialled.size(), begun + 1);
  world.advance(1s);
  for (std::uint32_t i = 0; i < kNewFlowsPerSecond + 2000; ++i) {
    world.script.fails(Call::kDial, ECONNREFUSED);
    world.guest_sends(Syn().to("198.51.100.17:" + std::to_string(1024 + i)));
  }
  EXPECT_EQ(world.host.dialled.size(), begun + 1 + kNewFlowsPerSecond);
}

// A table of eight, filled with a dial, half-closed and established streams; who goes first.
struct FullTable {
  FullTable() : world({.max_tcp_flows = 8}) {
    for (int i = 0; i < 7; ++i) {
      world.guest_connects(server(1 + i));
      hosts.push_back(world.host_socket().handle);
      guests.push_back(world.guest_socket().handle);
    }
  }
  // The eighth stays a dial.
  void dial() { world.guest_sends(Syn().to(server(8))); }
  void half_close(std::size_t i) { world.fin_arrives(guests.at(i)); }
  void one_more(int number) { world.guest_sends(Syn().to(server(number))); }
  [[nodiscard]] bool is_alive(std::size_t i) const { return world.sockets.is_open(hosts.at(i)); }

  World world;
  std::vector<SocketHandle> hosts;
  std::vector<SocketHandle> guests;
};

TEST(TcpTableFull, ADialOlderThanHalfASecondGoesFirst) {
  FullTable table;
  table.half_close(0);
  table.dial();
  const SocketHandle dial = table.world.host_socket().handle;
  table.world.advance(8000s);
  // That dial has long timed out; a fresh one, then one more.
  EXPECT_FALSE(table.world.sockets.is_open(dial));
  table.dial();
  const SocketHandle fresh = table.world.host_socket().handle;
  table.world.advance(501ms);
  table.one_more(100);
  EXPECT_FALSE(table.world.sockets.is_open(fresh));
  EXPECT_TRUE(table.is_alive(0));
  EXPECT_TRUE(table.is_alive(1));
}

TEST(TcpTable, HoldsThirtyThousandStreamsAndOpensTheNextOne) {
  World world({.reports_flows = false, .max_tcp_flows = kMaxFlows});
  connect_thirty_thousand(world);
  EXPECT_EQ(world.flow_sockets(), 60000U);
  world.advance(10s);
  world.guest_connects("198.51.100.250:80", 40000);
  world.arrives(world.host_socket().handle, 1000);
  EXPECT_EQ(world.guest_socket().written, 1000U);
  EXPECT_EQ(world.flow_sockets(), 60002U);
}

TEST(TcpTableFull, AHalfClosedFlowGoesBeforeAnEstablishedOne) {
  FullTable table;
  table.world.guest_connects(server(8));
  table.world.advance(7440s);
  table.half_close(3);
  table.world.advance(240s);
  table.world.guest_sends(Syn().to(server(100)));
  EXPECT_FALSE(table.is_alive(3));
  EXPECT_TRUE(table.is_alive(0));
  EXPECT_EQ(table.world.translator.flows(), 8U);
}

TEST(TcpTableFull, AnEstablishedFlowIdleFor7440SecondsGoesLast) {  // RFC 5382 REQ-5
  FullTable table;
  table.world.guest_connects(server(8));
  table.world.advance(kTcpYoung);  // from here on its idleness counts
  table.world.advance(7440s - 1ms);
  table.one_more(100);
  EXPECT_EQ(table.world.drops(Drop::kFlowLimit), 1U);
  EXPECT_EQ(table.world.events.count(Notice::kFlowLimit), 1U);
  table.world.expect_nothing();  // silence: the guest tries again
  table.world.advance(1ms);
  table.one_more(100);
  EXPECT_FALSE(table.is_alive(0));
  EXPECT_TRUE(table.is_alive(1));
}

TEST(TcpTableFull, AnActiveFlowIsNeverTaken) {
  FullTable table;
  table.world.guest_connects(server(8));
  for (int hour = 0; hour < 10; ++hour) {
    table.world.advance(1h);
    for (std::size_t i = 0; i < 7; ++i) table.world.arrives(table.hosts[i], 10);
    table.world.arrives(table.world.host_socket().handle, 10);
    table.one_more(100 + hour);
  }
  EXPECT_EQ(table.world.drops(Drop::kFlowLimit), 10U);
  EXPECT_EQ(table.world.flow_sockets(), 16U);
}

TEST(TcpTableFull, AClientOfAPublishedPortIsReset) {
  World world({.published_tcp = {80}, .max_tcp_flows = 1});
  world.guest_connects(server(1));
  world.client_connects("198.51.100.200:5000");
  EXPECT_EQ(world.host_socket().end, End::kReset);
  EXPECT_EQ(world.flow_sockets(), 2U);
}

}  // namespace
}  // namespace cordon::world
