// The first flight in a stream's life: nothing of the guest's goes on before it was judged,
// whatever the segments it came in; what is refused is told to the guest in its own protocol, and
// the host never hears a word of it. Each denied case has its allowed twin.
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/unit/names/hello_writer.h"
#include "tests/world/naming.h"

namespace cordon::world {
namespace {

using hello::operator+;

const std::string kAlert = {21, 3, 3, 0, 2, 2, 49};

std::string hello_to(std::string_view name, std::size_t record = 16384) {
  return hello::text_of(hello::records(hello::client_hello(name), record));
}

std::string hello_with(const Octets& extensions) {
  return hello::text_of(hello::records(hello::client_hello_with(extensions)));
}

std::string server_hello() { return hello::text_of(hello::records(hello::server_hello())); }

std::string request(std::string_view host, std::string_view lines = "") {
  return "GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n" + std::string(lines) + "\r\n";
}

WorldOptions options() { return {.allow = {"ok.example", "other.example", "ok.example:22"}}; }

/// A connection to ok.example, by name.
struct Flight {
  explicit Flight(const WorldOptions& with = options(), std::uint16_t port = 443) : world(with) {
    world.zone["ok.example"] = {"198.51.100.17"};
    connect(port);
  }
  void connect(std::uint16_t port, std::uint16_t from = 40000) {
    world.connects(world.looks_up("ok.example", port), from);
    host = world.host_socket().handle;
    guest = world.guest_socket().handle;
    world.expect_nothing();
  }
  void guest_says(std::string_view text) { world.says(guest, text); }
  void host_says(std::string_view text) { world.says(host, text); }
  [[nodiscard]] const std::string& host_heard() const { return world.sockets.was(host).heard; }
  [[nodiscard]] const std::string& guest_heard() const { return world.sockets.was(guest).heard; }
  [[nodiscard]] bool is_open() const { return world.sockets.is_open(host); }

  /// The host was reset and heard nothing but `before`; the guest heard `answer` at the end, then
  /// FIN, and is read until it says its own.
  void expect_refused(std::string_view before, std::string_view answer,
                      World::Where where = World::Where::current()) {
    SCOPED_TRACE(testing::Message() << where.file_name() << ":" << where.line());
    EXPECT_EQ(world.sockets.was(host).end, End::kReset);
    EXPECT_EQ(host_heard(), before);
    EXPECT_TRUE(guest_heard().ends_with(answer)) << guest_heard();
    EXPECT_TRUE(world.sockets.was(guest).has_fin_gone);
    ASSERT_EQ(world.events.denials.size(), 1U);
    EXPECT_EQ(world.events.denials[0].verdict.reason, Reason::kFirstFlight);
    ASSERT_FALSE(world.events.flows.empty());
    EXPECT_EQ(world.events.flows.back().end, FlowEnd::kRevoked);
    // What it still says is read, so that no reset overtakes the answer, and goes nowhere.
    world.says(guest, "more");
    EXPECT_EQ(world.sockets.was(guest).unread, 0U);
    EXPECT_TRUE(world.sockets.is_open(guest));
    world.fin_arrives(guest);
    EXPECT_EQ(world.sockets.was(guest).end, End::kClosed);
    EXPECT_EQ(world.flow_sockets(), 0U);
    EXPECT_EQ(world.events.denials.size(), 1U);
  }

