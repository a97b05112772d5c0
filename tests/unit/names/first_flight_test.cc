// The machine that looks at the guest's first octets: what passes, what waits, what ends the flow.
#include "netstack/names/first_flight.h"

#include <string>

#include <gtest/gtest.h>

#include "tests/unit/names/hello_writer.h"

namespace cordon {
namespace {

using namespace std::string_view_literals;
using hello::Octets;
using hello::operator+;
using Kind = Look::Kind;

Bytes octets(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

DnsName name(std::string_view text) { return DnsName::parse(text).value_or(DnsName()); }

constexpr FirstFlightRules kMapMode{};
constexpr FirstFlightRules kPinMode{.needs_name = true};
constexpr FirstFlightRules kTlsOnly{.needs_tls = true};

Octets hello_to(std::string_view host) { return hello::records(hello::client_hello(host)); }

std::string request(std::string_view host, std::string_view lines = "") {
  return "GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n" + std::string(lines) + "\r\n";
}

FlightFault fault_of(const FirstFlightRules& rules, Bytes stream, bool is_all = false) {
  FirstFlight flight(rules);
  const Look look = flight.look(stream, is_all);
  EXPECT_EQ(look.kind, Kind::kDeny);
  return look.fault;
}

TEST(FirstFlight, OfNobodyIsOpaque) {
  EXPECT_TRUE(FirstFlight().is_opaque());
  EXPECT_FALSE(FirstFlight(kMapMode).is_opaque());
}

TEST(FirstFlight, WaitsForTheWholeHelloAndThenPassesItUnderItsName) {
  const Octets stream = hello_to("ok.example");
  FirstFlight flight(kMapMode);
  EXPECT_EQ(flight.look({}, false).kind, Kind::kWait);
  for (std::size_t size = 1; size < stream.size(); ++size) {
    EXPECT_EQ(flight.look(Bytes(stream).first(size), false).kind, Kind::kWait);
  }
  const Look look = flight.look(stream, false);
  EXPECT_EQ(look.kind, Kind::kPass);
  EXPECT_EQ(look.octets, stream.size());
  EXPECT_EQ(look.name, name("ok.example"));
  EXPECT_EQ(flight.protocol(), FirstFlight::Protocol::kTls);
}

TEST(FirstFlight, OfTlsIsOpaqueOnceTheServerHasAnswered) {
  const Octets stream = hello_to("ok.example");
  FirstFlight flight(kMapMode);
  (void)flight.look(stream, false);
  EXPECT_TRUE(flight.watches_answer());
  EXPECT_EQ(flight.look(hello::record(22, {1}), false).kind, Kind::kWait);
  EXPECT_EQ(flight.on_answer(octets("\x16\x03"), false).kind, Kind::kWait);
  EXPECT_EQ(flight.on_answer(hello::records(hello::server_hello()), false).kind, Kind::kOpaque);
  EXPECT_TRUE(flight.is_opaque());
  EXPECT_FALSE(flight.watches_answer());
}

TEST(FirstFlight, JudgesTheSecondHelloLikeTheFirst) {
  FirstFlight flight(kMapMode);
  (void)flight.look(hello_to("ok.example"), false);
  EXPECT_EQ(flight.on_answer(hello::records(hello::retry_request()), false).kind, Kind::kOpaque);
  EXPECT_FALSE(flight.is_opaque());
  const Octets second = hello_to("evil.example");
  const Octets change_cipher_spec = hello::record(20, {1});
  const Look before = flight.look(change_cipher_spec + second, false);
  EXPECT_EQ(before.kind, Kind::kPass);
  EXPECT_EQ(before.octets, change_cipher_spec.size());
  EXPECT_EQ(flight.look(Bytes(second).first(3), false).kind, Kind::kWait);
  const Look look = flight.look(second, false);
  EXPECT_EQ(look.octets, second.size());
  EXPECT_EQ(look.name, name("evil.example"));
}

TEST(FirstFlight, LetsEarlyDataPassOnlyWhereItWasAnnounced) {
  const Octets early = hello::record(23, Octets(50));
  for (const bool is_announced : {true, false}) {
    FirstFlight flight(kMapMode);
    const Octets extensions =
        hello::server_name("ok.example") + (is_announced ? hello::early_data() : Octets{});
    (void)flight.look(hello::records(hello::client_hello_with(extensions)), false);
    const Look look = flight.look(early + hello_to("evil.example"), false);
    EXPECT_EQ(look.kind, is_announced ? Kind::kPass : Kind::kWait);
    EXPECT_EQ(look.octets, is_announced ? early.size() : 0U);
    EXPECT_EQ(flight.look(hello_to("evil.example"), false).kind, Kind::kWait);
  }
}

TEST(FirstFlight, WithoutANameIsFineOnlyWhereTheAddressTells) {
  const Octets stream = hello::records(hello::client_hello_with(hello::usual_extensions()));
  FirstFlight flight(kMapMode);
  const Look look = flight.look(stream, false);
  EXPECT_EQ(look.kind, Kind::kPass);
  EXPECT_FALSE(look.name);
  EXPECT_EQ(fault_of(kPinMode, stream), FlightFault::kNoName);
  EXPECT_EQ(fault_of(kPinMode, octets("GET / HTTP/1.0\r\n\r\n")), FlightFault::kNoName);
  EXPECT_EQ(fault_of(kPinMode, octets("SSH-2.0-x\r\n")), FlightFault::kNoName);
}

TEST(FirstFlight, OfAnotherProtocolIsOpaqueAtOnce) {
  for (const auto text : {"SSH-2.0-x\r\n"sv, "\0\0\0\x08"sv, "EHLO a\r\n"sv}) {
    FirstFlight flight(kMapMode);
    EXPECT_EQ(flight.look(octets(text), false).kind, Kind::kOpaque);
    EXPECT_TRUE(flight.is_opaque());
    EXPECT_EQ(fault_of(kTlsOnly, octets(text)), FlightFault::kNotTls);
  }
  // SSL 2.0 is not TLS.
  const Octets ssl2 = Octets{0x80, 0x1c, 1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 47} + Octets(16);
  EXPECT_EQ(fault_of(kTlsOnly, ssl2), FlightFault::kNotTls);
  EXPECT_EQ(fault_of(kPinMode, ssl2), FlightFault::kNoName);
  EXPECT_EQ(FirstFlight(kMapMode).look(ssl2, false).kind, Kind::kOpaque);
}

TEST(FirstFlight, ThatOnlyBeganLikeTlsIsOfAnotherProtocol) {
  FirstFlight flight(kMapMode);
  EXPECT_EQ(flight.look(Octets{0x16}, false).kind, Kind::kWait);
  EXPECT_EQ(flight.look(Octets{0x16, 0x01}, false).kind, Kind::kOpaque);
  EXPECT_TRUE(flight.is_opaque());
}

TEST(FirstFlight, ThatNeedsTlsRefusesAPlainRequest) {
  EXPECT_EQ(fault_of(kTlsOnly, octets(request("ok.example"))), FlightFault::kNotTls);
  FirstFlight flight(kTlsOnly);
  EXPECT_EQ(flight.look(hello_to("ok.example"), false).kind, Kind::kPass);
}

TEST(FirstFlight, ThatChecksNoNamesLooksForTlsAlone) {
  const FirstFlightRules rules{.checks_names = false, .needs_tls = true};
  FirstFlight flight(rules);
  EXPECT_EQ(flight.look(hello_to("evil.example"), false).kind, Kind::kOpaque);
  EXPECT_EQ(fault_of(rules, octets(request("ok.example"))), FlightFault::kNotTls);
}

TEST(FirstFlight, TreatsAnEncryptedHelloAsTold) {
  const Octets stream = hello::records(
      hello::client_hello_with(hello::server_name("ok.example") + hello::encrypted_hello()));
  FirstFlight outer(FirstFlightRules{.ech = NameSettings::Ech::kOuter});
  EXPECT_EQ(outer.look(stream, false).name, name("ok.example"));
  EXPECT_EQ(fault_of(FirstFlightRules{.ech = NameSettings::Ech::kDeny}, stream),
            FlightFault::kEncryptedHello);
  FirstFlight ignored(FirstFlightRules{.ech = NameSettings::Ech::kIgnore});
  const Look look = ignored.look(stream, false);
  EXPECT_EQ(look.kind, Kind::kPass);
  EXPECT_FALSE(look.name);
  // Without one, each judges the name.
  FirstFlight plain(FirstFlightRules{.ech = NameSettings::Ech::kIgnore});
  EXPECT_EQ(plain.look(hello_to("ok.example"), false).name, name("ok.example"));
  FirstFlight strict(FirstFlightRules{.ech = NameSettings::Ech::kDeny});
  EXPECT_EQ(strict.look(hello_to("ok.example"), false).kind, Kind::kPass);
}

TEST(FirstFlight, ThatEndsTooEarlyOrNeverIsRefused) {
  const Octets stream = hello_to("ok.example");
  EXPECT_EQ(fault_of(kMapMode, Bytes(stream).first(20), true), FlightFault::kEnded);
  EXPECT_EQ(fault_of(kMapMode, octets("GET / HTTP/1.1\r\nHost: ok"), true), FlightFault::kEnded);
  const std::string endless = "GET / HTTP/1.1\r\nHost: ok.example\r\nX: " + std::string(17000, 'x');
  EXPECT_EQ(fault_of(kMapMode, octets(endless).first(kLongestFirstFlight)), FlightFault::kTooLong);
  // An end without a word is an end.
  FirstFlight flight(kPinMode);
  EXPECT_EQ(flight.look({}, true).kind, Kind::kOpaque);
}

TEST(FirstFlight, OfWordsWithoutAnEndIsLetGoAtTheLimit) {
  const std::string words(kLongestFirstFlight, 'x');
  FirstFlight flight(kMapMode);
  EXPECT_EQ(flight.look(octets(words).first(100), false).kind, Kind::kWait);
  EXPECT_EQ(flight.look(octets(words), false).kind, Kind::kOpaque);
  FirstFlight ended(kMapMode);
  EXPECT_EQ(ended.look(octets("G"), true).kind, Kind::kOpaque);
}

TEST(FirstFlight, JudgesEveryRequestOfAConnection) {
  FirstFlight flight(kMapMode);
  const std::string stream = request("ok.example") +
                             request("Ok.example.", "Content-Length: 7\r\n") + "content" +
                             request("evil.example");
  std::string_view rest = stream;
  for (const auto* host : {"ok.example", "ok.example", "evil.example"}) {
    const Look look = flight.look(octets(rest), false);
    ASSERT_EQ(look.kind, Kind::kPass);
    EXPECT_EQ(look.name, name(host));
    rest.remove_prefix(look.octets);
    EXPECT_TRUE(flight.may_owe_answer());
  }
  EXPECT_TRUE(rest.empty());
  EXPECT_EQ(flight.look(octets("anything else\r\n"), false).fault, FlightFault::kBadRequest);
}

TEST(FirstFlight, FindsTheRequestBehindAChunkedBody) {
  FirstFlight flight(kMapMode);
  const std::string stream = request("ok.example", "Transfer-Encoding: chunked\r\n") +
                             "3\r\nGET\r\n0\r\n\r\n" + request("evil.example");
  std::string_view rest = stream;
  std::optional<DnsName> named;
  for (int i = 0; i < 3; ++i) {
    const Look look = flight.look(octets(rest), false);
    ASSERT_EQ(look.kind, Kind::kPass);
    rest.remove_prefix(look.octets);
    named = look.name;
  }
  EXPECT_EQ(named, name("evil.example"));
  EXPECT_TRUE(rest.empty());
}

TEST(FirstFlight, RefusesWhatCouldBeReadInTwoWays) {
  EXPECT_EQ(fault_of(kMapMode, octets(request("ok.example", "Host: evil.example\r\n"))),
            FlightFault::kBadRequest);
  EXPECT_EQ(fault_of(kMapMode, octets("GET /\r\n")), FlightFault::kBadRequest);
  EXPECT_EQ(fault_of(kMapMode, octets("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")), FlightFault::kTunnel);
  EXPECT_EQ(fault_of(kMapMode, octets("CONNECT ok.example:443 HTTP/1.1\r\nHost: ok.example\r\n")),
            FlightFault::kTunnel);
  EXPECT_EQ(fault_of(kMapMode, hello::records(hello::message(1, {3, 3}))), FlightFault::kBadHello);
}

TEST(FirstFlight, FollowsAnUpgradeWhereTheAnswerIs101) {
  FirstFlight flight(kMapMode);
  const std::string asked = request("ok.example", "Connection: upgrade\r\nUpgrade: websocket\r\n");
  EXPECT_EQ(flight.look(octets(asked), false).octets, asked.size());
  EXPECT_TRUE(flight.watches_answer());
  EXPECT_EQ(flight.look(octets("\x81\x05"), false).kind, Kind::kWait);
  EXPECT_EQ(flight.on_answer(octets("HTTP/1.1 10"), false).kind, Kind::kWait);
  const auto interim = "HTTP/1.1 100 Continue\r\n\r\n"sv;
  EXPECT_EQ(flight.on_answer(octets(interim), false).octets, interim.size());
  EXPECT_EQ(flight.on_answer(octets("HTTP/1.1 101 Switching Protocols\r\n"), false).kind,
            Kind::kOpaque);
  EXPECT_TRUE(flight.is_opaque());
}

TEST(FirstFlight, JudgesOnWhereTheAnswerToAnUpgradeIsNot101) {
  for (const auto answer :
       {"HTTP/1.1 426 Upgrade Required\r\n"sv, "HTTP/1.1 200 OK\r\n"sv, "junk"sv}) {
    FirstFlight flight(kMapMode);
    (void)flight.look(octets(request("ok.example", "Upgrade: websocket\r\n")), false);
    EXPECT_EQ(flight.on_answer(octets(answer), false).kind, Kind::kOpaque);
    EXPECT_FALSE(flight.is_opaque());
    EXPECT_FALSE(flight.watches_answer());
    EXPECT_EQ(flight.look(octets(request("evil.example")), false).name, name("evil.example"));
  }
}

TEST(FirstFlight, DoesNotFollowAnUpgradeToHttp2) {
  FirstFlight flight(kMapMode);
  (void)flight.look(octets(request("ok.example", "Upgrade: h2c\r\n")), false);
  EXPECT_EQ(flight.on_answer(octets("HTTP/1.1 101 Switching Protocols\r\n"), false).fault,
            FlightFault::kTunnel);
}

TEST(FirstFlight, DoesNotFollowAnUpgradeThatIsNotTheFirstRequest) {
  FirstFlight flight(kMapMode);
  (void)flight.look(octets(request("ok.example")), false);
  (void)flight.look(octets(request("ok.example", "Upgrade: websocket\r\n")), false);
  EXPECT_FALSE(flight.watches_answer());
  EXPECT_EQ(flight.look(octets("\x81\x05hello"), false).fault, FlightFault::kBadRequest);
}

TEST(FlightRefusal, OfHttpNamesRuleAndRemedy) {
  std::array<std::uint8_t, 1024> out{};
  const FlightRefusal refusal{.fault = FlightFault::kOtherName,
                              .denial_id = 17,
                              .dialled = "ok.example",
                              .dialled_rule = "--allow=ok.example",
                              .named = "evil.example",
                              .named_rule = "denied by policy.toml:7",
                              .remedy = "--allow evil.example"};
  const std::size_t size = write_flight_refusal(out, FirstFlight::Protocol::kHttp, refusal);
  const std::string text(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(size));
  EXPECT_TRUE(text.starts_with("HTTP/1.1 403 Forbidden\r\n")) << text;
  const std::size_t body = text.find("\r\n\r\n") + 4;
  EXPECT_NE(text.find("Content-Length: " + std::to_string(text.size() - body) + "\r\n"),
            std::string::npos)
      << text;
  for (const char* const part :
       {"\nrule: first-flight\n", "opened to: ok.example, allowed by --allow=ok.example\n",
        "names: evil.example, denied by policy.toml:7\n", "to allow it: --allow evil.example\n",
        "id=17", "names another host than the connection was opened to"}) {
    EXPECT_NE(text.find(part, body), std::string::npos) << part;
  }
  EXPECT_EQ(
      write_flight_refusal(MutableBytes(out).first(100), FirstFlight::Protocol::kHttp, refusal),
      0U);
}

TEST(FlightRefusal, OfHttpHasRoomForTheLongestNamesAndRules) {
  const std::string longest(253, 'n');
  const std::string rule(kLongestRuleWords, 'r');
  const std::string remedy = "connect to " + longest;
  std::array<std::uint8_t, kLongestFlightRefusal> out{};
  const FlightRefusal refusal{.fault = FlightFault::kOtherName,
                              .denial_id = 4294967295,
                              .dialled = longest,
                              .dialled_rule = rule,
                              .named = longest,
                              .named_rule = rule,
                              .remedy = remedy};
  const std::size_t size = write_flight_refusal(out, FirstFlight::Protocol::kHttp, refusal);
  const std::string text(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(size));
  const std::size_t body = text.find("\r\n\r\n") + 4;
  EXPECT_NE(text.find("Content-Length: " + std::to_string(text.size() - body) + "\r\n"),
            std::string::npos)
      << text;
  for (const std::string& part :
       {std::string("rule: first-flight\n"), "to allow it: " + remedy + "\n",
        std::string("denial id=4294967295\n"), "opened to: " + longest + ", allowed by " + rule}) {
    EXPECT_NE(text.find(part, body), std::string::npos) << part;
  }
  EXPECT_TRUE(text.ends_with("denial id=4294967295\n"));
}

TEST(FlightRefusal, OfTlsIsTheAlertAccessDenied) {
  std::array<std::uint8_t, 1024> out{};
  const std::size_t size = write_flight_refusal(out, FirstFlight::Protocol::kTls, {});
  EXPECT_EQ(Octets(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(size)),
            (Octets{21, 3, 3, 0, 2, 2, 49}));
  EXPECT_EQ(write_flight_refusal(out, FirstFlight::Protocol::kUnknown, {}), 0U);
}

}  // namespace
}  // namespace cordon
