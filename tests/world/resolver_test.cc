// DNS through the translator: the names that are ours, and what a guest may ask and is answered.

#include <gtest/gtest.h>

#include "netstack/flow/limits.h"
#include "tests/world/asking.h"

namespace cordon::world {
namespace {

TEST(ResolverLocal, NamesAreAnsweredWithoutAnUpstream) {
  Asking world;
  struct Row {
    const char* name;
    std::uint16_t type;
    std::vector<IpAddress> addresses;
  };
  for (const Row& row :
       {Row{"localhost", 1, {address("127.0.0.1")}}, Row{"localhost", 28, {address("::1")}},
        Row{"a.localhost", 1, {address("127.0.0.1")}},
        Row{"host.cordon.internal", 1, {door_address(Family::kIpv4)}},
        Row{"HOST.Cordon.Internal", 28, {door_address(Family::kIpv6)}},
        Row{"gateway.cordon.internal", 1, {gateway_address(Family::kIpv4)}},
        Row{"resolver.cordon.internal", 28, {resolver_address(Family::kIpv6)}},
        Row{"guest.cordon.internal", 1, {guest_address(Family::kIpv4)}}}) {
    world.asks(7, row.name, row.type);
    const DnsSeen answer = world.expect_answer();
    EXPECT_EQ(answer.rcode, 0) << row.name;
    EXPECT_EQ(answer.id, 7);
    EXPECT_EQ(answer.name, row.name);
    EXPECT_EQ(answer.addresses, row.addresses) << row.name;
  }
  world.asks(8, "nosuch.cordon.internal");
  EXPECT_EQ(world.expect_answer().rcode, 3);
  EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 0U);
}

TEST(ResolverPolicy, WhereNoNameLeadsAnywhereNothingIsAsked) {
  Asking world({.allow = {"198.51.100.17:443"}, .default_action = DefaultAction::kDeny});
  world.asks(7, "example.org", 1, 1232);
  const DnsSeen answer = world.expect_answer();
  EXPECT_EQ(answer.rcode, 3);
  EXPECT_EQ(answer.extended_error, 17);
  world.asks(8, "example.org");
  EXPECT_EQ(world.expect_answer().rcode, 3);
  EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 0U);
  ASSERT_EQ(world.events.denials.size(), 1U);  // the second question is a repetition
  EXPECT_EQ(world.events.denials[0].kind, Denial::Kind::kQuery);
  EXPECT_EQ(world.events.denials[0].query_type, 1);
}

TEST(ResolverRelay, AsksTheFirstUpstreamInItsOwnWordsAndGivesTheAnswerBack) {
  Asking world;
  world.asks(0x1111, "wWw.ExAmple.ORG");
  const DnsSeen query = read_dns(world.query());
  EXPECT_EQ(world.asked(), endpoint(kFirst));
  EXPECT_EQ(query.name, "www.example.org");
  EXPECT_TRUE(query.is_recursion_desired);
  EXPECT_TRUE(query.edns_octets);
  EXPECT_FALSE(query.is_response);
  world.upstream_answers(0, {"198.51.100.80"});
  const DnsSeen answer = world.expect_answer();
  EXPECT_EQ(answer.id, 0x1111);
  EXPECT_EQ(answer.name, "wWw.ExAmple.ORG");  // draft-vixie-dnsext-dns0x20
  EXPECT_EQ(answer.addresses, std::vector{address("198.51.100.80")});
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(ResolverRelay, WhateverAddressTheGuestAsksAnswersFromThere) {
  Asking world;
  for (const char* server : {"198.51.100.1:53", "[2001:db8::53]:53", "127.0.0.53:53"}) {
    world.guest_sends(Udp().to(server).payload(dns_query(1, "example.org")));
    EXPECT_EQ(world.asked(), endpoint(kFirst));
    world.upstream_answers(0, {"198.51.100.80"});
    EXPECT_EQ(world.expect_udp().source, endpoint(server).address);
  }
  EXPECT_TRUE(world.events.denials.empty());
}

TEST(ResolverRelay, HasAnIdOfItsOwnForEachQuery) {  // RFC 5452 section 9.2
  Asking world;
  std::set<std::uint16_t> ids;
  for (std::uint16_t i = 0; i < 50; ++i) {
    world.asks(1, "example.org", 1, 0, 2000 + i);
    ids.insert(read_dns(world.query()).id);
  }
  EXPECT_GT(ids.size(), 45U);
  EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 50U);
}