  Naming world;
  SocketHandle host;
  SocketHandle guest;
};

TEST(FirstFlightOfTls, PassesWhereItNamesWhomTheGuestDialled) {
  for (const char* const name : {"ok.example", "OK.Example", "ok.example."}) {
    Flight flight;
    const std::string hello = hello_to(name);
    flight.guest_says(hello);
    EXPECT_EQ(flight.host_heard(), hello);
    flight.host_says(server_hello());
    EXPECT_EQ(flight.guest_heard(), server_hello());
    flight.guest_says("anything");
    EXPECT_EQ(flight.host_heard(), hello + "anything");
    EXPECT_TRUE(flight.world.events.denials.empty());
  }
}

TEST(FirstFlightOfTls, IsRefusedWhereItNamesAnother) {
  for (const char* const name : {"evil.example", "other.example", "xok.example", "example",
                                 "ok.example.evil.example", "198.51.100.17"}) {
    Flight flight;
    flight.guest_says(hello_to(name));
    EXPECT_EQ(flight.guest_heard(), kAlert);
    flight.expect_refused("", kAlert);
  }
}

class FirstFlightSegments : public testing::TestWithParam<std::size_t> {};

TEST_P(FirstFlightSegments, AreJudgedTogether) {
  for (const std::size_t record : {std::size_t{16384}, std::size_t{60}, std::size_t{7}}) {
    for (const bool is_allowed : {true, false}) {
      Flight flight;
      const std::string hello = hello_to(is_allowed ? "ok.example" : "no.example", record);
      const std::size_t piece = hello.size() / GetParam() + 1;
      for (std::size_t i = 0; i < hello.size(); i += piece) {
        EXPECT_EQ(flight.host_heard(), "") << "not an octet before the last has come";
        flight.guest_says(std::string_view(hello).substr(i, piece));
      }
      if (is_allowed) {
        EXPECT_EQ(flight.host_heard(), hello);
      } else {
        flight.expect_refused("", kAlert);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(TwoToTwenty, FirstFlightSegments, testing::Range<std::size_t>(2, 21));

TEST(FirstFlightOfTls, IsJudgedOctetByOctet) {
  Flight flight;
  const std::string hello = hello_to("ok.example");
  for (const char octet : hello) {
    EXPECT_EQ(flight.host_heard(), "");
    flight.guest_says({&octet, 1});
  }
  EXPECT_EQ(flight.host_heard(), hello);
}

TEST(FirstFlightOfTls, MayBeLongerThanASegmentAndNotThan16KiB) {
  const auto padded = [](std::size_t octets) {
    return hello_with(hello::extension(21, Octets(octets)) + hello::post_quantum_share() +
                      hello::server_name("ok.example"));
  };
  Flight flight;
  flight.guest_says(padded(12000));
  EXPECT_EQ(flight.host_heard(), padded(12000));
  Flight denied;
  denied.guest_says(padded(16000));
  denied.expect_refused("", kAlert);
}

TEST(FirstFlightOfTls, WithoutANameIsFineWhereTheAddressTells) {
  Flight flight;
  const std::string hello = hello_with(hello::usual_extensions() + hello::grease());
  flight.guest_says(hello);
  EXPECT_EQ(flight.host_heard(), hello);
}

TEST(FirstFlightOfTls, WithTwoNamesIsRefused) {
  Flight flight;
  flight.guest_says(hello_with(hello::extension(
      0, hello::sized(2, hello::name_entry("ok.example") + hello::name_entry("evil.example")))));
  flight.expect_refused("", kAlert);
}

TEST(FirstFlightOfTls, IsJudgedAgainWhereTheServerAsksForAnother) {
  for (const bool is_allowed : {true, false}) {
    Flight flight;
    const std::string first = hello_to("ok.example");
    const std::string second = hello_to(is_allowed ? "ok.example" : "evil.example");
    flight.guest_says(first);
    // Said before the server has answered: it waits for the answer.
    flight.guest_says(second);
    EXPECT_EQ(flight.host_heard(), first);
    flight.host_says(hello::text_of(hello::records(hello::retry_request())));
    if (is_allowed) {
      EXPECT_EQ(flight.host_heard(), first + second);
    } else {
      flight.expect_refused(first, kAlert);
    }
  }
}

TEST(FirstFlightOfTls, WhoseServerEndsBeforeItAnswersEnds) {
  Flight flight;
  flight.guest_says(hello_to("ok.example"));
  flight.host_says(hello::text_of(hello::record(21, {2, 40})));
  flight.world.fin_arrives(flight.host);
  EXPECT_EQ(flight.guest_heard(), hello::text_of(hello::record(21, {2, 40})));
  EXPECT_TRUE(flight.world.sockets.was(flight.guest).has_fin_gone);
  flight.world.fin_arrives(flight.guest);
  EXPECT_EQ(flight.world.flow_sockets(), 0U);
}

TEST(FirstFlightOfTls, WithAnEncryptedHelloIsTreatedAsTheSettingsSay) {
  const auto heard = [](NameSettings::Ech ech, std::string_view outer) {
    WorldOptions with = options();
    with.names.ech = ech;
    Flight flight(with);
    const std::string hello =
        hello_with(hello::server_name(outer) + hello::encrypted_hello() + hello::grease());
    flight.guest_says(hello);
    return flight.host_heard() == hello;
  };
  EXPECT_TRUE(heard(NameSettings::Ech::kOuter, "ok.example")) << "GREASE";
  EXPECT_FALSE(heard(NameSettings::Ech::kOuter, "public.example"));
  EXPECT_FALSE(heard(NameSettings::Ech::kDeny, "ok.example"));
  EXPECT_TRUE(heard(NameSettings::Ech::kIgnore, "public.example"));
}

TEST(FirstFlightOfHttp, PassesWhereItNamesWhomTheGuestDialled) {
  Flight flight(options(), 80);
  flight.guest_says(request("ok.example"));
  flight.guest_says(request("OK.example.:80"));
  EXPECT_EQ(flight.host_heard(), request("ok.example") + request("OK.example.:80"));
}

TEST(FirstFlightOfHttp, IsAnsweredWith403WhereItNamesAnother) {
  Flight flight(options(), 80);
  flight.guest_says(request("evil.example"));
  ASSERT_EQ(flight.world.events.denials.size(), 1U);
  EXPECT_TRUE(flight.guest_heard().starts_with("HTTP/1.1 403 Forbidden\r\n"));
  for (const char* const part : {"ok.example", "--allow evil.example", "id=1"}) {
    EXPECT_NE(flight.guest_heard().find(part), std::string::npos) << flight.guest_heard();
  }
  flight.expect_refused("", "id=1\n");
}

TEST(FirstFlightOfHttp, NamesNoRemedyButTheNameWhereThatIsAllowedAlready) {
  Flight flight(options(), 80);
  flight.guest_says(request("other.example"));
  EXPECT_NE(flight.guest_heard().find("connect to other.example"), std::string::npos);
  EXPECT_EQ(flight.guest_heard().find("--allow"), std::string::npos);
}

TEST(FirstFlightOfHttp, IsJudgedForEveryRequestOfAConnection) {
  Flight flight(options(), 80);
  const std::string body = request("ok.example", "Content-Length: 3\r\n") + "GET";
  const std::string chunks =
      request("ok.example", "Transfer-Encoding: chunked\r\n") + "1\r\nG\r\n0\r\n\r\n";
  flight.guest_says(body + chunks + request("ok.example"));
  EXPECT_EQ(flight.host_heard(), body + chunks + request("ok.example"));
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  flight.host_says(answer);
  EXPECT_EQ(flight.guest_heard(), answer);
  // The next one is of another host: nothing of it leaves, the server is done, and then is told.
  flight.guest_says(request("evil.example"));
  EXPECT_TRUE(flight.world.sockets.was(flight.host).has_fin_gone);
  EXPECT_EQ(flight.guest_heard(), answer);
  flight.host_says("HTTP/1.1 200 OK\r\n\r\nlate");
  EXPECT_TRUE(flight.guest_heard().ends_with("late"));
  flight.world.fin_arrives(flight.host);
  EXPECT_NE(flight.guest_heard().find("lateHTTP/1.1 403 Forbidden\r\n"), std::string::npos);
  flight.expect_refused(body + chunks + request("ok.example"), "id=1\n");
}

TEST(FirstFlightOfHttp, OfARefusedRequestWaitsForAServerNotForEver) {
  Flight flight(options(), 80);
  flight.guest_says(request("ok.example") + request("evil.example"));
  EXPECT_EQ(flight.host_heard(), request("ok.example"));
  flight.world.advance(5s);
  EXPECT_EQ(flight.world.flow_sockets(), 0U);
  EXPECT_EQ(flight.world.sockets.was(flight.guest).end, End::kReset);
}

TEST(FirstFlightOfHttp, PassesABodyOfAnySizeToTheOctet) {
  Flight flight(options(), 80);
  const std::string head = request("ok.example", "Content-Length: 100000000\r\n");
  flight.guest_says(head);
  flight.world.arrives(flight.guest, 100000000 - 1);
  EXPECT_EQ(flight.world.sockets.was(flight.host).written, head.size() + 100000000 - 1);
  flight.world.arrives(flight.guest, 1);
  flight.guest_says(request("evil.example"));
  EXPECT_EQ(flight.world.sockets.was(flight.host).written, head.size() + 100000000);
  EXPECT_TRUE(flight.world.sockets.was(flight.host).has_fin_gone);
}

TEST(FirstFlightOfHttp, GoesOnWhereAFullHostHasRoomAgain) {
  Flight flight(options(), 80);
  flight.world.sockets.at(flight.host, "room").room = 10;
  const std::string both = request("ok.example") + request("ok.example");
  flight.guest_says(both);
  EXPECT_EQ(flight.host_heard(), both.substr(0, 10));
  flight.world.has_room(flight.host, 1 << 20);
  EXPECT_EQ(flight.host_heard(), both);
}

struct OddRequest {
  const char* name;
  std::string text;
};

class FirstFlightOfOddHttp : public testing::TestWithParam<OddRequest> {};

TEST_P(FirstFlightOfOddHttp, IsRefused) {
  Flight flight(options(), 80);
  flight.guest_says(GetParam().text);
  EXPECT_TRUE(flight.guest_heard().starts_with("HTTP/1.1 403 Forbidden\r\n"));
  flight.expect_refused("", "id=1\n");
}

INSTANTIATE_TEST_SUITE_P(
    T25, FirstFlightOfOddHttp,
    testing::Values(
        OddRequest{"AbsoluteTarget",
                   "GET http://evil.example/ HTTP/1.1\r\nHost: ok.example\r\n\r\n"},
        OddRequest{"TwoHosts", request("ok.example", "Host: evil.example\r\n")},
        OddRequest{"NoHost", "GET / HTTP/1.1\r\n\r\n"}, OddRequest{"Http09", "GET /\r\n"},
        OddRequest{"Http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        OddRequest{"Connect", "CONNECT ok.example:443 HTTP/1.1\r\nHost: ok.example\r\n\r\n"},
        OddRequest{"TwoLengths",
                   request("ok.example", "Content-Length: 1\r\nContent-Length: 2\r\n")},
        OddRequest{"LengthAndChunks",
                   request("ok.example", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")},
        OddRequest{"Folded", request("ok.example", "X: a\r\n b\r\n")},
        OddRequest{"LoneLineFeed", "GET / HTTP/1.1\nHost: ok.example\n\n"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(FirstFlightUpgrade, IsOpaqueBehindThe101AndNotBefore) {
  Flight flight(options(), 80);
  const std::string asked = request("ok.example", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
  flight.guest_says(asked +
                    "\x81\x01"
                    "a");
  EXPECT_EQ(flight.host_heard(), asked) << "the frame waits for the answer";
  const std::string answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
  flight.host_says(answer.substr(0, 11));
  EXPECT_EQ(flight.guest_heard(), "");
  flight.host_says(answer.substr(11));
  EXPECT_EQ(flight.guest_heard(), answer);
  EXPECT_EQ(flight.host_heard(), asked +
                                     "\x81\x01"
                                     "a");
  flight.guest_says(request("evil.example"));
  EXPECT_EQ(flight.host_heard(), asked +
                                     "\x81\x01"
                                     "a" +
                                     request("evil.example"))
      << "no longer HTTP";
}

TEST(FirstFlightUpgrade, ThatTheServerDeclinesLeavesRequestsToJudge) {
  Flight flight(options(), 80);
  const std::string asked = request("ok.example", "Connection: Upgrade\r\nUpgrade: h2c\r\n");
  flight.guest_says(asked);
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  flight.host_says(answer);
  EXPECT_EQ(flight.guest_heard(), answer);
  flight.guest_says(request("ok.example"));
  EXPECT_EQ(flight.host_heard(), asked + request("ok.example"));
  flight.guest_says(request("evil.example"));
  flight.world.fin_arrives(flight.host);
  flight.expect_refused(asked + request("ok.example"), "id=1\n");
}

TEST(FirstFlightUpgrade, ToHttp2IsRefusedWhenTheServerAgrees) {
  Flight flight(options(), 80);
  const std::string asked = request("ok.example", "Connection: Upgrade\r\nUpgrade: h2c\r\n");
  flight.guest_says(asked);
  flight.host_says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n");
  EXPECT_TRUE(flight.guest_heard().starts_with("HTTP/1.1 403 Forbidden\r\n"));
  flight.expect_refused(asked, "id=1\n");
}

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

TEST(FirstFlightNeedsTls, AndRefusesTheRest) {
  WorldOptions with = options();
  with.each_rule = [](Rule& rule) { rule.needs_tls = true; };
  Flight flight(with);
  flight.guest_says(hello_to("ok.example"));
  EXPECT_EQ(flight.host_heard(), hello_to("ok.example"));
  for (const char* const text : {"SSH-2.0-client\r\n", "\x01\x02", "EHLO x\r\n"}) {
    Flight denied(with);
    denied.guest_says(text);
    // There are no words for it in an unknown protocol.
    EXPECT_EQ(denied.host_heard(), "");
    EXPECT_EQ(denied.guest_heard(), "");
    EXPECT_EQ(denied.world.sockets.was(denied.guest).end, End::kReset);
    EXPECT_EQ(denied.world.flow_sockets(), 0U);
    ASSERT_EQ(denied.world.events.denials.size(), 1U);
    EXPECT_TRUE(denied.world.events.denials[0].verdict.rule);
  }
  Flight http(with);
  http.guest_says(request("ok.example"));
  http.expect_refused("", "id=1\n");
}

TEST(FirstFlightNeedsTls, OfAFlowByAddressToo) {
  World world({.allow = {"198.51.100.17:443"},
               .default_action = DefaultAction::kDeny,
               .each_rule = [](Rule& rule) { rule.needs_tls = true; }});
  world.guest_connects("198.51.100.17:443");
  world.says(world.guest_socket().handle, hello_to("any.example"));
  EXPECT_EQ(world.host_socket().heard, hello_to("any.example")) << "nobody dialled a name";
  world.guest_connects("198.51.100.17:443", 40001);
  world.says(world.guest_socket().handle, "plain\r\n");
  EXPECT_EQ(world.host_socket().heard, "");
  ASSERT_EQ(world.events.denials.size(), 1U);
}

TEST(FirstFlightIgnored, LeavesEveryNamePass) {
  WorldOptions with = options();
  with.names.sni = NameSettings::Sni::kIgnore;
  Flight flight(with);
  flight.guest_says(hello_to("evil.example"));
  EXPECT_EQ(flight.host_heard(), hello_to("evil.example"));
  EXPECT_EQ(flight.world.streams.peeks, 0U);
}

TEST(FirstFlightOfNobody, CostsNoLook) {
  World world;
  world.guest_connects("198.51.100.17:443");
  const std::size_t moves = world.streams.moves;
  world.says(world.guest_socket().handle, hello_to("any.example"));
  world.says(world.host_socket().handle, server_hello());
  EXPECT_EQ(world.streams.peeks, 0U);
  EXPECT_EQ(world.streams.moves, moves + 2);
}

TEST(FirstFlightReported, GoesOnAllTheSame) {
  WorldOptions with = options();
  with.mode = PolicyMode::kReport;
  Flight flight(with);
  flight.guest_says(hello_to("evil.example"));
  EXPECT_EQ(flight.host_heard(), hello_to("evil.example"));
  ASSERT_EQ(flight.world.events.denials.size(), 1U);
  EXPECT_TRUE(flight.world.events.denials[0].is_only_reported);
  flight.guest_says("more");
  EXPECT_EQ(flight.host_heard(), hello_to("evil.example") + "more");
}

TEST(FirstFlightRefusal, WaitsUntilTheProcessWasLookedUp) {
  WorldOptions with = options();
  with.holds_refusals = true;
  {
    Flight flight(with);
    flight.guest_says(hello_to("evil.example"));
    EXPECT_EQ(flight.guest_heard(), "");
    EXPECT_FALSE(flight.is_open()) << "the host hears of it at once";
    flight.world.supervisor_tells(1);
    flight.expect_refused("", kAlert);
  }
  Flight silent(with);
  silent.guest_says(hello_to("evil.example"));
  silent.world.advance(25ms);
  silent.expect_refused("", kAlert);
}

TEST(FirstFlightRefusal, IsForgottenByAGuestThatNeverEnds) {
  Flight flight;
  flight.guest_says(hello_to("evil.example"));
  EXPECT_TRUE(flight.world.sockets.is_open(flight.guest));
  flight.world.advance(5s);
  EXPECT_EQ(flight.world.sockets.was(flight.guest).end, End::kReset);
  EXPECT_EQ(flight.world.flow_sockets(), 0U);
}

TEST(FirstFlightRefusal, ThatDoesNotFitTheGuestsSocketIsAReset) {
  Flight flight;
  flight.world.sockets.at(flight.guest, "room").room = 3;
  flight.guest_says(hello_to("evil.example"));
  EXPECT_EQ(flight.world.sockets.was(flight.guest).end, End::kReset);
  EXPECT_EQ(flight.world.flow_sockets(), 0U);
}

TEST(FirstFlightRefusal, OfMoreThanAFewAtOnceIsAReset) {
  WorldOptions with = options();
  with.holds_refusals = true;
  Flight flight(with);
  for (std::uint16_t i = 1; i <= 20; ++i) {
    flight.guest_says(hello_to("evil.example"));
    flight.connect(443, static_cast<std::uint16_t>(40000 + i));
  }
  EXPECT_EQ(flight.world.events.denials.size(), 20U);
  flight.world.advance(1s);
  // Sixteen wait for their guests' ends, and the last one is a stream.
  EXPECT_EQ(flight.world.flow_sockets(), 18U);
}

TEST(FirstFlight, ThatTheGuestResetsEndsTheFlow) {
  Flight flight;
  flight.guest_says("\x16\x03");
  flight.world.reset_arrives(flight.guest);
  EXPECT_EQ(flight.world.flow_sockets(), 0U);
  EXPECT_EQ(flight.host_heard(), "");
}

TEST(FirstFlight, ThatEndsBeforeItIsWholeIsRefused) {
  Flight flight;
  flight.guest_says(hello_to("ok.example").substr(0, 100));
  flight.world.fin_arrives(flight.guest);
  EXPECT_EQ(flight.host_heard(), "");
  EXPECT_EQ(flight.guest_heard(), kAlert);
  EXPECT_EQ(flight.world.flow_sockets(), 0U);
  EXPECT_EQ(flight.world.events.denials.size(), 1U);
}

TEST(FirstFlight, OfAGuestThatOnlyListensEndsInPeace) {
  Flight flight;
  flight.world.fin_arrives(flight.guest);
  EXPECT_TRUE(flight.world.sockets.was(flight.host).has_fin_gone);
  flight.host_says("the time is now\r\n");
  flight.world.fin_arrives(flight.host);
  EXPECT_EQ(flight.guest_heard(), "the time is now\r\n");
  EXPECT_EQ(flight.world.events.flows.back().end, FlowEnd::kClosed);
}

TEST(FirstFlightInPinMode, HasToNameAnAllowedNameOfTheAddress) {
  WorldOptions with{.allow = {"ok.example", "twin.example"}};
  with.names.mode = NameSettings::Mode::kPin;
  const auto heard = [&](std::string_view text) {
    Naming world(with);
    for (const char* const name : {"ok.example", "twin.example"}) {
      world.zone[name] = {"198.51.100.17"};
    }
    world.zone["far.example"] = {"198.51.100.18"};
    const Endpoint remote = world.looks_up("ok.example", 443);
    EXPECT_EQ(remote.address, address("198.51.100.17"));
    (void)world.looks_up("twin.example", 443);
    world.guest_sends(Syn().to(remote));
    world.dial_succeeds();
    (void)world.expect_syn_ack();
    world.says(world.guest_socket().handle, text);
    return world.host_socket().heard == text;
  };
  EXPECT_TRUE(heard(hello_to("ok.example")));
  EXPECT_TRUE(heard(hello_to("twin.example"))) << "the address is both's";
  EXPECT_FALSE(heard(hello_to("far.example")));
  EXPECT_FALSE(heard(hello_to("evil.example")));
  EXPECT_FALSE(heard(hello_with(hello::usual_extensions()))) << "no name";
  EXPECT_FALSE(heard("SSH-2.0-client\r\n"));
  EXPECT_TRUE(heard(request("ok.example")));
  EXPECT_FALSE(heard("GET / HTTP/1.0\r\n\r\n"));
}

TEST(FirstFlight, OfAFlowWhoseNameIsNoLongerAllowedIsNotJudgedButRevoked) {
  Flight flight;
  flight.guest_says(hello_to("evil.example"));
  // Refused already: a change on the host finds nothing to judge again.
  flight.world.host_changes();
  EXPECT_EQ(flight.world.events.denials.size(), 1U);
  EXPECT_TRUE(flight.world.sockets.is_open(flight.guest));
}

}  // namespace
}  // namespace cordon::world
