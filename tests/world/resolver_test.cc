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
  world.guest_sends(Syn().to("198.51.100.53:53"));
  (void)world.expect_reset();
  EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 0U);
  EXPECT_TRUE(world.host.dialled.empty());
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
  EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 1U);
  world.advance(1ms);
  EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 2U);
  EXPECT_EQ(world.asked(), endpoint(kSecond));
  EXPECT_EQ(world.flow_sockets(), 1U);  // the first one's socket is closed
  world.upstream_answers(0, {"198.51.100.80"});
  EXPECT_EQ(world.expect_answer().addresses.size(), 1U);
  // Who answered is asked first from now on.
  world.asks(2, "example.org");
  EXPECT_EQ(world.asked(), endpoint(kSecond));
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
  EXPECT_EQ(world.sockets.opened(OwnerKind::kDns), 4U);  // each twice
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
  world.guest_sends(Syn().to("198.51.100.1:53"));
  (void)world.expect_reset();
}

TEST(ResolverUpstreams, ANewListCountsFromTheNextQuery) {
  Asking world;
  world.asks(1, "example.org");
  world.translator.set_upstreams({endpoint("[2001:db8::99]:53")});
  world.asks(2, "example.net");
  EXPECT_EQ(world.asked(), endpoint("[2001:db8::99]:53"));
  world.upstream_answers(0, {"198.51.100.80"});
  EXPECT_EQ(world.expect_answer().id, 2);
  world.advance(1500ms);  // the one in flight is asked again there
  EXPECT_EQ(world.asked(), endpoint("[2001:db8::99]:53"));
  world.upstream_answers(0, {"198.51.100.80"});
  EXPECT_EQ(world.expect_answer().id, 1);
}

TEST(ResolverUpstreams, AnEmptyListEndsWhatIsInFlight) {
  Asking world;
  world.asks(1, "example.org");
  world.translator.set_upstreams({});
  const SocketHandle socket = world.dns_socket().handle;
  world.datagram_arrives(socket, endpoint(kFirst), dns_answer(world.query(), 0, {"198.51.100.1"}));
  world.advance(10s);
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
  EXPECT_EQ(world.expect_answer().id, 1);
  EXPECT_EQ(world.expect_answer().id, 2);
  world.expect_nothing();
}

// Over TCP the guest's stream is spliced to an upstream, whatever address it dialled.
TEST(ResolverTcp, GoesToTheFirstUpstream) {
  World world;
  world.guest_sends(Syn().to("198.51.100.1:53"));
  EXPECT_EQ(world.host.dialled.back(), endpoint(kFirst));
  world.dial_succeeds();
  EXPECT_EQ(world.expect_syn_ack().source, address("198.51.100.1"));
  world.arrives(world.guest_socket().handle, 40);
  EXPECT_EQ(world.host_socket().written, 40U);
}

TEST(ResolverTcp, FailsOverWhenOneRefusesOrIsSilent) {
  for (const bool is_silent : {true, false}) {
    World world;
    world.guest_sends(Syn().to("[2001:db8::1]:53"));
    const SocketHandle first = world.host_socket().handle;
    if (is_silent) {
      world.advance(1500ms);
    } else {
      world.dial_fails(ECONNREFUSED);
    }
    EXPECT_FALSE(world.sockets.is_open(first));
    EXPECT_EQ(world.host.dialled.back(), endpoint(kSecond));
    world.expect_nothing();
    world.dial_succeeds();
    (void)world.expect_syn_ack();
    EXPECT_EQ(world.flow_sockets(), 2U);
  }
}

TEST(ResolverTcp, WhereAllRefuseTheGuestIsRefused) {
  World world;
  world.guest_sends(Syn().to("198.51.100.1:53").seq(3));
  world.dial_fails(ECONNREFUSED);
  world.dial_fails(ECONNREFUSED);
  EXPECT_EQ(world.expect_reset().ack, 4U);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(ResolverTcp, WhereAllAreSilentTheFlowEnds) {
  World world;
  world.guest_sends(Syn().to("198.51.100.1:53"));
  world.advance(3s);
  EXPECT_EQ(world.host.dialled.size(), 2U);
  EXPECT_EQ(world.flow_sockets(), 0U);
  // Its end is counted, so that the address has room again.
  for (int i = 0; i < 600; ++i) {
    world.guest_sends(Syn().to("198.51.100.1:53"));
    world.advance(3s);
  }
  EXPECT_EQ(world.drops(Drop::kHalfOpenLimit), 0U);
  EXPECT_EQ(world.host.dialled.size(), 1202U);
}

TEST(ResolverTcp, AnUpstreamOnTheLoopbackIsExemptFromTheFloor) {  // systemd-resolved
  Asking world({.upstreams = {"127.0.0.53:53"}});
  world.guest_sends(Syn().to("198.51.100.1:53"));
  EXPECT_EQ(world.host.dialled.back(), endpoint("127.0.0.53:53"));
  world.dial_succeeds();
  (void)world.expect_syn_ack();
  world.host_changes();
  EXPECT_EQ(world.flow_sockets(), 2U);
  world.asks(1, "example.org");
  world.upstream_answers(0, {"198.51.100.80"});
  (void)world.expect_answer();
}

}  // namespace
}  // namespace cordon::world
