// First flights that are neither TLS nor HTTP, and those of which nobody can tell yet.
#include <gtest/gtest.h>

#include "tests/world/flight.h"

namespace cordon::world {
namespace {

TEST(FirstFlightOfOthers, IsOpaqueOnWhateverPort) {
  for (const std::uint16_t port : {22, 443, 80}) {
    Flight flight(options(), port);
    flight.host_says("SSH-2.0-server\r\n");
    EXPECT_EQ(flight.guest_heard(), "SSH-2.0-server\r\n") << "a server that speaks first is heard";
    flight.guest_says("SSH-2.0-client\r\n");
    flight.guest_says(std::string(100, '\0'));
    EXPECT_EQ(flight.host_heard(), "SSH-2.0-client\r\n" + std::string(100, '\0'));
    const std::size_t peeks = flight.world.streams.peeks;
    flight.guest_says(request("evil.example"));
    EXPECT_EQ(flight.world.streams.peeks, peeks) << "nobody looks any more";
  }
}

TEST(FirstFlightOfOthers, GoesOnAtOnceWhereItIsNeitherForCertain) {
  for (const char* line : {"HELO client.example\r\n", "PING\r\n", "EHLO x\n", "USER me\r\n",
                           "*1\r\n$4\r\nPING\r\n", "\x10\x0c"}) {
    Flight flight(options(), 22);
    flight.guest_says(line);
    EXPECT_EQ(flight.host_heard(), line);
    flight.host_says("250 hello\r\n");
    flight.guest_says(request("evil.example"));
    EXPECT_EQ(flight.host_heard(), line + request("evil.example"));
  }
}

const std::vector<std::string> kUndecided = {
    "P",    "GET",         "GE",
    "POST", "hello world", "\r\n",
    "\x16", "PING",        "a line that is longer than a few words and does not end"};

TEST(FirstFlightUndecided, IsHeldForAMomentAndGoesOn) {
  for (const std::string& text : kUndecided) {
    Flight flight(options(), 22);
    flight.guest_says(text);
    flight.world.advance(kUndecidedFlight - 1ms);
    EXPECT_EQ(flight.host_heard(), "") << text;
    flight.world.advance(22ms);
    EXPECT_EQ(flight.host_heard(), text);
    flight.host_says("well?");
    EXPECT_EQ(flight.guest_heard(), "well?");
    // Further pieces are not held again, however many.
    flight.guest_says("x");
    EXPECT_EQ(flight.host_heard(), text + "x");
    flight.guest_says("\1 y\nz");
    EXPECT_EQ(flight.host_heard(), text + "x\1 y\nz");
    const std::size_t peeks = flight.world.streams.peeks;
    flight.guest_says(request("evil.example"));
    EXPECT_EQ(flight.world.streams.peeks, peeks) << "nobody looks any more";
    EXPECT_TRUE(flight.world.events.denials.empty());
  }
}

TEST(FirstFlightUndecided, ThatBecomesARequestAfterAllEnds) {
  for (const std::string_view first :
       {"G", "GET", "GET /", "GET / HT", "\r\n", "POST /a/long/path"}) {
    for (const char* host : {"evil.example", "ok.example"}) {
      const std::string whole = first.starts_with("POST")
                                    ? "POST /a/long/path HTTP/1.1\r\nHost: " + std::string(host) +
                                          "\r\nContent-Length: 0\r\n\r\n"
                                    : (first == "\r\n" ? "\r\n" : "") + request(host);
      ASSERT_TRUE(whole.starts_with(first));
      Flight paused(options(), 80);
      paused.guest_says(first);
      if (first == "GET /" || first == "GET / HT") {
        // That is a request for certain, and waits for its end.
        paused.world.advance(1s);
        EXPECT_EQ(paused.host_heard(), "");
        continue;
      }
      paused.world.advance(1s);
      EXPECT_EQ(paused.host_heard(), first);
      paused.guest_says(whole.substr(first.size()));
      EXPECT_TRUE(paused.guest_heard().starts_with("HTTP/1.1 403 Forbidden\r\n")) << first;
      paused.expect_refused(first, "id=1\n");
      // In time it is judged as ever.
      Flight flight(options(), 80);
      flight.guest_says(first);
      flight.world.advance(kUndecidedFlight - 1ms);
      flight.guest_says(whole.substr(first.size()));
      const bool is_allowed = std::string_view(host) == "ok.example";
      EXPECT_EQ(flight.host_heard(), is_allowed ? whole : "");
      EXPECT_EQ(flight.is_open(), is_allowed);
    }
  }
}

TEST(FirstFlightUndecided, ThatBecomesARequestInPiecesEnds) {
  Flight flight(options(), 80);
  const std::string line = "POST /a/very/long/path/with/many/parts HTTP/1.1";
  std::string heard;
  for (const char piece : line) {
    flight.guest_says(std::string(1, piece));
    flight.world.advance(300ms);
  }
  EXPECT_EQ(flight.host_heard(), line.substr(0, line.find("/1.1")));
  EXPECT_FALSE(flight.is_open());
}

TEST(FirstFlightUndecided, ThatBecomesAHelloEnds) {
  for (const std::size_t size : {1U, 2U}) {
    const std::string hello = hello_to("ok.example");
    Flight paused;
    paused.guest_says(hello.substr(0, size));
    paused.world.advance(1s);
    EXPECT_EQ(paused.host_heard(), hello.substr(0, size));
    paused.guest_says(hello.substr(size));
    paused.expect_refused(hello.substr(0, size), kAlert);
    Flight flight;
    flight.guest_says(hello.substr(0, size));
    flight.world.advance(100ms);
    flight.guest_says(hello.substr(size));
    EXPECT_EQ(flight.host_heard(), hello);
  }
  // Three octets are TLS for certain.
  Flight slow;
  const std::string hello = hello_to("ok.example");
  slow.guest_says(hello.substr(0, 3));
  slow.world.advance(10s);
  EXPECT_EQ(slow.host_heard(), "");
  slow.guest_says(hello.substr(3));
  EXPECT_EQ(slow.host_heard(), hello);
}

TEST(FirstFlightUndecided, IsRefusedWhereTlsIsNeeded) {
  WorldOptions strict = options();
  strict.each_rule = [](Rule& rule) { rule.needs_tls = true; };
  Flight flight(strict);
  flight.guest_says("hello");
  flight.world.advance(1s);
  EXPECT_EQ(flight.host_heard(), "");
  EXPECT_EQ(flight.world.flow_sockets(), 0U);
  EXPECT_EQ(flight.world.events.denials.size(), 1U);
}

TEST(FirstFlightUndecided, OfManyFlowsIsFewWakeUps) {
  WorldOptions with = options();
  with.max_tcp_flows = 4096;
  Flight flight(with, 22);
  std::vector<SocketHandle> hosts;
  for (std::uint16_t port = 41000; port < 41500; ++port) {
    flight.connect(22, port);
    flight.guest_says("P");
    hosts.push_back(flight.host);
    flight.world.advance(1ms);
  }
  flight.world.advance(1s);
  for (const SocketHandle host : hosts) EXPECT_EQ(flight.world.sockets.was(host).heard, "P");
  EXPECT_LT(flight.world.streams.peeks, 50'000U);
}

TEST(FirstFlightOfOthers, IsJudgedWhereItTurnsOutToBeTlsOnAnOddPort) {
  Flight flight(options(), 22);
  flight.guest_says(hello_to("evil.example"));
  flight.expect_refused("", kAlert);
}

TEST(FirstFlightOfOthers, WithSslTwoIsNoTls) {
  const std::string ssl =
      hello::text_of(Octets{0x80, 0x1c, 1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 47} + Octets(16, 0x33));
  Flight flight;
  flight.guest_says(ssl);
  EXPECT_EQ(flight.host_heard(), ssl);
  WorldOptions strict = options();
  strict.each_rule = [](Rule& rule) { rule.needs_tls = true; };
  Flight denied(strict);
  denied.guest_says(ssl);
  EXPECT_EQ(denied.host_heard(), "");
  EXPECT_EQ(denied.world.flow_sockets(), 0U);
}

}  // namespace
}  // namespace cordon::world
