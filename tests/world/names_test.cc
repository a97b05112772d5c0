// The resolver where names are enforced (leaks.md T1 to T13), pins, and what a change of policy
// does to them.
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/world/leak_zone.h"

namespace cordon::world {
namespace {

// T1, T8: nobody inside ever looks a denied name up.
TEST(NamesDenied, AreFilteredWithoutAPacketToAnybody) {
  Naming world(leak_policy());
  fill(world);
  for (const char* name :
       {"evil.example", "secret.evil.example", "ok.example.evil.example", "xok.example",
        "wild.example", "ok.example.corp.lan", "example", "metadata.google.internal",
        "nosuch.cordon.internal.evil.example", "17.100.51.198.in-addr.arpa"}) {
    for (const std::uint16_t type : {1, 28, 16, 65, 12, 33}) {
      const DnsSeen answer = world.resolves(name, type);
      EXPECT_EQ(answer.rcode, 3) << name;
      EXPECT_EQ(answer.extended_error, 17) << name;
      EXPECT_TRUE(answer.addresses.empty());
    }
  }
  EXPECT_EQ(world.host_contacts(), 0U);
  EXPECT_EQ(world.events.denials.size(), 10U) << "one for each name";
  EXPECT_EQ(world.events.denials[0].kind, Denial::Kind::kQuery);
  EXPECT_EQ(world.events.denials[0].verdict.reason, Reason::kDefault);
  // The allowed twin.
  EXPECT_EQ(world.resolves("ok.example").addresses.size(), 1U);
  EXPECT_GT(world.host_contacts(), 0U);
}

// T9: who was refused is not told to the search domains' servers either.
TEST(NamesDenied, AreRefusedWithASearchDomainToo) {
  Naming world({.deny = {"evil.example", "nas"}, .search = {"corp.example", "lab.example"}});
  fill(world);
  world.zone["evil.example.corp.example"] = {"198.51.100.67"};
  world.zone["nas.corp.example"] = {"198.51.100.68"};
  world.zone["other.example.corp.example"] = {"198.51.100.69"};
  for (const char* name : {"evil.example", "evil.example.corp.example", "Evil.Example.LAB.example",
                           "evil.example.corp.example"}) {
    EXPECT_EQ(world.resolves(name).rcode, 3) << name;
    EXPECT_EQ(world.resolves(name, 28).rcode, 3) << name;
  }
  EXPECT_EQ(world.host_contacts(), 0U);
  EXPECT_EQ(world.events.denials.size(), 1U) << "the name, completed, is no news";
  // A single label is meant to be completed.
  EXPECT_EQ(world.resolves("nas").rcode, 3);
  EXPECT_EQ(world.resolves("nas.corp.example").rcode, 0);
  // The allowed twins: a name that nobody refused, and one that is meant by itself.
  EXPECT_EQ(world.resolves("other.example").rcode, 3);
  EXPECT_EQ(world.resolves("other.example.corp.example").rcode, 0);
  world.advance(11s);
  EXPECT_EQ(world.resolves("evil.example.corp.example").rcode, 0);
}

TEST(NamesDenied, MayBeAllowedWithASearchDomain) {
  Naming world({.allow = {"*.corp.example"}, .search = {"corp.example"}});
  world.zone["db.eu.corp.example"] = {"198.51.100.67"};
  EXPECT_EQ(world.resolves("db.eu").rcode, 3);
  EXPECT_EQ(world.resolves("db.eu.corp.example").addresses.size(), 1U);
}

// T2: whatever server the guest means to ask.
TEST(NamesDenied, AreFilteredWhoeverIsAsked) {
  Naming world(leak_policy());
  fill(world);
  for (const char* server : {"8.8.8.8:53", "1.1.1.1:53", "[2001:4860:4860::8888]:53"}) {
    world.guest_sends(Udp().to(server).payload(dns_query(1, "evil.example")));
    EXPECT_EQ(read_dns(world.expect_udp().payload).rcode, 3);
    world.guest_sends(Syn().to(server).from_port(41000));
    (void)world.expect_syn_ack();
    const Octets query = dns_query(2, "evil.example");
    std::string framed{0, static_cast<char>(query.size())};
    framed.append(query.begin(), query.end());
    world.says(world.guest_socket().handle, framed);
    const std::string heard = world.guest_socket().heard;
    ASSERT_GT(heard.size(), 2U);
    EXPECT_EQ(read_dns(Octets(heard.begin() + 2, heard.end())).rcode, 3);
    EXPECT_EQ(world.host_contacts(), 0U);
    world.reset_arrives(world.guest_socket().handle);
  }
}

// T4: nothing of the guest's question but its name and type.
TEST(NamesQuestions, AreRebuilt) {
  Naming world(leak_policy());
  fill(world);
  Octets query = dns_query(0x4242, "oK.eXAMPLE", 1, 4096);
  query[3] |= 0x10;  // CD
  query.pop_back();
  query.pop_back();
  const auto append = [&](std::initializer_list<int> octets) {
    for (const int octet : octets) query.push_back(static_cast<std::uint8_t>(octet));
  };
  // Client subnet, cookie, padding.
  append({0, 11 + 12 + 8, 0, 8, 0, 7, 0, 1, 24, 0, 10, 9, 8, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8});
  append({0, 12, 0, 4, 0, 0, 0, 0});
  world.guest_sends(Udp().to("198.51.100.1:53").payload(query));
  const Octets sent = world.dns_socket().sent.back().payload;
  Octets plain = dns_query(0, "ok.example", 1, 1232);
  plain[0] = sent[0];
  plain[1] = sent[1];
  EXPECT_EQ(sent, plain);
}

// T5
TEST(NamesBudget, OfAWildcardIsSixtyNamesAMinute) {
  Naming world(leak_policy());
  std::size_t refused = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "label" + std::to_string(i) + ".wild.example";
    world.zone[name] = {"198.51.100.18"};
    const DnsSeen answer = world.resolves(name);
    if (answer.rcode != 3) continue;
    ++refused;
    EXPECT_EQ(answer.extended_error, 17);
  }
  EXPECT_EQ(refused, 940U);
  EXPECT_EQ(world.questions.size(), 60U);
  EXPECT_EQ(world.events.denials.back().verdict.reason, Reason::kLimit);
  // The same names again cost nothing; others have their own budget or none.
  EXPECT_EQ(world.resolves("label7.wild.example").rcode, 0);
  world.zone["ok.example"] = {"198.51.100.17"};
  EXPECT_EQ(world.resolves("ok.example").rcode, 0);
  world.advance(61s);
  EXPECT_EQ(world.resolves("label999.wild.example").rcode, 0);
}

TEST(NamesBudget, OfAWildcardIsFourThousandOctetsAMinute) {
  Naming world(leak_policy());
  std::size_t answered = 0;
  for (int i = 0; i < 60; ++i) {
    std::string name;
    for (int label = 0; label < 3; ++label)
      name += std::string(60, static_cast<char>('a' + i % 26)) + ".";
    name += std::to_string(i) + ".wild.example";
    world.zone[name] = {"198.51.100.18"};
    if (world.resolves(name).rcode == 0) ++answered;
  }
  EXPECT_EQ(answered, 4096U / (3 * 61 + 2));
}

// T7
TEST(NamesPointers, OfPoolAddressesAreAnsweredInsideAndOthersGoNowhere) {
  Naming world(leak_policy());
  fill(world);
  const Endpoint ok = world.looks_up("ok.example", 443);
  const std::size_t contacts = world.host_contacts();
  const auto octets = ok.address.octets();
  const std::string reverse = std::to_string(octets[3]) + "." + std::to_string(octets[2]) + "." +
                              std::to_string(octets[1]) + "." + std::to_string(octets[0]) +
                              ".in-addr.arpa";
  world.asks(reverse, 12);
  const Seen seen = world.expect_udp();
  const std::string text(seen.payload.begin(), seen.payload.end());
  EXPECT_EQ(read_dns(seen.payload).answers, 1);
  EXPECT_NE(text.find(std::string("\x02ok\x07"
                                  "example\0",
                                  12)),
            std::string::npos);
  EXPECT_EQ(world.resolves("8.8.8.8.in-addr.arpa", 12).rcode, 3);
  EXPECT_EQ(world.host_contacts(), contacts);
}

// T9
TEST(NamesResolved, AreToldOnceEach) {
  Naming world(leak_policy());
  fill(world);
  for (const char* name : {"ok.example", "a.wild.example", "OK.example", "nosuch.wild.example",
                           "evil.example", "host.cordon.internal"}) {
    (void)world.resolves(name);
  }
  EXPECT_EQ(world.events.resolved_names,
            (std::vector<std::string>{"ok.example", "a.wild.example"}));
}

TEST(NamesMissing, StayMissing) {
  Naming world(leak_policy());
  EXPECT_EQ(world.resolves("nosuch.wild.example").rcode, 3);
  EXPECT_EQ(world.questions.size(), 1U);
  EXPECT_FALSE(world.events.denials.size());
}

TEST(NamesMissing, ANameWithoutAddressesHasNone) {
  Naming world(leak_policy());
  world.zone["ok.example"] = {};
  const DnsSeen answer = world.resolves("ok.example");
  EXPECT_EQ(answer.rcode, 0);
  EXPECT_EQ(answer.answers, 0);
  const std::vector<NameQuestion> both{{"ok.example", 1}, {"ok.example", 28}};
  EXPECT_EQ(world.questions, both);
}

TEST(NamesMissing, AnUpstreamThatFailsIsServfail) {
  Naming world(leak_policy());
  world.zone["ok.example"].rcode = 2;
  EXPECT_EQ(world.resolves("ok.example").rcode, 2);
  world.asks("ok.example");
  world.advance(10s);
  EXPECT_EQ(world.expect_answer().rcode, 2);
}

TEST(NamesMapped, BothFamiliesAreAnsweredWhicheverTheNameHas) {
  for (const char* only : {"198.51.100.17", "2001:db8::17"}) {
    Naming world(leak_policy());
    world.zone["ok.example"] = {only};
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      const Endpoint remote = world.looks_up("ok.example", 443, family);
      EXPECT_EQ(remote.address.family(), family);
      world.connects(remote, family == Family::kIpv4 ? 40000 : 40001);
      EXPECT_EQ(world.host.dialled.back().address, address(only));
    }
  }
}

