// The first flight of plain HTTP: Host is judged in every request of a connection, until an Upgrade
// has been agreed to.
#include <gtest/gtest.h>

#include "tests/world/flight.h"

namespace cordon::world {
namespace {

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
  for (const char* const part :
       {"\nrule: first-flight\n", "opened to: ok.example, allowed by test\n",
        "names: evil.example, denied by default\n", "--allow evil.example\n", "id=1\n"}) {
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

TEST(FirstFlightOfHttp, NamesARemedyThatHelpsAtItsPortOrNone) {
  WorldOptions with = options();
  with.allow.emplace_back("ok.example:8080");
  Flight elsewhere(with, 8080);
  elsewhere.guest_says(request("evil.example"));
  EXPECT_NE(elsewhere.guest_heard().find("to allow it: --allow evil.example:8080\n"),
            std::string::npos)
      << elsewhere.guest_heard();
  // Names that no rule can be for.
  for (const char* host : {"com", "1.2.3.4", "localhost", "a.localhost", "host.cordon.internal"}) {
    Flight flight(options(), 80);
    flight.guest_says(request(host));
    EXPECT_TRUE(flight.guest_heard().starts_with("HTTP/1.1 403")) << host;
    EXPECT_EQ(flight.guest_heard().find("to allow it"), std::string::npos) << flight.guest_heard();
  }
}

TEST(FirstFlightOfHttp, NamesTheRuleThatDeniesWhomItNamesAndNoRemedyAgainstIt) {
  WorldOptions with = options();
  with.deny = {"evil.example"};
  with.each_rule = [](Rule& rule) {
    if (rule.action != Action::kDeny) return;
    rule.text = "evil.example";
    rule.origin = "a\tlong/" + std::string(200, 'p') + ".toml:12";
  };
  Flight flight(with, 80);
  flight.guest_says(request("evil.example"));
  EXPECT_NE(flight.guest_heard().find("evil.example, denied by a?long/ppp"), std::string::npos)
      << flight.guest_heard();
  EXPECT_NE(flight.guest_heard().find("ppp...\n"), std::string::npos);
  EXPECT_EQ(flight.guest_heard().find("to allow it"), std::string::npos);
  flight.expect_refused("", "id=1\n");
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

}  // namespace
}  // namespace cordon::world
