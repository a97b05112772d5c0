// TCP by name: what the guest dials is an address of the pool, what the host dials is where the
// name leads at that moment.
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/world/naming.h"

namespace cordon::world {
namespace {

const WorldOptions kOk{.allow = {"ok.example"}};

TEST(NamedDial, LeadsWhereTheNameLeadsAtThatMoment) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    Naming world(kOk);
    world.zone["ok.example"] = {"198.51.100.17"};
    const Endpoint remote = world.looks_up("ok.example", 443, family);
    EXPECT_TRUE(Prefix::parse(family == Family::kIpv4 ? "198.18.0.0/15" : "fd4c:9e21:ab07::/64")
                    ->contains(remote.address));
    world.zone["ok.example"] = {"198.51.100.18"};
    world.guest_sends(Syn().to(remote).seq(7));
    world.expect_nothing();
    EXPECT_TRUE(world.host.dialled.empty()) << "nothing is dialled before the name is looked up";
    world.upstreams_answer();
    EXPECT_EQ(world.host.dialled, std::vector{endpoint("198.51.100.18:443")});
    world.expect_nothing();
    world.dial_succeeds(world.attempt().handle);
    const Seen answer = world.expect_syn_ack();
    EXPECT_EQ(answer.source, remote.address);
    EXPECT_EQ(answer.ack, 8U);
    // The stream is an ordinary one.
    world.arrives(world.guest_socket().handle, 100);
    EXPECT_EQ(world.host_socket().written, 100U);
    EXPECT_EQ(world.flow_sockets(), 2U);
    ASSERT_FALSE(world.events.flows.empty());
    EXPECT_EQ(world.events.flows[0].request.dialled, endpoint("198.51.100.18:443"));
    ASSERT_NE(world.events.flows[0].request.name, nullptr);
    EXPECT_EQ(world.events.flows[0].request.name->to_string(), "ok.example");
    EXPECT_TRUE(world.events.denials.empty());
  }
}

TEST(NamedDial, AnAddressStandsForOneNameAsLongAsTheSandboxLives) {
  Naming world({.allow = {"ok.example", "*.wild.example"}});
  world.zone["ok.example"] = {"198.51.100.17"};
  world.zone["a.wild.example"] = {"198.51.100.17"};
  const Endpoint first = world.looks_up("ok.example", 443);
  const Endpoint other = world.looks_up("a.wild.example", 443);
  EXPECT_NE(first.address, other.address);
  world.advance(26h);
  EXPECT_EQ(world.looks_up("OK.Example", 443), first);
  EXPECT_EQ(world.looks_up("a.wild.example", 443), other);
}

TEST(NamedDial, OfAPortThatNoRuleNamesIsRefusedWithoutALookUp) {
  Naming world(kOk);
  world.zone["ok.example"] = {"198.51.100.17"};
  const Endpoint remote = world.looks_up("ok.example", 22);
  const std::size_t contacts = world.host_contacts();
  world.guest_sends(Syn().to(remote).seq(9));
  EXPECT_EQ(world.expect_reset().ack, 10U);
  EXPECT_EQ(world.host_contacts(), contacts);
  ASSERT_EQ(world.events.denials.size(), 1U);
  EXPECT_EQ(world.events.denials[0].request.name->to_string(), "ok.example");
  EXPECT_EQ(world.events.denials[0].request.dialled.port, 22);
  // Its allowed twin.
  world.connects({.address = remote.address, .port = 443});
}

TEST(NamedDial, ToAPoolAddressThatStandsForNothingIsRefused) {
  Naming world(kOk);
  for (const char* to : {"198.18.0.1:443", "198.18.0.0:443", "198.19.255.255:443",
                         "[fd4c:9e21:ab07::1]:443", "[fd4c:9e21:ab07::1:0:0:1]:443"}) {
    world.guest_sends(Syn().to(to));
    (void)world.expect_reset();
    EXPECT_EQ(world.events.denials.back().verdict.reason, Reason::kNoName) << to;
  }
  EXPECT_EQ(world.host_contacts(), 0U);
}

