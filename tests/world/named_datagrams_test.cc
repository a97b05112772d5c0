// UDP and echo to names: the first datagrams wait for the look-up, and the flow keeps its address.
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/world/naming.h"

namespace cordon::world {
namespace {

void fill(Naming& world) {
  world.zone["ok.example"] = {"198.51.100.17", "2001:db8::17"};
  world.zone["evil.example"] = {"198.51.100.66"};
  world.zone["a.wild.example"] = {"198.51.100.18"};
}

const WorldOptions kNtp{
    .allow = {"udp/ntp.example:123", "icmp/ntp.example", "udp/two.example:123"}};

TEST(NamedUdp, HoldsTheFirstDatagramsUntilTheNameIsLookedUp) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    Naming world(kNtp);
    world.zone["ntp.example"] = {"198.51.100.123"};
    const Endpoint remote = world.looks_up("ntp.example", 123, family);
    for (const char* text : {"one", "two", "three"}) world.guest_sends(Udp(text).to(remote));
    EXPECT_EQ(world.sockets.opened(OwnerKind::kUdp), 0U);
    world.upstreams_answer();
    ASSERT_EQ(world.udp_socket().sent.size(), 3U);
    EXPECT_EQ(world.udp_socket().sent[0].payload, octets("one"));
    EXPECT_EQ(world.udp_socket().sent[2].payload, octets("three"));
    EXPECT_EQ(world.udp_socket().sent[0].destination, endpoint("198.51.100.123:123"));
    world.datagram_arrives(world.udp_socket().handle, "198.51.100.123:123", "answer");
    const Seen answer = world.expect_udp();
    EXPECT_EQ(answer.source, remote.address);
    EXPECT_EQ(answer.text(), "answer");
    // Nobody else is heard.
    world.datagram_arrives(world.udp_socket().handle, "198.51.100.124:123", "other");
    world.datagram_arrives(world.udp_socket().handle, "198.51.100.123:124", "other");
    world.expect_nothing();
    world.guest_sends(Udp("four").to(remote));
    EXPECT_EQ(world.udp_socket().sent.size(), 4U);
    EXPECT_EQ(world.sockets.opened(OwnerKind::kUdp), 1U);
    world.advance(301s);
    EXPECT_EQ(world.flow_sockets(), 0U);
  }
}

TEST(NamedUdp, TwoNamesOfOneAddressKeepTheirAnswersApart) {
  Naming world(kNtp);
  world.zone["ntp.example"] = world.zone["two.example"] = {"198.51.100.123"};
  const Endpoint one = world.looks_up("ntp.example", 123);
  const Endpoint two = world.looks_up("two.example", 123);
  world.guest_sends(Udp("one").to(one));
  world.upstreams_answer();
  const SocketHandle first = world.udp_socket().handle;
  world.guest_sends(Udp("two").to(two));
  world.upstreams_answer();
  const SocketHandle second = world.udp_socket().handle;
  ASSERT_NE(first, second);
  world.datagram_arrives(second, "198.51.100.123:123", "2");
  EXPECT_EQ(world.expect_udp().source, two.address);
  world.datagram_arrives(first, "198.51.100.123:123", "1");
  EXPECT_EQ(world.expect_udp().source, one.address);
}

TEST(NamedUdp, DeniedIsProhibitedWithoutALookUp) {
  Naming world(kNtp);
  world.zone["ntp.example"] = {"198.51.100.123"};
  const Endpoint remote = world.looks_up("ntp.example", 124);
  const std::size_t contacts = world.host_contacts();
  world.guest_sends(Udp().to(remote));
  (void)world.expect_icmp(3, 13);
  EXPECT_EQ(world.host_contacts(), contacts);
}

TEST(NamedUdp, ReboundIsProhibitedAndAMissingNameUnreachable) {
  Naming world(kNtp);
  world.zone["ntp.example"] = {"10.0.0.1"};
  const Endpoint remote = world.looks_up("ntp.example", 123);
  world.guest_sends(Udp("payload").to(remote).from_port(4001));
  world.upstreams_answer();
  const Seen error = world.expect_icmp(3, 13);
  EXPECT_EQ(read_quoted(error.payload)->destination, remote.address);
  EXPECT_EQ(world.events.denials.at(0).verdict.reason, Reason::kRebind);
  world.zone.clear();
  world.guest_sends(Udp().to(remote).from_port(4002));
  world.upstreams_answer();
  (void)world.expect_icmp(3, 1);
  EXPECT_EQ(world.sockets.opened(OwnerKind::kUdp), 0U);
  EXPECT_EQ(world.translator.flows(), 0U);
}

TEST(NamedUdp, AnAddressWithoutARouteIsTheLastChoice) {
  Naming world(kNtp);
  world.routes.set("2001:db8::17", {RouteFacts::Type::kUnreachable});
  world.zone["ntp.example"] = {"2001:db8::17", "198.51.100.123"};
  const Endpoint remote = world.looks_up("ntp.example", 123, Family::kIpv6);
  world.guest_sends(Udp("one").to(remote));
  world.upstreams_answer();
  EXPECT_EQ(world.udp_socket().sent.at(0).destination, endpoint("198.51.100.123:123"));
}

