// The host moves: addresses come and go while flows live.
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/world/world.h"

namespace cordon::world {
namespace {

TEST(HostChange, AnAddressThatBecameTheHostsOwnLosesItsFlows) {
  World world({.published_tcp = {80}, .published_udp = {53530}});
  world.guest_connects("198.51.100.17:80");
  const SocketHandle doomed_host = world.host_socket().handle;
  const SocketHandle doomed_guest = world.guest_socket().handle;
  world.guest_sends(Syn().to("198.51.100.17:81"));
  const SocketHandle doomed_dial = world.host_socket().handle;
  world.guest_sends(Udp().to("198.51.100.17:4000"));
  world.guest_sends(Ping().to("198.51.100.17"));
  world.guest_connects("198.51.100.18:80", 40001);
  const SocketHandle safe = world.host_socket().handle;
  world.routes.add_self("198.51.100.17");
  world.host_changes();
  EXPECT_EQ(world.sockets.was(doomed_host).end, End::kReset);
  EXPECT_EQ(world.sockets.was(doomed_guest).end, End::kReset);
  EXPECT_FALSE(world.sockets.is_open(doomed_dial));
  EXPECT_TRUE(world.sockets.is_open(safe));
  EXPECT_EQ(world.translator.flows(), 1U);
  EXPECT_EQ(world.events.denials.size(), 4U);
  for (const Denial& denial : world.events.denials) {
    EXPECT_EQ(denial.request.address_class, AddressClass::kSelf);
  }
  // The dial's guest is told, or it would wait for its next SYN.
  (void)world.expect_reset();
  world.expect_nothing();
}

TEST(HostsAddresses, AreItsOwnInsideAnotherAddressToo) {  // RFC 6052, RFC 3056
  World world;
  world.routes.add_self("198.51.100.2");
  for (const char* wrapped : {"[64:ff9b::198.51.100.2]:80", "[2002:c633:6402::1]:80"}) {
    world.guest_sends(Syn().to(wrapped));
    (void)world.expect_reset();
    EXPECT_EQ(world.events.denials.back().request.address_class, AddressClass::kSelf) << wrapped;
  }
  EXPECT_TRUE(world.host.dialled.empty());
  world.guest_sends(Syn().to("[64:ff9b::198.51.100.17]:80"));
  EXPECT_EQ(world.host.dialled.size(), 1U);
}

TEST(HostChange, IsWorkedThroughInPiecesHoweverManyFlowsThereAre) {
  World world({.reports_flows = false, .max_tcp_flows = 4096});
  for (std::uint16_t i = 0; i < 2000; ++i) {
    world.guest_connects("198.51.100.17:80", 1000 + i);
  }
  for (std::uint16_t i = 0; i < 2000; ++i) {
    world.guest_sends(Udp().to("198.51.100.17:4000").from_port(1000 + i));
  }
  world.routes.add_self("198.51.100.17");
  world.translator.on_host_change(world.now, false);
  const std::size_t before = world.translator.flows();
  world.translator.on_deadline(world.now);
  EXPECT_LE(before - world.translator.flows(), 256U);
  EXPECT_LE(world.translator.next_deadline(), world.now);
  world.advance(0s);
  EXPECT_EQ(world.translator.flows(), 0U);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(HostChange, AClientThatBecameDeniedLosesItsConnection) {
  World world({.deny = {"@self"}, .published_tcp = {80}});
  world.client_connects("198.51.100.200:5000");
  world.guest_accepts();
  EXPECT_EQ(world.flow_sockets(), 2U);
  world.routes.add_self("198.51.100.200");
  world.host_changes();
  EXPECT_EQ(world.flow_sockets(), 0U);
  EXPECT_EQ(world.host_socket().end, End::kReset);
}

TEST(HostChange, WithoutConsequenceDisturbsNobody) {
  World world;
  world.guest_connects("198.51.100.17:80");
  world.host_socket().local = endpoint("198.51.100.1:55555");
  world.routes.add_self("198.51.100.1");
  for (int i = 0; i < 50; ++i) {
    world.routes.set("198.51.100.99", {.prefix_length = static_cast<std::uint8_t>(i % 32)});
    world.host_changes(i % 2 == 0);
    world.advance(1s);
  }
  EXPECT_EQ(world.flow_sockets(), 2U);
  EXPECT_TRUE(world.events.denials.empty());
}

TEST(HostAddressLost, ResetsItsFlowsAfterFiveSecondsOfGrace) {
  World world;
  world.routes.add_self("198.51.100.1");
  world.routes.add_self("198.51.100.2");
  world.guest_connects("198.51.100.17:80");
  world.host_socket().local = endpoint("198.51.100.1:55555");
  const SocketHandle doomed = world.host_socket().handle;
  const SocketHandle guest = world.guest_socket().handle;
  world.guest_connects("198.51.100.18:80");
  world.host_socket().local = endpoint("198.51.100.2:55555");
  world.routes.remove("198.51.100.1");
  world.host_changes(true);
  world.advance(5s - 1ms);
  EXPECT_EQ(world.flow_sockets(), 4U);
  world.advance(1ms);
  EXPECT_EQ(world.flow_sockets(), 2U);
  EXPECT_EQ(world.sockets.was(doomed).end, End::kReset);
  EXPECT_EQ(world.sockets.was(guest).end, End::kReset);
}

TEST(HostAddressLost, AndBackWithinTheGraceIsSeenByNobody) {  // a DHCP renewal
  World world;
  world.routes.add_self("198.51.100.1");
  world.guest_connects("198.51.100.17:80");
  world.host_socket().local = endpoint("198.51.100.1:55555");
  world.routes.remove("198.51.100.1");
  world.host_changes(true);
  world.advance(3s);
  world.routes.add_self("198.51.100.1");
  world.host_changes();
  world.advance(1h);
  EXPECT_EQ(world.flow_sockets(), 2U);
}

TEST(HostAddressLost, ADialThatHasNoAddressYetWaits) {
  World world;
  world.guest_sends(Syn().to("198.51.100.17:80"));
  world.host_socket().local = endpoint("0.0.0.0:0");
  world.host_changes(true);
  world.advance(6s);
  EXPECT_EQ(world.flow_sockets(), 1U);
}

TEST(HostChange, DuringTheAdoptionCounts) {
  World world;
  world.script.fails(Call::kAdopt, ENOBUFS, 20);
  world.guest_sends(Syn().to("198.51.100.17:80"));
  world.dial_succeeds();
  world.routes.add_self("198.51.100.17");
  world.host_changes();
  world.advance(1s);
  EXPECT_EQ(world.flow_sockets(), 0U);
  (void)world.expect_reset();
  world.expect_nothing();
}

}  // namespace
}  // namespace cordon::world