TEST(ResolverRelay, TheGuestsRepetitionIsNotAskedAgain) {
  Asking world;
  for (int i = 0; i < 5; ++i) world.asks(1, "example.org");
  EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 1U);
  world.upstream_answers(0, {"198.51.100.80"});
  (void)world.expect_answer();
  world.expect_nothing();
}

TEST(ResolverSize, AnAnswerThatIsTooLargeIsTruncated) {  // RFC 2181 section 9
  Asking world;
  const std::vector<std::string> many(60, "198.51.100.80");
  world.asks(1, "example.org");
  world.upstream_answers(0, many);
  const DnsSeen cut = world.expect_answer();
  EXPECT_TRUE(cut.is_truncated);
  EXPECT_EQ(cut.answers, 0);
  EXPECT_EQ(cut.name, "example.org");
  world.asks(2, "example.org", 1, 4096);
  world.upstream_answers(0, many);
  const DnsSeen whole = world.expect_answer();
  EXPECT_FALSE(whole.is_truncated);
  EXPECT_EQ(whole.addresses.size(), 60U);
}

TEST(ResolverLimit, FiveHundredAndTwelveQueriesAreInFlight) {
  Asking world;
  for (std::uint16_t i = 0; i < 2000; ++i) world.asks(i, "example.org", 1, 0, 3000 + i);
  EXPECT_EQ(world.sockets.open_count(OwnerKind::kDns), kMaxDnsQueries);
  EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 2000U);
  world.advance(11s);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(ResolverGarbage, IsIgnoredOrRefused) {
  Asking world;
  const auto sends = [&](Octets message) {
    world.guest_sends(Udp()
                          .to(Endpoint{.address = resolver_address(Family::kIpv4), .port = 53})
                          .payload(std::move(message)));
  };
  const Octets query = dns_query(9, "example.org");
  for (std::size_t size = 0; size < 12; ++size) {
    sends(Octets(query.begin(), query.begin() + static_cast<std::ptrdiff_t>(size)));
  }
  sends(dns_answer(query, 0));
  world.expect_nothing();
  for (std::size_t size = 12; size < query.size(); ++size) {
    sends(Octets(query.begin(), query.begin() + static_cast<std::ptrdiff_t>(size)));
    EXPECT_EQ(world.expect_answer().rcode, 1) << size;  // FORMERR
  }
  Octets update = query;
  update[2] = 5 << 3;
  sends(update);
  EXPECT_EQ(world.expect_answer().rcode, 4);
  sends(dns_query(9, "example.org", 252));  // AXFR
  EXPECT_EQ(world.expect_answer().rcode, 4);
  EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 0U);
}

TEST(ResolverTrain, EveryQueryOfItIsAnswered) {
  Asking world;
  Octets train = dns_query(1, "localhost");
  const std::size_t size = train.size();
  const Octets second = dns_query(2, "localhost");
  train.insert(train.end(), second.begin(), second.end());
  world.guest_sends(Udp()
                        .to("198.51.100.17:53")
                        .payload(std::move(train))
                        .train(static_cast<std::uint16_t>(size)));
  // The answers are a train, too.
  const Seen answers = world.expect_udp();
  ASSERT_EQ(answers.payload.size(), std::size_t{2} * answers.segment_size);
  const auto half = answers.payload.begin() + answers.segment_size;
  EXPECT_EQ(read_dns(Octets(answers.payload.begin(), half)).id, 1);
  EXPECT_EQ(read_dns(Octets(half, answers.payload.end())).id, 2);
  world.expect_nothing();
}

TEST(ResolverUpstreams, OnTheLoopbackAreExemptFromTheFloor) {  // systemd-resolved
  Asking world({.upstreams = {"127.0.0.53:53"}});
  world.asks(1, "example.org");
  EXPECT_EQ(world.asked(), endpoint("127.0.0.53:53"));
  world.upstream_answers(0, {"198.51.100.80"});
  (void)world.expect_answer();
}

TEST(ResolverOff, NobodyAnswers) {
  Asking world({.names = {.mode = NameSettings::Mode::kOff}});
  world.asks(1, "example.org");
  (void)world.expect_icmp(3, 3);
  world.asks(2, "localhost");
  (void)world.expect_icmp(3, 3);
  world.guest_sends(Syn().to("198.51.100.1:53"));
  (void)world.expect_reset();
  EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 0U);
}

}  // namespace
}  // namespace cordon::world
