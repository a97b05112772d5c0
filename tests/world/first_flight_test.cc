// The first flight in a stream's life: nothing of the guest's goes on before it was judged,
// whatever the segments it came in; what is refused is told to the guest in its own protocol, and
// the host never hears a word of it. Each denied case has its allowed twin.
#include <gtest/gtest.h>

#include "tests/world/flight.h"

namespace cordon::world {
namespace {

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