TEST(NamedDial, OfANameThatIsGoneIsUnreachable) {
  Naming world(kOk);
  world.zone["ok.example"] = {"198.51.100.17"};
  const Endpoint remote = world.looks_up("ok.example", 443);
  world.zone.clear();
  world.guest_sends(Syn().to(remote));
  world.upstreams_answer();
  (void)world.expect_icmp(3, 1);
  world.expect_nothing();
  EXPECT_EQ(world.flow_sockets(), 0U);
  EXPECT_EQ(world.translator.flows(), 0U);
}

TEST(NamedDial, WithoutAnyAnswerIsUnreachableWithinTenSeconds) {
  Naming world(kOk);
  world.zone["ok.example"] = {"198.51.100.17"};
  const Endpoint remote = world.looks_up("ok.example", 443, Family::kIpv6);
  world.guest_sends(Syn().to(remote));
  world.advance(10s);
  (void)world.expect_icmp(1, 3);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(NamedDial, IsAsOneDialForTheGuestThatRepeatsItsSyn) {
  Naming world(kOk);
  world.zone["ok.example"] = {"198.51.100.17"};
  const Endpoint remote = world.looks_up("ok.example", 443);
  world.guest_sends(Syn().to(remote));
  world.guest_sends(Syn().to(remote));
  world.upstreams_answer();
  world.guest_sends(Syn().to(remote));
  EXPECT_EQ(world.host.dialled.size(), 1U);
  world.dial_succeeds(world.attempt().handle);
  (void)world.expect_syn_ack();
  world.expect_nothing();
}

TEST(NamedDial, FlowsToOneNameAtOneTimeShareALookUp) {
  Naming world(kOk);
  world.zone["ok.example"] = {"198.51.100.17"};
  const Endpoint remote = world.looks_up("ok.example", 443);
  world.questions.clear();
  for (std::uint16_t i = 0; i < 100; ++i) world.guest_sends(Syn().to(remote).from_port(41000 + i));
  world.upstreams_answer();
  EXPECT_EQ(world.questions.size(), 2U);  // A and AAAA
  EXPECT_EQ(world.host.dialled.size(), 100U);
}

// Of a rotating CDN's host every look-up leads elsewhere, for a second.
TEST(NamedDial, OfARotatingHostIsNeverDenied) {
  Naming world(kOk);
  world.sockets.forget_ended();
  world.events.tells_back = false;
  int at = 0;
  const auto rotate = [&] {
    at = (at + 1) % 250;
    world.zone["ok.example"] = {"198.51.100." + std::to_string(1 + at)};
  };
  for (int i = 0; i < 10000; ++i) {
    rotate();
    const Endpoint remote = world.looks_up("ok.example", 443);
    rotate();
    world.guest_sends(Syn().to(remote).from_port(static_cast<std::uint16_t>(20000 + i)));
    world.upstreams_answer();
    ASSERT_EQ(world.host.dialled.back().address, address("198.51.100." + std::to_string(1 + at)));
    world.dial_succeeds(world.attempt().handle);
    (void)world.expect_syn_ack();
    world.reset_arrives(world.host_socket().handle);
    world.advance(2s);
  }
  EXPECT_TRUE(world.events.denials.empty());
  EXPECT_EQ(world.host.dialled.size(), 10000U);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

// RFC 8305: the family that the guest dialled first, then by turns, 250 ms apart.
TEST(NamedDialStagger, AddressesAreTriedByTurnsUntilOneAnswers) {
  Naming world(kOk);
  world.zone["ok.example"] = {"198.51.100.1", "198.51.100.2", "2001:db8::1", "2001:db8::2"};
  world.guest_sends(Syn().to(world.looks_up("ok.example", 443, Family::kIpv6)));
  world.upstreams_answer();
  const std::vector<Endpoint> order{endpoint("[2001:db8::1]:443"), endpoint("198.51.100.1:443"),
                                    endpoint("[2001:db8::2]:443"), endpoint("198.51.100.2:443")};
  for (std::size_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(world.host.dialled.size(), i + 1);
    EXPECT_EQ(world.host.dialled.back(), order[i]);
    world.advance(250ms - 1ms);
    EXPECT_EQ(world.host.dialled.size(), i + 1);
    world.advance(1ms);
  }
  EXPECT_EQ(world.sockets.open_count(OwnerKind::kTcpAttempt), 4U);
  world.dial_succeeds(world.attempt().handle);
  (void)world.expect_syn_ack();
  EXPECT_EQ(world.host_socket().remote, order.back());
  EXPECT_EQ(world.sockets.open_count(OwnerKind::kTcpAttempt), 0U) << "the others are closed";
  EXPECT_EQ(world.flow_sockets(), 2U);
}

TEST(NamedDialStagger, TheNextIsTriedAtOnceWhenOneFails) {
  Naming world(kOk);
  world.zone["ok.example"] = {"198.51.100.1", "198.51.100.2"};
  world.guest_sends(Syn().to(world.looks_up("ok.example", 443)));
  world.upstreams_answer();
  world.dial_fails(world.attempt().handle, ECONNREFUSED);
  world.expect_nothing();
  EXPECT_EQ(world.host.dialled.back(), endpoint("198.51.100.2:443"));
  world.dial_succeeds(world.attempt().handle);
  (void)world.expect_syn_ack();
}

TEST(NamedDialStagger, WhereAllFailTheGuestHearsWhatSaysMost) {
  Naming world(kOk);
  world.zone["ok.example"] = {"198.51.100.1", "198.51.100.2", "198.51.100.3"};
  const Endpoint remote = world.looks_up("ok.example", 443);
  for (const int last : {EHOSTUNREACH, ECONNREFUSED}) {
    world.guest_sends(Syn().to(remote).seq(5));
    world.upstreams_answer();
    world.dial_fails(world.attempt().handle, ENETUNREACH);
    world.dial_fails(world.attempt().handle, last);
    world.dial_fails(world.attempt().handle, EHOSTUNREACH);
    if (last == ECONNREFUSED) {
      EXPECT_EQ(world.expect_reset().ack, 6U);
    } else {
      (void)world.expect_icmp(3, 0);
    }
    EXPECT_EQ(world.flow_sockets(), 0U);
  }
}

TEST(NamedDialStagger, TheOtherFamilyWaits50MillisecondsForThePreferredOne) {
  Naming world(kOk);
  world.zone["ok.example"] = {"198.51.100.1", "2001:db8::1"};
  world.guest_sends(Syn().to(world.looks_up("ok.example", 443, Family::kIpv6)));
  world.upstreams_answer(1);
  world.advance(49ms);
  EXPECT_TRUE(world.host.dialled.empty());
  world.advance(1ms);
  EXPECT_EQ(world.host.dialled, std::vector{endpoint("198.51.100.1:443")});
  // What comes late takes part all the same.
  world.upstreams_answer(28);
  world.advance(250ms);
  EXPECT_EQ(world.host.dialled.back(), endpoint("[2001:db8::1]:443"));
}

TEST(NamedDialStagger, AFailedPreferredFamilyWaitsForTheOther) {
  Naming world(kOk);
  world.zone["ok.example"] = {"198.51.100.1", "2001:db8::1"};
  world.guest_sends(Syn().to(world.looks_up("ok.example", 443, Family::kIpv6)));
  world.upstreams_answer(28);
  world.dial_fails(world.attempt().handle, ENETUNREACH);
  world.expect_nothing();
  EXPECT_EQ(world.translator.flows(), 1U);
  world.upstreams_answer(1);
  world.dial_succeeds(world.attempt().handle);
  (void)world.expect_syn_ack();
}

TEST(NamedDialStagger, ManyBlackHolesHoldSixSocketsAtMost) {
  Naming world(kOk);
  ZoneEntry many;
  for (int i = 1; i <= 8; ++i) {
    many.addresses.push_back("198.51.100." + std::to_string(i));
    many.addresses.push_back("2001:db8::" + std::to_string(i));
  }
  world.zone["ok.example"] = many;
  world.guest_sends(Syn().to(world.looks_up("ok.example", 443)));
  world.upstreams_answer();
  world.advance(10s);
  EXPECT_EQ(world.host.dialled.size(), 16U);
  EXPECT_EQ(world.sockets.open_count(OwnerKind::kTcpAttempt), 6U);
  world.advance(130s);
  EXPECT_EQ(world.flow_sockets(), 0U);
  world.expect_nothing();
}

TEST(NamedDialStagger, AGuestThatBeginsAnewEndsTheOldDial) {
  Naming world(kOk);
  world.zone["ok.example"] = {"198.51.100.1", "198.51.100.2"};
  const Endpoint remote = world.looks_up("ok.example", 443);
  world.guest_sends(Syn().to(remote).seq(1));
  world.upstreams_answer();
  world.advance(300ms);
  EXPECT_EQ(world.sockets.open_count(OwnerKind::kTcpAttempt), 2U);
  world.guest_sends(Syn().to(remote).seq(77));
  EXPECT_EQ(world.sockets.open_count(OwnerKind::kTcpAttempt), 0U);
  world.upstreams_answer();
  world.dial_succeeds(world.attempt().handle);
  EXPECT_EQ(world.expect_syn_ack().ack, 78U);
}

TEST(NamedDialErrors, OfTheHostEndTheFlowAndNothingStaysOpen) {
  for (const Call call : {Call::kDial, Call::kOwn, Call::kAdopt, Call::kDialResult}) {
    for (const int error : {EMFILE, ENOBUFS, EPERM, ECONNREFUSED}) {
      Naming world(kOk);
      world.zone["ok.example"] = {"198.51.100.1"};
      const Endpoint remote = world.looks_up("ok.example", 443);
      world.script.fails(call, error, 1000);
      world.guest_sends(Syn().to(remote));
      world.upstreams_answer();
      if (world.sockets.open_count(OwnerKind::kTcpAttempt) > 0) {
        world.dial_succeeds(world.attempt().handle);
      }
      world.advance(2s);
      EXPECT_EQ(world.flow_sockets(), 0U);
      EXPECT_EQ(world.translator.flows(), 0U);
      EXPECT_TRUE(world.events.denials.empty());
    }
  }
}

// T14: a name that leads to an address that no name may lead to.
TEST(NamedDialRebind, ToAFloorClassIsRefusedAndNothingIsSent) {
  for (const char* to : {"127.0.0.1",
                         "0.0.0.0",
                         "::1",
                         "::",
                         "10.1.2.3",
                         "192.168.1.1",
                         "172.16.5.5",
                         "100.64.0.1",
                         "169.254.169.254",
                         "fe80::1",
                         "fc00::1",
                         "198.51.100.99",
                         "2001:db8::99",
                         "172.17.0.1",
                         "255.255.255.255",
                         "224.0.0.1",
                         "ff02::1",
                         "::ffff:127.0.0.1",
                         "64:ff9b::7f00:1",
                         "64:ff9b::a9fe:a9fe",
                         "2002:7f00:1::",
                         "169.254.170.2",
                         "fd00:ec2::254",
                         "100.100.100.200",
                         "168.63.129.16",
                         "192.0.0.192"}) {
    Naming world(kOk);
    world.routes.add_self("198.51.100.99");
    world.routes.add_self("2001:db8::99");
    world.routes.add_self("172.17.0.1");
    world.zone["ok.example"] = {to};
    const Endpoint remote = world.looks_up("ok.example", 443);
    world.guest_sends(Syn().to(remote).seq(5));
    world.upstreams_answer();
    EXPECT_EQ(world.expect_reset().ack, 6U) << to;
    EXPECT_TRUE(world.host.dialled.empty()) << to;
    ASSERT_EQ(world.events.denials.size(), 1U) << to;
    const bool has_no_zone = std::string_view(to) == "fe80::1";
    EXPECT_EQ(world.events.denials[0].verdict.reason,
              has_no_zone ? Reason::kScope : Reason::kRebind)
        << to;
    EXPECT_EQ(world.events.denials[0].request.dialled.address, address(to));
    EXPECT_EQ(world.flow_sockets(), 0U);
    // The allowed twin: the same name leads out again.
    world.zone["ok.example"] = {"198.51.100.17"};
    world.connects(remote);
  }
}

TEST(NamedDialRebind, AmongGoodAddressesIsLeftOutAndTold) {
  Naming world(kOk);
  world.zone["ok.example"] = {"127.0.0.1", "198.51.100.17", "10.0.0.1"};
  const Endpoint remote = world.looks_up("ok.example", 443);
  world.connects(remote);
  EXPECT_EQ(world.host.dialled, std::vector{endpoint("198.51.100.17:443")});
  ASSERT_EQ(world.events.denials.size(), 1U);
  EXPECT_EQ(world.events.denials[0].verdict.reason, Reason::kRebind);
}

TEST(NamedDialRebind, APrivateNameMayLeadToTheLanAndNoFurther) {
  Naming world(
      {.allow = {"ok.example"}, .each_rule = [](Rule& rule) { rule.may_be_private = true; }});
  world.zone["ok.example"] = {"10.1.2.3"};
  const Endpoint remote = world.looks_up("ok.example", 443);
  world.connects(remote);
  EXPECT_EQ(world.host.dialled.back(), endpoint("10.1.2.3:443"));
  world.zone["ok.example"] = {"127.0.0.1"};
  world.guest_sends(Syn().to(remote).from_port(41000));
  world.upstreams_answer();
  (void)world.expect_reset();
  EXPECT_EQ(world.host.dialled.size(), 1U);
}

// T18: the host gets the address while the dial is under way, or right before it.
TEST(NamedDialRebind, AsksTheFibBeforeAndAfterTheDial) {
  Naming world(kOk);
  world.zone["ok.example"] = {"198.51.100.17"};
  const Endpoint remote = world.looks_up("ok.example", 443);
  world.guest_sends(Syn().to(remote).seq(5));
  world.upstreams_answer();
  world.routes.add_self("198.51.100.17");
  world.dial_succeeds(world.attempt().handle);
  EXPECT_EQ(world.expect_reset().ack, 6U);
  EXPECT_TRUE(world.guest.adoptions.empty());
  EXPECT_EQ(world.flow_sockets(), 0U);
  world.guest_sends(Syn().to(remote).from_port(41000));
  world.upstreams_answer();
  (void)world.expect_reset();
  EXPECT_EQ(world.host.dialled.size(), 1U);
  EXPECT_EQ(world.events.denials.size(), 2U);
}

TEST(NamedDialDeny, AnAddressThatARuleDeniesIsLeftOut) {
  Naming world({.allow = {"ok.example"}, .deny = {"198.51.100.0/28"}});
  world.zone["ok.example"] = {"198.51.100.7"};
  const Endpoint remote = world.looks_up("ok.example", 443);
  world.guest_sends(Syn().to(remote));
  world.upstreams_answer();
  (void)world.expect_reset();
  EXPECT_TRUE(world.host.dialled.empty());
  world.zone["ok.example"] = {"198.51.100.7", "198.51.100.77"};
  world.connects(remote, 41000);
  EXPECT_EQ(world.host.dialled, std::vector{endpoint("198.51.100.77:443")});
}

}  // namespace
}  // namespace cordon::world
