// What the guest gets for what the host's connect() said (reliability: errno table; RFC 1122
// section 3.2.2.1 and 4.2.3.9), in both families, whether connect() said it at once or later.
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/world/world.h"

namespace cordon::world {
namespace {

enum class Shown { kNothing, kReset, kIcmp };

struct DialRow {
  const char* name;
  int error;
  Shown v4;
  std::uint8_t v4_type, v4_code;
  Shown v6;
  std::uint8_t v6_type, v6_code;
  bool is_resource;  // counted and told: the host ran out of something
};

constexpr DialRow kDialRows[] = {
    {"Refused", ECONNREFUSED, Shown::kReset, 0, 0, Shown::kReset, 0, 0, false},
    {"Reset", ECONNRESET, Shown::kReset, 0, 0, Shown::kReset, 0, 0, false},
    {"NetUnreachable", ENETUNREACH, Shown::kIcmp, 3, 0, Shown::kIcmp, 1, 0, false},
    {"HostUnreachable", EHOSTUNREACH, Shown::kIcmp, 3, 1, Shown::kIcmp, 1, 3, false},
    {"HostDown", EHOSTDOWN, Shown::kIcmp, 3, 1, Shown::kIcmp, 1, 3, false},
    {"NetDown", ENETDOWN, Shown::kIcmp, 3, 0, Shown::kIcmp, 1, 0, false},
    {"NoDevice", ENODEV, Shown::kIcmp, 3, 1, Shown::kIcmp, 1, 3, false},
    {"Access", EACCES, Shown::kIcmp, 3, 13, Shown::kIcmp, 1, 1, false},
    {"Permission", EPERM, Shown::kIcmp, 3, 13, Shown::kIcmp, 1, 1, false},
    {"NoFamily", EAFNOSUPPORT, Shown::kIcmp, 3, 0, Shown::kIcmp, 1, 0, false},
    {"TimedOut", ETIMEDOUT, Shown::kNothing, 0, 0, Shown::kNothing, 0, 0, false},
    {"NoAddress", EADDRNOTAVAIL, Shown::kNothing, 0, 0, Shown::kIcmp, 1, 0, true},
    {"NoDescriptor", EMFILE, Shown::kNothing, 0, 0, Shown::kNothing, 0, 0, true},
    {"NoFile", ENFILE, Shown::kNothing, 0, 0, Shown::kNothing, 0, 0, true},
    {"NoBuffers", ENOBUFS, Shown::kNothing, 0, 0, Shown::kNothing, 0, 0, true},
    {"NoMemory", ENOMEM, Shown::kNothing, 0, 0, Shown::kNothing, 0, 0, true},
};

class TcpDialResult : public testing::TestWithParam<std::tuple<DialRow, bool, bool>> {};

TEST_P(TcpDialResult, IsShownToTheGuest) {
  const auto& [row, is_v6, is_at_once] = GetParam();
  World world;
  const char* const server = is_v6 ? "[2001:db8::17]:80" : "198.51.100.17:80";
  if (is_at_once) world.script.fails(Call::kDial, row.error);
  world.guest_sends(Syn().to(server).seq(0xffffffff).from_port(41000));
  if (!is_at_once) world.dial_fails(row.error);

  switch (is_v6 ? row.v6 : row.v4) {
    case Shown::kNothing:
      break;
    case Shown::kReset: {
      const Seen reset = world.expect_reset();
      EXPECT_EQ(reset.ack, 0U) << "the SYN is acknowledged";
      EXPECT_EQ(reset.source, endpoint(server).address);
      EXPECT_EQ(reset.source_port, 80);
      EXPECT_EQ(reset.destination_port, 41000);
      break;
    }
    case Shown::kIcmp: {
      const Seen error = is_v6 ? world.expect_icmp(row.v6_type, row.v6_code)
                               : world.expect_icmp(row.v4_type, row.v4_code);
      EXPECT_EQ(error.source, gateway_address(is_v6 ? Family::kIpv6 : Family::kIpv4));
      const std::optional<Seen> quoted = read_quoted(error.payload);
      ASSERT_TRUE(quoted);
      EXPECT_EQ(quoted->destination, endpoint(server).address);
      EXPECT_EQ(quoted->destination_port, 80);
      EXPECT_EQ(quoted->source_port, 41000);
      EXPECT_EQ(quoted->seq, 0xffffffffU);  // a guest checks it (RFC 5927)
      break;
    }
  }
  world.expect_nothing();
  EXPECT_EQ(world.flow_sockets(), 0U);
  EXPECT_EQ(world.translator.flows(), 0U);
  const bool is_resource = row.is_resource && (is_v6 ? row.v6 : row.v4) == Shown::kNothing;
  EXPECT_EQ(world.drops(Drop::kNoHostResource), is_resource ? 1U : 0U);
  EXPECT_EQ(world.events.count(Notice::kNoHostResource), is_resource ? 1U : 0U);

  // The guest's next SYN is a new try.
  world.guest_sends(Syn().to(server).seq(0xffffffff).from_port(41000));
  world.dial_succeeds();
  (void)world.expect_syn_ack();
}

INSTANTIATE_TEST_SUITE_P(Errno, TcpDialResult,
                         testing::Combine(testing::ValuesIn(kDialRows), testing::Bool(),
                                          testing::Bool()),
                         [](const auto& row) {
                           return std::string(std::get<0>(row.param).name) +
                                  (std::get<1>(row.param) ? "V6" : "V4") +
                                  (std::get<2>(row.param) ? "AtOnce" : "Later");
                         });

TEST(TcpDial, ThatIsNotDecidedYetWaits) {
  World world;
  world.guest_sends(Syn().to("198.51.100.17:80"));
  world.is_ready(world.host_socket().handle, Readiness{.is_writable = true});
  world.expect_nothing();
  EXPECT_EQ(world.flow_sockets(), 1U);
  world.dial_succeeds();
  (void)world.expect_syn_ack();
}

TEST(TcpDial, ThatNobodyAnswersIsGivenUpSilentlyAfter130Seconds) {
  World world;
  world.guest_sends(Syn().to("198.51.100.17:80"));
  world.advance(130s - 1ms);
  EXPECT_EQ(world.flow_sockets(), 1U);
  world.advance(1ms);
  EXPECT_EQ(world.flow_sockets(), 0U);
  world.expect_nothing();
}

TEST(TcpDial, AsksTheFibAgainBeforeTheSynAck) {
  World world;
  world.guest_sends(Syn().to("198.51.100.17:80").seq(9));
  world.routes.add_self("198.51.100.17");
  world.dial_succeeds();
  EXPECT_EQ(world.expect_reset().ack, 10U);
  world.expect_nothing();
  ASSERT_EQ(world.events.denials.size(), 1U);
  EXPECT_EQ(world.events.denials[0].request.address_class, AddressClass::kSelf);
  EXPECT_TRUE(world.guest.adoptions.empty());
  EXPECT_EQ(world.host_socket().end, End::kReset);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(TcpDial, ToAnAddressOfTheHostIsDeniedBeforeAnySocket) {
  World world;
  world.routes.add_self("198.51.100.99");
  world.routes.add_self("2001:db8::99");
  for (const char* to : {"198.51.100.99:80", "[2001:db8::99]:80", "127.0.0.1:80", "[::1]:80",
                         "0.0.0.0:80", "[::]:80", "169.254.169.254:80", "10.9.9.9:80",
                         "[::ffff:127.0.0.1]:80", "[64:ff9b::7f00:1]:80", "[fd12::1]:80"}) {
    world.guest_sends(Syn().to(to).seq(1));
    EXPECT_EQ(world.expect_reset().ack, 2U) << to;
  }
  EXPECT_EQ(world.events.denials.size(), 11U);
  EXPECT_TRUE(world.host.dialled.empty());
  EXPECT_EQ(world.drops(Drop::kDenied), 11U);
}

TEST(TcpDial, ADenialHasItsAllowedTwin) {
  World world({.deny = {"198.51.100.7"}});
  world.guest_sends(Syn().to("198.51.100.7:443"));
  (void)world.expect_reset();
  ASSERT_EQ(world.events.denials.size(), 1U);
  EXPECT_EQ(world.events.denials[0].id, 1U);
  EXPECT_EQ(world.events.denials[0].verdict.reason, Reason::kRule);
  EXPECT_EQ(world.events.denials[0].request.guest.port, 40000);
  EXPECT_TRUE(world.host.dialled.empty());
  world.guest_sends(Syn().to("198.51.100.8:443"));
  world.dial_succeeds();
  (void)world.expect_syn_ack();
}

TEST(TcpDial, OfTheHostDoorLeadsToTheLoopback) {
  World world({.allow = {"host:5432"}});
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const Endpoint door{.address = door_address(family), .port = 5432};
    world.guest_sends(Syn().to(door));
    EXPECT_TRUE(world.host.dialled.back().address.is_loopback());
    EXPECT_EQ(world.host.dialled.back().port, 5432);
    world.dial_succeeds();
    EXPECT_EQ(world.expect_syn_ack().source, door.address);
    world.guest_sends(Syn().to(Endpoint{.address = door.address, .port = 5433}));
    (void)world.expect_reset();
  }
  EXPECT_EQ(world.events.denials.size(), 2U);
}

TEST(TcpAdoption, IsTriedAgainWhileThePoolIsDry) {
  World world;
  world.script.fails(Call::kAdopt, ENOBUFS, 5);
  world.guest_sends(Syn().to("198.51.100.17:80"));
  world.dial_succeeds();
  world.expect_nothing();
  world.advance(20ms);
  (void)world.expect_syn_ack();
  world.expect_nothing();
  EXPECT_TRUE(world.events.notices.empty());
  EXPECT_EQ(world.flow_sockets(), 2U);
}

TEST(TcpAdoption, IsTriedAtOnceWhenTheGuestRepeatsItsSyn) {
  World world;
  world.script.fails(Call::kAdopt, ENOBUFS, 1);
  world.guest_sends(Syn().to("198.51.100.17:80"));
  world.dial_succeeds();
  world.guest_sends(Syn().to("198.51.100.17:80"));
  (void)world.expect_syn_ack();
}

TEST(TcpAdoption, ThatFailsTwiceIsUnreachableAndNeverARefusal) {
  for (const int error : {EPERM, EINVAL, EADDRNOTAVAIL, ENOMEM, EADDRINUSE}) {
    World world;
    world.script.fails(Call::kAdopt, error, 2);
    world.guest_sends(Syn().to("198.51.100.17:80"));
    world.dial_succeeds();
    world.expect_nothing();
    world.advance(10ms);
    (void)world.expect_icmp(3, 1);
    world.expect_nothing();
    EXPECT_EQ(world.events.count(Notice::kAdoptionFailed), 1U);
    EXPECT_EQ(world.events.notices.back().second, error);
    EXPECT_EQ(world.host_socket().end, End::kReset);
    EXPECT_EQ(world.flow_sockets(), 0U);
  }
}

TEST(TcpAdoption, ThatFailsOnceAndThenWorksIsSeenByNobody) {
  World world;
  world.script.fails(Call::kAdopt, EPERM, 1);
  world.guest_sends(Syn().to("[2001:db8::17]:80"));
  world.dial_succeeds();
  world.advance(10ms);
  (void)world.expect_syn_ack();
  EXPECT_TRUE(world.events.notices.empty());
}

TEST(TcpAdoption, APoolThatStaysDryEndsTheFlowWithinASecond) {
  World world;
  world.script.fails(Call::kAdopt, ENOBUFS, 1000);
  world.guest_sends(Syn().to("[2001:db8::17]:80"));
  world.dial_succeeds();
  world.advance(1s);
  (void)world.expect_icmp(1, 3);
  EXPECT_EQ(world.events.count(Notice::kAdoptionFailed), 1U);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

}  // namespace
}  // namespace cordon::world
