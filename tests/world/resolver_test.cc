// DNS through the translator: the names that are ours, the upstreams' answers, and everybody who
// would like to be one.
#include <cerrno>

#include <gtest/gtest.h>

#include "netstack/flow/limits.h"
#include "tests/world/dns.h"
#include "tests/world/world.h"

namespace cordon::world {
namespace {

constexpr const char* kFirst = "198.51.100.53:53";
constexpr const char* kSecond = "198.51.100.54:53";

struct Asking : World {
  using World::World;
  void asks(std::uint16_t id, std::string_view name, std::uint16_t type = 1, std::uint16_t edns = 0,
            std::uint16_t port = 5000) {
    guest_sends(Udp()
                    .from_port(port)
                    .to(Endpoint{.address = resolver_address(Family::kIpv4), .port = 53})
                    .payload(dns_query(id, name, type, edns)));
  }
  DnsSeen expect_answer(Where where = Where::current()) {
    const Seen seen = expect_udp(where);
    EXPECT_EQ(seen.source_port, 53);
    return read_dns(seen.payload);
  }
  /// The query that the last upstream socket sent.
  Octets query() {
    EXPECT_FALSE(dns_socket().sent.empty());
    return dns_socket().sent.empty() ? Octets{} : dns_socket().sent.back().payload;
  }
  Endpoint asked() { return dns_socket().sent.back().destination; }
  void upstream_answers(std::uint8_t rcode, const std::vector<std::string>& addresses = {}) {
    datagram_arrives(dns_socket().handle, asked(), dns_answer(query(), rcode, addresses));
  }
};

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

TEST(ResolverFailover, TheNextUpstreamIsAskedAfterOneAndAHalfSeconds) {
  Asking world;
  world.asks(1, "example.org");
  world.advance(1500ms - 1ms);
  EXPECT_EQ(world.asked(), endpoint(kFirst));
  world.advance(1ms);
  EXPECT_EQ(world.asked(), endpoint(kSecond));
  EXPECT_EQ(world.flow_sockets(), 1U);  // the same: the first may answer yet
  world.upstream_answers(0, {"198.51.100.80"});
  EXPECT_EQ(world.expect_answer().addresses.size(), 1U);
  // Who answered is asked first from now on.
  world.asks(2, "example.org");
  EXPECT_EQ(world.asked(), endpoint(kSecond));
}

TEST(ResolverFailover, ALateAnswerCountsAfterTheNextWasAsked) {
  Asking world;
  world.asks(1, "example.org");
  world.advance(2s);
  EXPECT_EQ(world.asked(), endpoint(kSecond));
  world.datagram_arrives(world.dns_socket().handle, endpoint(kFirst),
                         dns_answer(world.query(), 0, {"198.51.100.80"}));
  EXPECT_EQ(world.expect_answer().addresses, std::vector{address("198.51.100.80")});
  EXPECT_EQ(world.flow_sockets(), 0U);
  world.asks(2, "example.org");  // slow, and it answered
  EXPECT_EQ(world.asked(), endpoint(kFirst));
}

TEST(ResolverFailover, TheOnlyUpstreamMayTakeLongerThanAFailover) {
  for (const Duration needed : {Duration(2s), Duration(5s), Duration(8900ms)}) {
    Asking world({.upstreams = {kFirst}});
    world.asks(1, "example.org");
    const SocketHandle socket = world.dns_socket().handle;
    const Octets query = world.query();
    world.advance(needed);
    EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 1U);
    EXPECT_EQ(world.query(), query);  // asked again in the same words
    world.datagram_arrives(socket, endpoint(kFirst), dns_answer(query, 0, {"198.51.100.80"}));
    EXPECT_EQ(world.expect_answer().rcode, 0);
    EXPECT_EQ(world.flow_sockets(), 0U);
  }
}

TEST(ResolverFailover, UpstreamsOfBothFamiliesAreHeardTogether) {
  const std::string other = "[2001:db8::53]:53";
  for (const bool is_first_to_answer : {true, false}) {
    Asking world({.upstreams = {kFirst, other}});
    world.asks(1, "example.org");
    const SocketHandle first = world.dns_socket().handle;
    world.advance(1500ms);
    EXPECT_EQ(world.asked(), endpoint(other));
    EXPECT_EQ(world.flow_sockets(), 2U);
    const SocketHandle second = world.dns_socket().handle;
    EXPECT_NE(first, second);
    world.datagram_arrives(is_first_to_answer ? first : second,
                           endpoint(is_first_to_answer ? kFirst : other),
                           dns_answer(world.query(), 0, {"198.51.100.80"}));
    EXPECT_EQ(world.expect_answer().rcode, 0);
    EXPECT_EQ(world.flow_sockets(), 0U);
  }
}

TEST(ResolverFailover, ALateFailureDoesNotEndWhatAnotherMayAnswer) {
  Asking world;
  world.asks(1, "example.org");
  world.advance(1600ms);
  const Octets failure = dns_answer(world.query(), 2);
  world.datagram_arrives(world.dns_socket().handle, endpoint(kFirst), failure);
  world.expect_nothing();
  EXPECT_EQ(world.dns_socket().sent.size(), 2U);
  world.upstream_answers(0, {"198.51.100.80"});
  EXPECT_EQ(world.expect_answer().rcode, 0);
  // Once everybody has had his time it is the answer.
  world.asks(2, "example.org");
  world.advance(3100ms);
  const Octets last = dns_answer(world.query(), 2);
  world.datagram_arrives(world.dns_socket().handle, endpoint(kFirst), last);
  EXPECT_EQ(world.expect_answer().rcode, 2);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(ResolverFailover, ServfailAndRefusedGoToTheNext) {
  for (const std::uint8_t rcode : {2, 5}) {
    Asking world;
    world.asks(1, "example.org");
    world.upstream_answers(rcode);
    world.expect_nothing();
    EXPECT_EQ(world.asked(), endpoint(kSecond));
    world.upstream_answers(0, {"198.51.100.80"});
    EXPECT_EQ(world.expect_answer().rcode, 0);
  }
}

TEST(ResolverFailover, WhereAllFailTheGuestGetsTheLastFailure) {
  Asking world;
  world.asks(1, "example.org");
  world.upstream_answers(2);
  world.upstream_answers(5);
  EXPECT_EQ(world.expect_answer().rcode, 5);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(ResolverFailover, NxdomainIsAnAnswer) {
  Asking world;
  world.asks(1, "nosuch.example.org");
  world.upstream_answers(3);
  EXPECT_EQ(world.expect_answer().rcode, 3);
  EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 1U);
}

TEST(ResolverFailover, WhereAllAreSilentTheGuestGetsServfailWithinTenSeconds) {
  Asking world;
  world.asks(1, "example.org", 1, 1232);
  world.advance(10s);
  const DnsSeen answer = world.expect_answer();
  EXPECT_EQ(answer.rcode, 2);
  EXPECT_EQ(answer.extended_error, 22);
  EXPECT_EQ(world.dns_socket().sent.size(), 6U);  // each three times
  EXPECT_EQ(world.events.count(Notice::kUpstreamSilent), 1U);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(ResolverFailover, APortUnreachableGoesToTheNextAtOnce) {
  Asking world;
  world.asks(1, "example.org");
  world.error_arrives(world.dns_socket().handle,
                      DatagramError{.destination = endpoint(kFirst), .error = ECONNREFUSED});
  EXPECT_EQ(world.asked(), endpoint(kSecond));
}

TEST(ResolverFailover, WhereAllRefuseTwiceTheGuestGetsServfailAtOnce) {
  Asking world;
  world.asks(1, "example.org");
  for (int i = 0; i < 4; ++i) {
    world.expect_nothing();
    world.error_arrives(world.dns_socket().handle,
                        DatagramError{.destination = world.asked(), .error = ECONNREFUSED});
  }
  EXPECT_EQ(world.expect_answer().rcode, 2);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(ResolverFailover, ARefusalBesideOneThatIsSilentIsNotTheEnd) {
  Asking world;
  world.asks(1, "example.org");
  for (int i = 0; i < 5; ++i) {
    world.advance(1500ms);  // the first is silent
    EXPECT_EQ(world.asked(), endpoint(kSecond));
    world.error_arrives(world.dns_socket().handle,
                        DatagramError{.destination = endpoint(kSecond), .error = ECONNREFUSED});
    EXPECT_EQ(world.asked(), endpoint(kFirst));
  }
  world.expect_nothing();
  world.upstream_answers(0, {"198.51.100.80"});
  EXPECT_EQ(world.expect_answer().rcode, 0);
}

TEST(ResolverFailover, WhereASocketCannotSendAgainTheNextIsAskedFromAFreshOne) {
  Asking world;
  world.asks(1, "example.org");
  world.script.fails(Call::kSend, ECONNREFUSED, 1);  // an error of before, told late
  world.advance(1500ms);
  EXPECT_EQ(world.asked(), endpoint(kSecond));
  EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 2U);
  EXPECT_EQ(world.flow_sockets(), 1U);
  world.upstream_answers(0, {"198.51.100.80"});
  EXPECT_EQ(world.expect_answer().rcode, 0);
}

TEST(ResolverFailover, HostErrorsGoToTheNextAndEndInServfail) {
  for (const int error : {ENETUNREACH, EMFILE, EAFNOSUPPORT, ENOBUFS}) {
    for (const Call call : {Call::kSend, Call::kOpenUdp}) {
      Asking world;
      world.script.fails(call, error, 1);
      world.asks(1, "example.org");
      EXPECT_EQ(world.asked(), endpoint(kSecond));
      world.upstream_answers(0, {"198.51.100.80"});
      (void)world.expect_answer();
      world.script.fails(call, error, 4);
      world.asks(2, "example.org");
      EXPECT_EQ(world.expect_answer().rcode, 2);
      EXPECT_EQ(world.flow_sockets(), 0U);
    }
  }
}

TEST(ResolverFailover, WithoutUpstreamsIsServfailAtOnce) {
  Asking world({.upstreams = {}});
  world.asks(1, "example.org");
  EXPECT_EQ(world.expect_answer().rcode, 2);
}

TEST(ResolverUpstreams, ANewListTakesOverWhatIsUnderWayAtOnce) {
  Asking world;
  world.asks(1, "example.org");
  const SocketHandle before = world.dns_socket().handle;
  world.translator.set_upstreams(world.now, {endpoint("[2001:db8::99]:53")});
  EXPECT_FALSE(world.sockets.is_open(before));
  EXPECT_EQ(world.asked(), endpoint("[2001:db8::99]:53"));
  world.upstream_answers(0, {"198.51.100.80"});
  EXPECT_EQ(world.expect_answer().id, 1);
  world.asks(2, "example.net");
  EXPECT_EQ(world.asked(), endpoint("[2001:db8::99]:53"));
  world.upstream_answers(0, {"198.51.100.80"});
  EXPECT_EQ(world.expect_answer().id, 2);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(ResolverUpstreams, TheSameListAgainChangesNothing) {
  Asking world;
  world.asks(1, "example.org");
  world.translator.set_upstreams(world.now, {endpoint(kFirst), endpoint(kSecond)});
  EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 1U);
  EXPECT_EQ(world.dns_socket().sent.size(), 1U);
  world.upstream_answers(0, {"198.51.100.80"});
  EXPECT_EQ(world.expect_answer().id, 1);
}

TEST(ResolverUpstreams, AnEmptyListEndsWhatIsInFlight) {
  Asking world;
  world.asks(1, "example.org");
  world.translator.set_upstreams(world.now, {});
  EXPECT_EQ(world.flow_sockets(), 0U);
  world.advance(1ms);
  EXPECT_EQ(world.expect_answer().rcode, 2);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(ResolverForgery, OfAThousandAnswersNoneIsTaken) {  // RFC 5452
  Asking world;
  world.asks(1, "example.org");
  const SocketHandle socket = world.dns_socket().handle;
  const Octets query = world.query();
  const std::uint16_t id = read_dns(query).id;
  FakeEntropy entropy(3);
  for (int i = 0; i < 1000; ++i) {
    Octets forged = dns_answer(query, 0, {"198.51.100.66"});
    Endpoint peer = endpoint(kFirst);
    switch (i % 5) {
      case 0:  // a wrong id
        forged[0] = static_cast<std::uint8_t>(entropy.next());
        forged[1] = static_cast<std::uint8_t>(entropy.next());
        if (((forged[0] << 8) | forged[1]) == id) forged[0] ^= 1;
        break;
      case 1:
        peer.port = 54;
        break;
      case 2:
        peer.address = address("198.51.100.54");  // the other upstream, which was not asked
        break;
      case 3: {  // another question
        forged = dns_answer(dns_query(id, "example.net"), 0, {"198.51.100.66"});
        break;
      }
      case 4:
        forged[2] &= 0x7f;  // a query
        break;
    }
    world.datagram_arrives(socket, peer, forged);
  }
  world.expect_nothing();
  EXPECT_EQ(world.drops(Drop::kUnknownPeer), 1000U);
  world.upstream_answers(0, {"198.51.100.80"});
  EXPECT_EQ(world.expect_answer().addresses, std::vector{address("198.51.100.80")});
}

TEST(ResolverForgery, BrokenAnswersAreNotPassedOn) {
  Asking world;
  world.asks(1, "example.org");
  const SocketHandle socket = world.dns_socket().handle;
  const Octets whole = dns_answer(world.query(), 0, {"198.51.100.80"});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    world.datagram_arrives(socket, endpoint(kFirst), Octets(whole.begin(), whole.begin() + size));
  }
  Octets longer = whole;
  longer.push_back(0);
  world.datagram_arrives(socket, endpoint(kFirst), longer);
  world.expect_nothing();
  world.datagram_arrives(socket, endpoint(kFirst), whole);
  EXPECT_EQ(world.expect_answer().rcode, 0);
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

// DNS over TCP ends at the resolver, whatever address was dialled (RFC 7766).
struct AskingByTcp : Asking {
  using Asking::Asking;
  void opens(std::string_view remote = "198.51.100.1:53", std::uint16_t port = 40000) {
    guest_sends(Syn().to(remote).from_port(port));
    EXPECT_EQ(expect_syn_ack().source, endpoint(remote).address);
  }
  static std::string framed(const Octets& message) {
    std::string text{static_cast<char>(message.size() >> 8), static_cast<char>(message.size())};
    return text.append(message.begin(), message.end());
  }
  void asks_by_tcp(std::uint16_t id, std::string_view name, std::uint16_t type = 1) {
    says(guest_socket().handle, framed(dns_query(id, name, type)));
  }
  /// The next answer on the last connection.
  DnsSeen expect_tcp_answer() {
    const std::string& heard = guest_socket().heard;
    const auto octet = [&](std::size_t at) { return static_cast<std::uint8_t>(heard.at(at)); };
    if (heard.size() < read_ + 2) {
      ADD_FAILURE() << "no answer";
      return {};
    }
    const std::size_t size = (std::size_t{octet(read_)} << 8) | octet(read_ + 1);
    EXPECT_GE(heard.size(), read_ + 2 + size);
    const std::string message = heard.substr(read_ + 2, size);
    read_ += 2 + size;
    return read_dns(Octets(message.begin(), message.end()));
  }
  [[nodiscard]] bool has_all_been_read() { return guest_socket().heard.size() == read_; }

 private:
  std::size_t read_ = 0;
};

TEST(ResolverTcp, IsAnsweredInsideAndNobodyIsDialled) {
  for (const char* server : {"198.51.100.1:53", "[2001:db8::53]:53", "127.0.0.53:53"}) {
    AskingByTcp world;
    world.opens(server);
    world.asks_by_tcp(7, "eXample.org");
    EXPECT_EQ(read_dns(world.query()).name, "example.org");
    world.upstream_answers(0, {"198.51.100.80"});
    const DnsSeen answer = world.expect_tcp_answer();
    EXPECT_EQ(answer.id, 7);
    EXPECT_EQ(answer.name, "eXample.org");
    EXPECT_EQ(answer.addresses, std::vector{address("198.51.100.80")});
    EXPECT_TRUE(world.host.dialled.empty());
    world.fin_arrives(world.guest_socket().handle);
    EXPECT_EQ(world.guest_socket().end, End::kClosed);
    EXPECT_EQ(world.flow_sockets(), 0U);
    EXPECT_EQ(world.translator.flows(), 0U);
  }
}

TEST(ResolverTcp, QuestionsInPiecesAndManyAtOnceAreAnswered) {
  AskingByTcp world;
  world.opens();
  const std::string both = AskingByTcp::framed(dns_query(1, "localhost")) +
                           AskingByTcp::framed(dns_query(2, "localhost", 28));
  for (const char octet : both) world.says(world.guest_socket().handle, {&octet, 1});
  EXPECT_EQ(world.expect_tcp_answer().id, 1);
  EXPECT_EQ(world.expect_tcp_answer().id, 2);
  world.says(world.guest_socket().handle, both);
  EXPECT_EQ(world.expect_tcp_answer().id, 1);
  EXPECT_EQ(world.expect_tcp_answer().id, 2);
  EXPECT_TRUE(world.has_all_been_read());
}

TEST(ResolverTcp, AGuestThatHasClosedItsHalfStillGetsItsAnswer) {
  AskingByTcp world;
  world.opens();
  world.asks_by_tcp(1, "example.org");
  world.fin_arrives(world.guest_socket().handle);
  EXPECT_EQ(world.guest_socket().end, End::kOpen);
  world.upstream_answers(0, {"198.51.100.80"});
  EXPECT_EQ(world.expect_tcp_answer().id, 1);
  EXPECT_EQ(world.guest_socket().end, End::kClosed);
}

TEST(ResolverTcp, AnAnswerWaitsForRoom) {
  AskingByTcp world;
  world.opens();
  world.guest_socket().room = 5;
  world.asks_by_tcp(1, "localhost");
  EXPECT_EQ(world.guest_socket().written, 5U);
  world.has_room(world.guest_socket().handle, 1000);
  EXPECT_EQ(world.expect_tcp_answer().id, 1);
}

TEST(ResolverTcp, WhoeverSaysNothingIsClosedAfterTwentySeconds) {
  AskingByTcp world;
  world.opens();
  world.advance(19s);
  EXPECT_EQ(world.flow_sockets(), 1U);
  world.advance(2s);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(ResolverTcp, NonsenseEndsTheConnection) {
  AskingByTcp world;
  world.opens();
  world.says(world.guest_socket().handle, std::string("\xff\xff", 2));
  EXPECT_EQ(world.guest_socket().end, End::kReset);
  world.opens("198.51.100.1:53", 40001);
  world.reset_arrives(world.guest_socket().handle);
  EXPECT_EQ(world.flow_sockets(), 0U);
  // An answer for a connection that is gone goes nowhere.
  world.opens("198.51.100.1:53", 40002);
  world.asks_by_tcp(1, "example.org");
  world.reset_arrives(world.guest_socket().handle);
  world.upstream_answers(0, {"198.51.100.80"});
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(ResolverTcp, SixtyFourConnectionsAreOpenAndTheOldestMakesRoom) {
  AskingByTcp world;
  for (std::uint16_t i = 0; i < kMaxDnsStreams; ++i) {
    world.opens("198.51.100.1:53", static_cast<std::uint16_t>(41000 + i));
  }
  world.guest_sends(Syn().to("198.51.100.1:53").from_port(50000));
  world.expect_nothing();  // the guest repeats its SYN
  world.advance(1s);
  world.opens("198.51.100.1:53", 50000);
  EXPECT_EQ(world.flow_sockets(), kMaxDnsStreams);
}

// RFC 7766: what does not fit a datagram is asked for again over TCP.
TEST(ResolverTcp, ATruncatedAnswerIsFetchedWholeForAGuestThatAsksByTcp) {
  AskingByTcp world;
  world.opens();
  world.asks_by_tcp(1, "example.org");
  Octets cut = dns_answer(world.query(), 0);
  cut[2] |= 0x02;
  const Octets query = world.query();
  world.datagram_arrives(world.dns_socket().handle, world.asked(), cut);
  EXPECT_EQ(world.host.dialled, std::vector{endpoint(kFirst)});
  world.dial_succeeds(world.dns_socket().handle);
  EXPECT_EQ(world.dns_socket().heard, AskingByTcp::framed(query));
  const Octets whole = dns_answer(query, 0, std::vector<std::string>(300, "198.51.100.80"));
  const std::string stream = AskingByTcp::framed(whole);
  for (std::size_t at = 0; at < stream.size(); at += 1000) {
    world.says(world.dns_socket().handle, stream.substr(at, 1000));
  }
  EXPECT_EQ(world.expect_tcp_answer().addresses.size(), 300U);
  EXPECT_EQ(world.sockets.open_count(OwnerKind::kDns), 0U);
}

TEST(ResolverTcp, WhereUpstreamsTakeNoTcpWhatFitsHasToDo) {
  for (const bool is_silent : {true, false}) {
    AskingByTcp world;
    world.opens();
    world.asks_by_tcp(1, "example.org");
    const auto cuts = [&] {
      Octets cut = dns_answer(world.query(), 0, {"198.51.100.80"});
      cut[2] |= 0x02;
      world.datagram_arrives(world.dns_socket().handle, world.asked(), cut);
    };
    cuts();
    if (is_silent) {
      world.advance(3s);
    } else {
      world.dial_fails(world.dns_socket().handle, ECONNREFUSED);
    }
    cuts();
    const DnsSeen answer = world.expect_tcp_answer();
    EXPECT_TRUE(answer.is_truncated);
    EXPECT_EQ(answer.addresses.size(), 1U);
  }
}

TEST(ResolverTcp, ANewListTakesOverAnAnswerThatComesOverTcp) {
  for (const bool is_connected : {true, false}) {
    AskingByTcp world;
    world.opens();
    world.asks_by_tcp(1, "example.org");
    Octets cut = dns_answer(world.query(), 0, {});
    cut[2] |= 0x02;
    world.datagram_arrives(world.dns_socket().handle, world.asked(), cut);
    if (is_connected) world.dial_succeeds(world.dns_socket().handle);
    world.translator.set_upstreams(world.now, {endpoint(kSecond)});
    EXPECT_EQ(world.asked(), endpoint(kSecond));
    EXPECT_EQ(world.sockets.open_count(OwnerKind::kDns), 1U);
    world.upstream_answers(0, {"198.51.100.80"});
    EXPECT_EQ(world.expect_tcp_answer().addresses.size(), 1U);
    EXPECT_EQ(world.sockets.open_count(OwnerKind::kDns), 0U);
  }
}

TEST(ResolverTcp, WithoutUpstreamsIsServfail) {
  AskingByTcp world({.upstreams = {}});
  world.opens();
  world.asks_by_tcp(1, "example.org");
  EXPECT_EQ(world.expect_tcp_answer().rcode, 2);
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
