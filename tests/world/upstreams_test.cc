// The host's DNS servers, as the resolver asks them: the next where one fails, a new list, and
// everybody who would like to be one.
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/world/asking.h"

namespace cordon::world {
namespace {

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

}  // namespace
}  // namespace cordon::world
