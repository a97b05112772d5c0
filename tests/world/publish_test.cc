// Published TCP ports: a client of the host reaches the guest, seen as who it is.
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/world/world.h"

namespace cordon::world {
namespace {

TEST(PublishedTcp, TheGuestSeesTheClientsOwnAddress) {
  for (const char* client : {"198.51.100.200:5000", "[2001:db8::200]:5000"}) {
    World world({.published_tcp = {8080}});
    world.client_connects(client);
    ASSERT_EQ(world.guest.clients.size(), 1U);
    EXPECT_EQ(world.guest.clients[0], endpoint(client));
    const Family family = endpoint(client).address.family();
    EXPECT_EQ(world.guest_socket().remote,
              (Endpoint{.address = guest_address(family), .port = 8080}));
    world.guest_accepts();
    world.arrives(world.host_socket().handle, 300);
    EXPECT_EQ(world.guest_socket().written, 300U);
    world.arrives(world.guest_socket().handle, 400);
    EXPECT_EQ(world.host_socket().written, 400U);
    world.fin_arrives(world.host_socket().handle);
    world.fin_arrives(world.guest_socket().handle);
    EXPECT_EQ(world.host_socket().end, End::kClosed);
    EXPECT_EQ(world.flow_sockets(), 0U);
    ASSERT_EQ(world.events.flows.size(), 2U);
    EXPECT_EQ(world.events.flows[1].request.direction, Direction::kInbound);
    EXPECT_EQ(world.events.flows[1].request.dialled, endpoint(client));
  }
}

TEST(PublishedTcp, AClientOnTheHostsLoopbackIsTheGateway) {
  World world({.published_tcp = {8080}});
  for (const char* client : {"127.0.0.1:5000", "[::1]:5000"}) {
    world.client_connects(client);
    EXPECT_EQ(world.guest.clients.back().address,
              gateway_address(endpoint(client).address.family()));
    EXPECT_EQ(world.guest.clients.back().port, 5000);
    world.guest_accepts();
  }
  EXPECT_EQ(world.flow_sockets(), 4U);
}

TEST(PublishedTcp, TwoClientsThatLookAlikeInsideGetTwoPorts) {
  World world({.published_tcp = {8080}});
  world.client_connects("127.0.0.1:5000");
  world.guest_accepts();
  world.client_connects("127.0.0.2:5000");
  ASSERT_EQ(world.guest.clients.size(), 2U);
  EXPECT_EQ(world.guest.clients[1].address, gateway_address(Family::kIpv4));
  world.guest_accepts();
  EXPECT_NE(world.guest.clients[1].port, 5000);
  EXPECT_EQ(world.flow_sockets(), 4U);
}

TEST(PublishedTcp, OneClientPortAtTwoPublishedPortsIsTwoConnections) {
  World world({.published_tcp = {8080, 8080}});
  world.client_connects("198.51.100.200:5000", 0);
  world.guest_accepts();
  const SocketHandle first = world.host_socket().handle;
  world.client_connects("198.51.100.200:5000", 1);
  world.guest_accepts();
  EXPECT_TRUE(world.sockets.is_open(first));
  EXPECT_EQ(world.flow_sockets(), 4U);
}

TEST(PublishedTcp, ABurstWaitsForItsSockets) {
  World world({.published_tcp = {8080}});
  world.script.fails(Call::kGuestDial, ENOBUFS, 20);
  world.client_connects("198.51.100.200:5000");
  world.advance(100ms);
  world.guest_accepts();
  EXPECT_EQ(world.flow_sockets(), 2U);
  EXPECT_TRUE(world.events.notices.empty());
}

TEST(PublishedTcp, AFourTupleThatIsTakenInsideGetsAnotherPort) {
  World world({.published_tcp = {8080}});
  world.script.fails(Call::kGuestDial, EADDRNOTAVAIL, 2);
  world.client_connects("198.51.100.200:5000");
  ASSERT_EQ(world.guest.clients.size(), 1U);
  EXPECT_EQ(world.guest.clients[0].address, address("198.51.100.200"));
  world.guest_accepts();
  EXPECT_EQ(world.flow_sockets(), 2U);
}

TEST(PublishedTcp, WhereNoPortIsLeftTheClientIsReset) {
  World world({.published_tcp = {8080}});
  world.script.fails(Call::kGuestDial, EADDRNOTAVAIL, 100);
  world.client_connects("198.51.100.200:5000");
  world.advance(1s);
  EXPECT_EQ(world.host_socket().end, End::kReset);
  EXPECT_EQ(world.translator.flows(), 0U);
  EXPECT_EQ(world.events.count(Notice::kAdoptionFailed), 1U);
}

TEST(PublishedTcp, AGuestThatListensOnItsLoopbackOnlyIsReachedThere) {
  for (const char* client : {"198.51.100.200:5000", "[2001:db8::200]:5000"}) {
    World world({.published_tcp = {8080}});
    world.client_connects(client);
    const SocketHandle refused = world.guest_socket().handle;
    world.guest_refuses();
    EXPECT_FALSE(world.sockets.is_open(refused));
    EXPECT_TRUE(world.guest_socket().remote.address.is_loopback());
    EXPECT_EQ(world.guest_socket().remote.port, 8080);
    EXPECT_EQ(world.guest.clients.back(), endpoint(client));  // seen as who it is there too
    world.guest_accepts();
    EXPECT_EQ(world.flow_sockets(), 2U);
  }
}

TEST(PublishedTcp, AGuestWithoutAListenerResetsTheClient) {
  World world({.published_tcp = {8080}});
  world.client_connects("198.51.100.200:5000");
  world.guest_refuses();
  world.guest_refuses();
  EXPECT_EQ(world.host_socket().end, End::kReset);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(PublishedTcp, AGuestThatDoesNotAnswerIsGivenSixSeconds) {  // RFC 5382 REQ-4
  World world({.published_tcp = {8080}});
  world.client_connects("198.51.100.200:5000");
  world.advance(6s - 1ms);
  EXPECT_EQ(world.flow_sockets(), 2U);
  world.advance(1ms);
  EXPECT_EQ(world.flow_sockets(), 0U);
  EXPECT_EQ(world.host_socket().end, End::kReset);
}

TEST(PublishedTcp, WhatTheClientSaidBeforeTheGuestAcceptedArrives) {
  World world({.published_tcp = {8080}});
  world.client_connects("198.51.100.200:5000");
  const SocketHandle client = world.host_socket().handle;
  world.arrives(client, 500);
  world.fin_arrives(client);
  EXPECT_EQ(world.flow_sockets(), 2U);
  world.guest_accepts();
  EXPECT_EQ(world.guest_socket().written, 500U);
  EXPECT_TRUE(world.guest_socket().has_fin_gone);
}

TEST(PublishedTcp, AClientThatGoesBeforeTheGuestAcceptedIsPassedOn) {
  World world({.published_tcp = {8080}});
  world.client_connects("198.51.100.200:5000");
  world.reset_arrives(world.host_socket().handle);
  world.guest_accepts();
  EXPECT_EQ(world.guest_socket().end, End::kReset);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(PublishedTcp, ADeniedClientIsResetAndTheGuestHearsNothing) {
  World world({.deny = {"198.51.100.200"}, .published_tcp = {8080}});
  world.client_connects("198.51.100.200:5000");
  EXPECT_EQ(world.host_socket().end, End::kReset);
  EXPECT_TRUE(world.guest.clients.empty());
  ASSERT_EQ(world.events.denials.size(), 1U);
  world.client_connects("198.51.100.201:5000");
  world.guest_accepts();
  EXPECT_EQ(world.flow_sockets(), 2U);
}

TEST(PublishedTcp, ALinkLocalClientMeetsTheGuestsLinkLocalAddress) {  // RFC 4007
  World world({.published_tcp = {8080}});
  world.client_connects("[fe80::5]:5000");
  ASSERT_EQ(world.guest.clients.size(), 1U);
  EXPECT_EQ(world.guest.clients[0], endpoint("[fe80::5]:5000"));
  EXPECT_EQ(world.guest_socket().remote, endpoint("[fe80::ff:fe00:2]:8080"));
  world.guest_accepts();
  world.arrives(world.host_socket().handle, 300);
  EXPECT_EQ(world.guest_socket().written, 300U);
  // A change of the host judges it again, and it may stay.
  world.host_changes(false);
  EXPECT_EQ(world.flow_sockets(), 2U);
}

TEST(PublishedTcp, ALinkLocalClientIsNotLedToTheGuestsLoopback) {
  World world({.published_tcp = {8080}});
  world.client_connects("[fe80::5]:5000");
  world.guest_refuses(ECONNREFUSED);
  EXPECT_EQ(world.host_socket().end, End::kReset);
  EXPECT_EQ(world.guest.clients.size(), 1U);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(PublishedTcp, AScopeIsNotChangedOnTheWay) {  // RFC 4007
  World world({.published_tcp = {8080}});
  for (const auto& [client, local] :
       {std::pair{"[fe80::5]:5000", "2001:db8::2"}, std::pair{"[2001:db8::5]:5000", "fe80::77"}}) {
    world.host.clients_come_to = address(local);
    world.client_connects(client);
    EXPECT_EQ(world.host_socket().end, End::kReset);
    EXPECT_EQ(world.events.denials.back().verdict.reason, Reason::kScope);
  }
  EXPECT_TRUE(world.guest.clients.empty());
  world.host.clients_come_to = address("2001:db8::2");
  world.client_connects("[2001:db8::5]:5000");
  EXPECT_EQ(world.guest.clients.size(), 1U);
}

TEST(PublishedTcp, OnlyWhomThePortIsForIsLetIn) {
  World world({.published_tcp = {8080}, .published_for = {"198.51.100.192/28", "198.51.100.7"}});
  world.client_connects("198.51.100.6:5000");
  EXPECT_EQ(world.host_socket().end, End::kReset);
  ASSERT_EQ(world.events.denials.size(), 1U);
  EXPECT_EQ(world.events.denials[0].verdict.reason, Reason::kSource);
  EXPECT_TRUE(world.guest.clients.empty());
  world.client_connects("198.51.100.200:5000");
  world.client_connects("198.51.100.7:5000");
  EXPECT_EQ(world.guest.clients.size(), 2U);
}

// Report mode is about what the command may reach; who may come is a part of the port.
TEST(PublishedTcp, ReportModeOpensNoPortToOthers) {
  World world({.mode = PolicyMode::kReport,
               .published_tcp = {8080},
               .published_for = {"198.51.100.192/28"}});
  world.client_connects("198.51.100.6:5000");
  EXPECT_EQ(world.host_socket().end, End::kReset);
  EXPECT_TRUE(world.guest.clients.empty());
}

TEST(PublishedTcp, AnIpv4LinkLocalClientIsOutOfScope) {  // the guest has no such address
  World world({.published_tcp = {8080}});
  world.client_connects("169.254.3.3:5000");
  EXPECT_EQ(world.host_socket().end, End::kReset);
  EXPECT_EQ(world.events.denials.back().verdict.reason, Reason::kScope);
  EXPECT_TRUE(world.guest.clients.empty());
}

struct AcceptRow {
  const char* name;
  int error;
  bool rests;
};
class PublishedAccept : public testing::TestWithParam<AcceptRow> {};

TEST_P(PublishedAccept, ErrorIsSurvived) {
  World world({.published_tcp = {8080}});
  world.script.fails(Call::kAccept, GetParam().error, 1);
  world.client_connects("198.51.100.200:5000");
  EXPECT_EQ(world.host.is_listening, !GetParam().rests);
  if (GetParam().rests) {
    EXPECT_EQ(world.sockets.opened(OwnerKind::kTcpHost), 0U);
    world.advance(100ms);
    EXPECT_TRUE(world.host.is_listening);
    world.listener_is_ready();
  }
  EXPECT_EQ(world.sockets.opened(OwnerKind::kTcpHost), 1U);
  EXPECT_EQ(world.events.count(Notice::kNoHostResource), GetParam().rests ? 1U : 0U);
}

INSTANTIATE_TEST_SUITE_P(Errno, PublishedAccept,
                         testing::Values(AcceptRow{"NoDescriptor", EMFILE, true},
                                         AcceptRow{"NoFile", ENFILE, true},
                                         AcceptRow{"NoBuffers", ENOBUFS, true},
                                         AcceptRow{"NoMemory", ENOMEM, true},
                                         AcceptRow{"Aborted", ECONNABORTED, false},
                                         AcceptRow{"NetDown", ENETDOWN, false},
                                         AcceptRow{"HostUnreachable", EHOSTUNREACH, false},
                                         AcceptRow{"Interrupted", EINTR, false}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(PublishedAcceptLoop, DoesNotSpinWhileThereIsNoDescriptor) {
  World world({.published_tcp = {8080}});
  world.script.fails(Call::kAccept, EMFILE, 1000);
  world.host.backlog.push_back(endpoint("198.51.100.200:5000"));
  for (int i = 0; i < 10; ++i) {
    world.listener_is_ready();
    EXPECT_FALSE(world.host.is_listening);
    world.advance(100ms);
    EXPECT_TRUE(world.host.is_listening);
  }
  EXPECT_EQ(world.events.count(Notice::kNoHostResource), 10U);  // once a rest
}

TEST(PublishedTcp, WhoseConnectionCannotBeWatchedIsReset) {
  World world({.published_tcp = {8080}});
  world.script.fails(Call::kOwn, ENOMEM);
  world.client_connects("198.51.100.200:5000");
  world.guest_accepts();
  EXPECT_EQ(world.flow_sockets(), 0U);
  EXPECT_EQ(world.translator.flows(), 0U);
}

TEST(PublishedTcp, EveryErrorOfTheGuestsSideResetsTheClient) {
  for (const int error : {ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ECONNRESET, EACCES}) {
    for (const bool is_at_once : {true, false}) {
      World world({.published_tcp = {8080}});
      if (is_at_once) world.script.fails(Call::kGuestDial, error, 2);
      world.client_connects("198.51.100.200:5000");
      world.advance(10ms);
      if (!is_at_once) world.guest_refuses(error);
      if (!is_at_once && error == ECONNREFUSED) world.guest_refuses(error);  // the loopback too
      EXPECT_EQ(world.host_socket().end, End::kReset);
      EXPECT_EQ(world.flow_sockets(), 0U);
    }
  }
}

}  // namespace
}  // namespace cordon::world
