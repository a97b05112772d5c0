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

// The addresses after the first.
struct Tried {
  explicit Tried(std::initializer_list<std::string> addresses, Family family = Family::kIpv4)
      : world(kNtp) {
    world.zone["ntp.example"] = addresses;
    remote = world.looks_up("ntp.example", 123, family);
  }
  void send(std::string_view text) { world.guest_sends(Udp(text).to(remote)); }
  void fails(std::string_view text, int error) {
    world.error_arrives(world.udp_socket().handle,
                        DatagramError{.destination = endpoint(text), .error = error});
  }
  /// "address payload" of all that was sent by the last socket.
  std::vector<std::string> sent() {
    std::vector<std::string> all;
    for (const SentDatagram& one : world.udp_socket().sent) {
      all.push_back(one.destination.address.to_string() + ' ' +
                    std::string(one.payload.begin(), one.payload.end()));
    }
    return all;
  }
  Naming world;
  Endpoint remote;
};

using Sent = std::vector<std::string>;

TEST(NamedUdpTrial, TurnsToTheNextAddressWhereTheHostCannotSend) {
  Tried tried({"198.51.100.1", "198.51.100.2", "198.51.100.3"});
  tried.send("one");
  tried.send("two");
  // Each send is tried twice, for the first may tell of an earlier datagram.
  tried.world.script.fails(Call::kSend, EHOSTUNREACH, 4);
  tried.world.upstreams_answer();
  EXPECT_EQ(tried.sent(), (Sent{"198.51.100.3 one", "198.51.100.3 two"}));
  tried.world.expect_nothing();
}

TEST(NamedUdpTrial, TurnsToTheNextAddressWhereTheFirstRefuses) {
  for (const int error : {ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EACCES}) {
    Tried tried({"198.51.100.1", "198.51.100.2"});
    tried.send("one");
    tried.world.upstreams_answer();
    EXPECT_EQ(tried.sent(), (Sent{"198.51.100.1 one"}));
    tried.fails("198.51.100.1:123", error);
    EXPECT_EQ(tried.sent(), (Sent{"198.51.100.1 one", "198.51.100.2 one"}));
    tried.world.expect_nothing();
    // The address that it has turned away from is nobody now.
    tried.world.datagram_arrives(tried.world.udp_socket().handle, "198.51.100.1:123", "late");
    tried.world.expect_nothing();
    tried.world.datagram_arrives(tried.world.udp_socket().handle, "198.51.100.2:123", "answer");
    EXPECT_EQ(tried.world.expect_udp().source, tried.remote.address);
    EXPECT_EQ(tried.world.translator.flows(), 1U);
  }
}

TEST(NamedUdpTrial, StaysWithTheAddressThatHasAnswered) {
  Tried tried({"198.51.100.1", "198.51.100.2"});
  tried.send("one");
  tried.world.upstreams_answer();
  tried.world.datagram_arrives(tried.world.udp_socket().handle, "198.51.100.1:123", "answer");
  (void)tried.world.expect_udp();
  tried.fails("198.51.100.1:123", ECONNREFUSED);
  (void)tried.world.expect_icmp(3, 3);
  tried.send("two");
  EXPECT_EQ(tried.sent(), (Sent{"198.51.100.1 one", "198.51.100.1 two"}));
}

TEST(NamedUdpTrial, TellsTheErrorOfTheLastAddress) {
  Tried tried({"198.51.100.1", "198.51.100.2"});
  tried.send("one");
  tried.world.upstreams_answer();
  tried.fails("198.51.100.1:123", EHOSTUNREACH);
  tried.world.expect_nothing();
  tried.fails("198.51.100.2:123", ECONNREFUSED);
  const Seen error = tried.world.expect_icmp(3, 3);
  EXPECT_EQ(read_quoted(error.payload)->destination, tried.remote.address);
  tried.world.expect_nothing();
  tried.world.advance(301s);
  EXPECT_EQ(tried.world.flow_sockets(), 0U);
}