// T10
struct Aliases {
  Octets message;
  std::uint16_t count = 0;
  // owner -> target, both "x.example"-like names.
  void add(std::string_view owner, std::string_view target) {
    put_name(owner);
    for (const int octet : {0, 5, 0, 1, 0, 0, 0, 60}) put(octet);
    put(0);
    put(static_cast<int>(target.size() + 2));
    put_name(target);
    ++count;
  }
  void add_address(std::string_view owner) {
    put_name(owner);
    for (const int octet : {0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 17}) put(octet);
    ++count;
  }
  Octets answer(const Octets& query) const {
    Octets out = dns_answer(query, 0);
    out[7] = static_cast<std::uint8_t>(count);
    out.insert(out.end(), message.begin(), message.end());
    return out;
  }

 private:
  void put(int octet) { message.push_back(static_cast<std::uint8_t>(octet)); }
  void put_name(std::string_view name) {
    const Octets query = dns_query(0, name);
    message.insert(message.end(), query.begin() + 12, query.end() - 4);
  }
};

TEST(NamesAliases, OfADeniedNameAreFollowedAndStayTheNameThatWasAsked) {
  Naming world(leak_policy());
  Aliases aliases;
  aliases.add_address("evil.example");
  aliases.add("cdn.example", "evil.example");
  aliases.add("ok.example", "cdn.example");
  world.asks("ok.example");
  world.datagram_arrives(world.dns_socket().handle, endpoint("198.51.100.53:53"),
                         aliases.answer(world.dns_socket().sent.back().payload));
  const DnsSeen answer = world.expect_answer();
  EXPECT_EQ(answer.answers, 1) << "no alias is told";
  ASSERT_EQ(answer.addresses.size(), 1U);
  world.guest_sends(Syn().to(Endpoint{.address = answer.addresses[0], .port = 443}));
  world.zone["ok.example"] = {"198.51.100.17"};
  world.upstreams_answer();
  ASSERT_EQ(world.host.dialled.size(), 1U);
  world.dial_succeeds(world.attempt().handle);
  (void)world.expect_syn_ack();
  EXPECT_EQ(world.events.flows.back().request.name->to_string(), "ok.example");
  EXPECT_EQ(world.resolves("evil.example").rcode, 3);
}

