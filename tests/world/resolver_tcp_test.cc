// DNS over TCP (RFC 7766): it ends at the resolver, whatever address was dialled.
#include <cerrno>

#include <gtest/gtest.h>

#include "netstack/flow/limits.h"
#include "tests/world/asking.h"

namespace cordon::world {
namespace {

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

}  // namespace
}  // namespace cordon::world