TEST(NamedUdpTrial, AHostWithoutIpv6UsesTheOtherFamily) {
  for (const int error : {ENETUNREACH, EADDRNOTAVAIL}) {
    Tried tried({"2001:db8::1", "198.51.100.1"}, Family::kIpv6);
    tried.send("one");
    tried.world.script.fails(Call::kSend, error, 2);
    tried.world.upstreams_answer();
    EXPECT_EQ(tried.sent(), (Sent{"198.51.100.1 one"}));
    EXPECT_EQ(tried.world.sockets.open_count(OwnerKind::kUdp), 1U);
    tried.world.expect_nothing();
  }
  Tried tried({"2001:db8::1", "198.51.100.1"}, Family::kIpv6);
  tried.send("one");
  tried.world.script.fails(Call::kOpenUdp, EAFNOSUPPORT);
  tried.world.upstreams_answer();
  EXPECT_EQ(tried.sent(), (Sent{"198.51.100.1 one"}));
}

TEST(NamedUdpTrial, ANameOfIpv6AloneIsUnreachableWithoutIpv6) {
  for (const int error : {ENETUNREACH, EADDRNOTAVAIL}) {
    Tried tried({"2001:db8::1"});
    tried.send("one");
    tried.world.script.fails(Call::kSend, error, 2);
    tried.world.upstreams_answer();
    (void)tried.world.expect_icmp(3, 0);
    EXPECT_TRUE(tried.sent().empty());
  }
  Tried with({"2001:db8::1"});
  with.send("one");
  with.world.upstreams_answer();
  EXPECT_EQ(with.sent(), (Sent{"2001:db8::1 one"}));
}

TEST(NamedUdpTrial, WaitsForTheOtherFamilyWhereTheFirstFails) {
  Tried tried({"198.51.100.1", "2001:db8::1"});
  tried.send("one");
  tried.world.upstreams_answer(1);
  EXPECT_EQ(tried.sent(), (Sent{"198.51.100.1 one"}));
  tried.fails("198.51.100.1:123", ECONNREFUSED);
  tried.send("two");
  tried.world.expect_nothing();
  tried.world.upstreams_answer(28);
  EXPECT_EQ(tried.sent(), (Sent{"2001:db8::1 one", "2001:db8::1 two"}));
  tried.world.datagram_arrives(tried.world.udp_socket().handle, "[2001:db8::1]:123", "answer");
  EXPECT_EQ(tried.world.expect_udp().source, tried.remote.address);
}

TEST(NamedUdpTrial, TellsTheErrorWhereTheOtherFamilyHasNone) {
  Tried tried({"198.51.100.1"});
  tried.send("one");
  tried.world.upstreams_answer(1);
  tried.fails("198.51.100.1:123", ECONNREFUSED);
  tried.world.expect_nothing();
  tried.world.upstreams_answer(28);
  (void)tried.world.expect_icmp(3, 3);
}

TEST(NamedUdpTrial, NeverTurnsToWhatThePolicyDoesNotAllow) {
  Tried tried({"198.51.100.1", "10.0.0.1", "127.0.0.1", "198.51.100.2"});
  tried.send("one");
  tried.world.upstreams_answer();
  tried.fails("198.51.100.1:123", ECONNREFUSED);
  EXPECT_EQ(tried.sent(), (Sent{"198.51.100.1 one", "198.51.100.2 one"}));
}

TEST(NamedUdpTrial, ThereIsRoomForManyAndTheRestKeepTheirFirst) {
  Tried tried({"198.51.100.1", "198.51.100.2"});
  for (std::uint16_t port = 1000; port < 1000 + 2 * kMaxNamedTrials; ++port) {
    tried.world.guest_sends(Udp("x").to(tried.remote).from_port(port));
    tried.world.upstreams_answer();
  }
  EXPECT_EQ(tried.world.sockets.open_count(OwnerKind::kUdp), 2 * kMaxNamedTrials);
  tried.world.advance(301s);
  EXPECT_EQ(tried.world.flow_sockets(), 0U);
}