TEST(NamedUdp, HoldsAFewAndNoMore) {
  Naming world(kNtp);
  world.zone["ntp.example"] = {"198.51.100.123"};
  const Endpoint remote = world.looks_up("ntp.example", 123);
  for (int i = 0; i < 10; ++i) world.guest_sends(Udp("x").to(remote));
  EXPECT_EQ(world.drops(Drop::kAwaitsName), 6U);
  for (std::uint16_t port = 1000; port < 1200; ++port) {
    world.guest_sends(Udp("x").to(remote).from_port(port));
  }
  world.upstreams_answer();
  EXPECT_EQ(world.sockets.open_count(OwnerKind::kUdp), 201U);
  world.advance(301s);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(NamedUdp, WithoutAnyAnswerIsUnreachableAndHoldsNothing) {
  Naming world(kNtp);
  world.zone["ntp.example"] = {"198.51.100.123"};
  world.guest_sends(Udp("x").to(world.looks_up("ntp.example", 123)));
  world.advance(11s);
  (void)world.expect_icmp(3, 1);
  EXPECT_EQ(world.translator.flows(), 0U);
}

// T29: the dial part.
TEST(NamedQuic, IsRejectedAtOnceSoThatClientsFallBack) {
  Naming world({.allow = {"ok.example", "udp/ok.example:443"}});
  fill(world);
  const Endpoint v4 = world.looks_up("ok.example", 443);
  const Endpoint v6 = world.looks_up("ok.example", 443, Family::kIpv6);
  world.guest_sends(Udp().to(v4));
  (void)world.expect_icmp(3, 3);
  world.guest_sends(Udp().to(v6));
  (void)world.expect_icmp(1, 4);
  EXPECT_TRUE(world.events.denials.empty());
  EXPECT_EQ(world.sockets.opened(OwnerKind::kUdp), 0U);
  Naming allowed({.allow = {"ok.example", "udp/ok.example:443"},
                  .names = {.quic = NameSettings::Quic::kByName}});
  fill(allowed);
  allowed.guest_sends(Udp("quic").to(allowed.looks_up("ok.example", 443)));
  allowed.upstreams_answer();
  EXPECT_EQ(allowed.udp_socket().sent.size(), 1U);
}

// Echo by name.
TEST(NamedEcho, IsAnsweredWhicheverFamilyTheNameHas) {
  for (const char* only : {"198.51.100.123", "2001:db8::123"}) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      Naming world(kNtp);
      world.zone["ntp.example"] = {only};
      const Endpoint remote = world.looks_up("ntp.example", 0, family);
      world.guest_sends(Ping().to(remote).id(9).sequence(3).payload("0123456789"));
      EXPECT_EQ(world.sockets.opened(OwnerKind::kEcho), 0U);
      world.upstreams_answer();
      ASSERT_EQ(world.ping_socket().sent.size(), 1U);
      Octets message = world.ping_socket().sent[0].payload;
      const bool is_v4 = address(only).is_v4();
      EXPECT_EQ(message.at(0), is_v4 ? 8 : 128);
      message[0] = is_v4 ? 0 : 129;
      world.datagram_arrives(world.ping_socket().handle, Endpoint{.address = address(only)},
                             message);
      const Seen reply = world.expect_packet();
      EXPECT_TRUE(reply.is_icmp());
      EXPECT_EQ(reply.type, family == Family::kIpv4 ? 0 : 129);
      EXPECT_EQ(reply.source, remote.address);
      EXPECT_EQ(reply.id, 9);
      EXPECT_EQ(reply.sequence, 3);
      EXPECT_EQ(reply.text(), "0123456789");
    }
  }
}

TEST(NamedEcho, DeniedReboundOrMissingIsSaid) {
  Naming world({.allow = {"icmp/ntp.example", "ok.example"}});
  fill(world);
  world.zone["ntp.example"] = {"127.0.0.1"};
  const Endpoint ok = world.looks_up("ok.example", 0);
  const Endpoint ntp = world.looks_up("ntp.example", 0);
  world.guest_sends(Ping().to(ok).id(1));
  (void)world.expect_icmp(3, 13);
  world.guest_sends(Ping().to(ntp).id(2));
  world.upstreams_answer();
  (void)world.expect_icmp(3, 13);
  world.zone.clear();
  world.guest_sends(Ping().to(ntp).id(3));
  world.upstreams_answer();
  (void)world.expect_icmp(3, 1);
  EXPECT_EQ(world.sockets.opened(OwnerKind::kEcho), 0U);
  EXPECT_EQ(world.translator.flows(), 0U);
}

}  // namespace
}  // namespace cordon::world