TEST(NamesAliases, MoreThanEightOrInACircleFail) {
  for (const int length : {8, 9, -1}) {
    Naming world(leak_policy());
    Aliases aliases;
    if (length < 0) {
      aliases.add("ok.example", "a.example");
      aliases.add("a.example", "ok.example");
    }
    std::string last = "ok.example";
    for (int i = 0; i < length; ++i) {
      const std::string next = "alias" + std::to_string(i) + ".example";
      aliases.add(last, next);
      last = next;
    }
    aliases.add_address(last);
    world.asks("ok.example");
    world.datagram_arrives(world.dns_socket().handle, endpoint("198.51.100.53:53"),
                           aliases.answer(world.dns_socket().sent.back().payload));
    EXPECT_EQ(world.expect_answer().rcode, length == 8 ? 0 : 2) << length;
  }
}

// T13, and T6 for what is neither DNS nor allowed.
TEST(NamesElsewhere, MulticastAndOtherResolversGoNowhere) {
  Naming world(leak_policy());
  for (const char* to :
       {"224.0.0.251:5353", "224.0.0.252:5355", "239.255.255.250:1900", "[ff02::fb]:5353",
        "[ff02::1:3]:5355", "255.255.255.255:137", "10.0.2.255:137", "224.0.0.251:53"}) {
    world.guest_sends(Udp().to(to).payload(dns_query(1, "ok.example")));
  }
  world.expect_nothing();
  for (const char* to : {"1.1.1.1:853", "8.8.8.8:443", "[2606:4700:4700::1111]:443"}) {
    world.guest_sends(Syn().to(to));
    (void)world.expect_reset();
  }
  world.guest_sends(Udp().to("1.1.1.1:853"));
  (void)world.expect_icmp(3, 13);
  EXPECT_EQ(world.host_contacts(), 0U);
}