// T29: the dial part.
TEST(NamedQuic, IsRejectedAtOnceSoThatClientsFallBack) {
  Naming world({.allow = {"ok.example", "@public"}});
  fill(world);
  const Endpoint v4 = world.looks_up("ok.example", 443);
  const Endpoint v6 = world.looks_up("ok.example", 443, Family::kIpv6);
  world.guest_sends(Udp().to(v4));
  (void)world.expect_icmp(3, 3);
  world.guest_sends(Udp().to(v6));
  (void)world.expect_icmp(1, 4);
  EXPECT_TRUE(world.events.denials.empty());
  EXPECT_EQ(world.sockets.opened(OwnerKind::kUdp), 0U);
  Naming allowed(
      {.allow = {"ok.example", "@public"}, .names = {.quic = NameSettings::Quic::kByName}});
  fill(allowed);
  allowed.guest_sends(Udp("quic").to(allowed.looks_up("ok.example", 443)));
  allowed.upstreams_answer();
  EXPECT_EQ(allowed.udp_socket().sent.size(), 1U);
}

TEST(NamedQuic, PassesWhereARuleForTheNameSaysUdp) {
  Naming world({.allow = {"@public", "ok.example", "udp/ok.example:443", "wild.example"}});
  fill(world);
  world.zone["wild.example"] = {"198.51.100.9"};
  world.guest_sends(Udp("quic").to(world.looks_up("ok.example", 443)));
  world.upstreams_answer();
  EXPECT_EQ(world.udp_socket().sent.size(), 1U);
  world.guest_sends(Udp("quic").to(world.looks_up("wild.example", 443)));
  (void)world.expect_icmp(3, 3);
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

TEST(NamedEcho, TurnsToTheNextAddressWhereTheFirstIsOutOfReach) {
  Naming world(kNtp);
  world.zone["ntp.example"] = {"2001:db8::1", "198.51.100.1"};
  const Endpoint remote = world.looks_up("ntp.example", 0, Family::kIpv6);
  world.guest_sends(Ping().to(remote).id(9).sequence(3).payload("0123456789"));
  world.upstreams_answer();
  ASSERT_EQ(world.ping_socket().sent.size(), 1U);
  EXPECT_EQ(world.ping_socket().sent[0].destination.address, address("2001:db8::1"));
  world.error_arrives(
      world.ping_socket().handle,
      DatagramError{.destination = {.address = address("2001:db8::1")}, .error = EHOSTUNREACH});
  world.expect_nothing();
  ASSERT_EQ(world.ping_socket().sent.size(), 1U);
  EXPECT_EQ(world.ping_socket().sent[0].destination.address, address("198.51.100.1"));
  Octets message = world.ping_socket().sent[0].payload;
  EXPECT_EQ(message.at(0), 8);
  message[0] = 0;
  world.datagram_arrives(world.ping_socket().handle, Endpoint{.address = address("198.51.100.1")},
                         message);
  EXPECT_EQ(world.expect_packet().sequence, 3);
  EXPECT_EQ(world.sockets.open_count(OwnerKind::kEcho), 1U);
  // It has answered: what comes now is the guest's to hear.
  world.error_arrives(
      world.ping_socket().handle,
      DatagramError{.destination = {.address = address("198.51.100.1")}, .error = EHOSTUNREACH},
      message);
  (void)world.expect_icmp(1, 3);
}

TEST(NamedEcho, ShowsATracerouteOnItsFirstAddress) {
  Naming world(kNtp);
  world.zone["ntp.example"] = {"198.51.100.1", "198.51.100.2"};
  const Endpoint remote = world.looks_up("ntp.example", 0);
  world.guest_sends(Ping().to(remote).ttl(1));
  world.upstreams_answer();
  world.error_arrives(world.ping_socket().handle,
                      DatagramError{.destination = {.address = address("198.51.100.1")},
                                    .error = EHOSTUNREACH,
                                    .offender = address("198.51.100.254"),
                                    .is_ttl_exceeded = true});
  EXPECT_EQ(world.expect_icmp(11, 0).source, address("198.51.100.254"));
  EXPECT_EQ(world.ping_socket().sent.size(), 1U);
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