// T17: the metadata service has a name too.
TEST(NamesMetadata, IsReachedByNoNameRule) {
  Naming world({.allow = {"metadata.google.internal", "169.254.0.0/16"}});
  world.zone["metadata.google.internal"] = {"169.254.169.254"};
  const Endpoint remote = world.looks_up("metadata.google.internal", 80);
  world.guest_sends(Syn().to(remote));
  world.upstreams_answer();
  (void)world.expect_reset();
  world.guest_sends(Syn().to("169.254.169.254:80"));
  (void)world.expect_reset();
  EXPECT_TRUE(world.host.dialled.empty());
}

TEST(NamesLocal, AreAnsweredUnderEveryPolicy) {
  Naming world(leak_policy());
  EXPECT_EQ(world.resolves("localhost").addresses, std::vector{address("127.0.0.1")});
  EXPECT_EQ(world.resolves("host.cordon.internal").addresses,
            std::vector{door_address(Family::kIpv4)});
  EXPECT_EQ(world.host_contacts(), 0U);
}

TEST(NamesDeniedByRule, WhereTheDefaultIsOpen) {
  Naming world({.deny = {".evil.example"}});
  fill(world);
  EXPECT_EQ(world.resolves("evil.example").rcode, 3);
  EXPECT_EQ(world.resolves("a.evil.example").rcode, 3);
  EXPECT_EQ(world.host_contacts(), 0U);
  world.connects(world.looks_up("ok.example", 8443));
  EXPECT_EQ(world.host.dialled.back(), endpoint("198.51.100.17:8443"));
}

TEST(NamesAsked, OnlyAnAnswerCouldAllowAreNotLookedUp) {
  Naming world({.ask = {"ask.example"}});
  const DnsSeen answer = world.resolves("ask.example");
  ASSERT_EQ(answer.addresses.size(), 1U);
  EXPECT_TRUE(Prefix::parse("198.18.0.0/15")->contains(answer.addresses[0]));
  EXPECT_EQ(world.host_contacts(), 0U);
}

TEST(NamesReported, GoOnAndAreTold) {
  Naming world({.allow = {"ok.example"}, .mode = PolicyMode::kReport});
  fill(world);
  const Endpoint evil = world.looks_up("evil.example", 443);
  ASSERT_EQ(world.events.denials.size(), 1U);
  EXPECT_TRUE(world.events.denials[0].is_only_reported);
  world.connects(evil);
  ASSERT_EQ(world.events.denials.size(), 2U);
  EXPECT_TRUE(world.events.denials[1].is_only_reported);
  EXPECT_EQ(world.events.denials[1].request.name->to_string(), "evil.example");
  EXPECT_EQ(world.drops(Drop::kDenied), 0U);
}

// Pin mode: real addresses, known by the answers that had them.
WorldOptions pinned() {
  return {.allow = {"ok.example", "*.wild.example"}, .names = {.mode = NameSettings::Mode::kPin}};
}

TEST(NamesPinned, AreAnsweredWithTheirAddressesWhichMayThenBeDialled) {
  Naming world(pinned());
  fill(world);
  const Endpoint ok = world.looks_up("ok.example", 443);
  EXPECT_EQ(ok, endpoint("198.51.100.17:443"));
  EXPECT_EQ(world.looks_up("ok.example", 443, Family::kIpv6), endpoint("[2001:db8::17]:443"));
  world.guest_connects("198.51.100.17:443");
  EXPECT_EQ(world.events.flows.back().request.name->to_string(), "ok.example");
  world.guest_sends(Syn().to("198.51.100.17:22").from_port(41000));
  (void)world.expect_reset();
}

// T21 and T22: an address that no allowed name was answered with.
TEST(NamesPinned, AnAddressThatWasNoAnswerIsDenied) {
  Naming world(pinned());
  fill(world);
  world.guest_sends(Syn().to("198.51.100.17:443"));
  (void)world.expect_reset();
  EXPECT_EQ(world.events.denials.at(0).verdict.reason, Reason::kNoName);
  (void)world.looks_up("ok.example", 443);
  world.guest_sends(Syn().to("198.51.100.66:443"));
  (void)world.expect_reset();
  EXPECT_TRUE(world.host.dialled.empty());
  world.guest_connects("198.51.100.17:443");
}

TEST(NamesPinned, HoldForAnHourAndAFlowForAsLongAsItLives) {
  Naming world(pinned());
  fill(world);
  (void)world.looks_up("ok.example", 443);  // TTL 60
  world.advance(59min);
  world.guest_connects("198.51.100.17:443");
  world.advance(2min);
  world.guest_sends(Syn().to("198.51.100.17:443").from_port(41000));
  (void)world.expect_reset();
  world.host_changes();
  world.advance(1s);
  EXPECT_EQ(world.flow_sockets(), 2U) << "the flow is older than its pin, and lives";
  (void)world.looks_up("ok.example", 443);
  world.guest_connects("198.51.100.17:443", 41001);
}

TEST(NamesPinned, AddressesThatNoNameLeadsToAreLeftOut) {
  Naming world(pinned());
  world.zone["ok.example"] = {"127.0.0.1", "0.0.0.0",  "169.254.169.254",
                              "224.0.0.1", "10.0.0.1", "198.51.100.17"};
  EXPECT_EQ(world.resolves("ok.example").addresses,
            (std::vector{address("10.0.0.1"), address("198.51.100.17")}));
  world.guest_sends(Syn().to("10.0.0.1:443"));
  (void)world.expect_reset();
  EXPECT_EQ(world.events.denials.at(0).verdict.reason, Reason::kRebind);
  EXPECT_TRUE(world.host.dialled.empty());
}

TEST(NamesPinned, QuicToThemIsRejected) {
  Naming world(pinned());
  fill(world);
  (void)world.looks_up("ok.example", 443);
  world.guest_sends(Udp().to("198.51.100.17:443"));
  (void)world.expect_icmp(3, 3);
}

// T37: another policy.
TEST(NamesPolicyChange, ResetsWhatIsNoLongerAllowedAndNothingElse) {
  Naming world({.allow = {"ok.example", "*.wild.example", "udp/ntp.example:123", "198.51.100.99"}});
  fill(world);
  world.zone["ntp.example"] = {"198.51.100.123"};
  world.connects(world.looks_up("ok.example", 443), 41000);
  const SocketHandle kept = world.host_socket().handle;
  world.connects(world.looks_up("a.wild.example", 443), 41001);
  const SocketHandle gone = world.host_socket().handle;
  world.guest_connects("198.51.100.99:80", 41002);
  const SocketHandle plain = world.host_socket().handle;
  world.guest_sends(Udp().to(world.looks_up("ntp.example", 123)).from_port(41003));
  world.upstreams_answer();
  const SocketHandle ntp = world.udp_socket().handle;
  world.changes_policy({.allow = {"ok.example"}, .default_action = DefaultAction::kDeny});
  world.advance(1s);
  EXPECT_TRUE(world.sockets.is_open(kept));
  EXPECT_EQ(world.sockets.was(gone).end, End::kReset);
  EXPECT_EQ(world.sockets.was(plain).end, End::kReset);
  EXPECT_FALSE(world.sockets.is_open(ntp));
  EXPECT_EQ(world.resolves("a.wild.example").rcode, 3);
  world.connects(world.looks_up("ok.example", 443), 41010);
}

TEST(NamesPolicyChange, MayTakeAndGiveNames) {
  Naming world({.allow = {"ok.example"}});
  fill(world);
  const Endpoint ok = world.looks_up("ok.example", 443);
  world.guest_sends(Syn().to(ok).from_port(41000).seq(4));
  world.upstreams_answer();
  world.changes_policy({.allow = {"evil.example"}, .default_action = DefaultAction::kDeny});
  EXPECT_EQ(world.expect_reset().ack, 5U) << "a dial under way ends too";
  EXPECT_EQ(world.flow_sockets(), 0U);
  world.guest_sends(Syn().to(ok).from_port(41001));
  (void)world.expect_reset();
  world.connects(world.looks_up("evil.example", 443), 41002);
  // Without names at all the pool's addresses keep their meaning.
  world.changes_policy({});
  world.advance(1s);
  world.connects(ok, 41003);
  EXPECT_EQ(world.host.dialled.back(), endpoint("198.51.100.17:443"));
}

}  // namespace
}  // namespace cordon::world
