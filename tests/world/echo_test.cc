// Ping through the translator (RFC 5508 section 3): ping sockets of the host, answers of our own.
#include <cerrno>

#include <gtest/gtest.h>

#include "netstack/flow/limits.h"
#include "tests/world/world.h"

namespace cordon::world {
namespace {

// An echo message as a ping socket gives and takes it: from the type on, checksum and identifier
// the kernel's.
Octets echo(std::uint8_t type, std::uint16_t sequence, std::string_view data) {
  Octets out{type,
             0,
             0x12,
             0x34,
             0x99,
             0x99,
             static_cast<std::uint8_t>(sequence >> 8),
             static_cast<std::uint8_t>(sequence)};
  const Octets tail = octets(data);
  out.insert(out.end(), tail.begin(), tail.end());
  return out;
}

TEST(Echo, GoesThereAndBackWithItsIdentifierAndData) {
  for (const char* host : {"198.51.100.17", "2001:db8::17"}) {
    World world;
    const bool is_v6 = address(host).is_v6();
    world.guest_sends(Ping().to(host).id(0x1234).sequence(7).payload("0123456789").ttl(3));
    FakeSocket& socket = world.ping_socket();
    EXPECT_EQ(socket.family, address(host).family());
    ASSERT_EQ(socket.sent.size(), 1U);
    EXPECT_EQ(socket.sent[0].destination.address, address(host));
    EXPECT_EQ(socket.sent[0].fields.ttl, 3);
    ASSERT_EQ(socket.sent[0].payload.size(), 18U);
    EXPECT_EQ(socket.sent[0].payload[0], is_v6 ? 128 : 8);
    EXPECT_EQ(socket.sent[0].payload[7], 7);
    world.datagram_arrives(socket.handle, endpoint(host), echo(is_v6 ? 129 : 0, 7, "0123456789"));
    const Seen reply = is_v6 ? world.expect_icmp(129, 0) : world.expect_icmp(0, 0);
    EXPECT_EQ(reply.source, address(host));
    EXPECT_EQ(reply.id, 0x1234);
    EXPECT_EQ(reply.sequence, 7);
    EXPECT_EQ(reply.text(), "0123456789");
    world.expect_nothing();
  }
}

TEST(Echo, OfEverySizeComesBackWhole) {
  World world;
  for (const std::size_t size : {0U, 1U, 55U, 56U, 1472U, 1473U, 9000U}) {
    const std::string data(size, 'p');
    world.guest_sends(Ping().to("198.51.100.17").payload(data));
    world.datagram_arrives(world.ping_socket().handle, endpoint("198.51.100.17"), echo(0, 1, data));
    EXPECT_EQ(world.expect_icmp(0, 0).text(), data);
    world.guest_sends(Ping().to(gateway_address(Family::kIpv4).to_string()).payload(data));
    EXPECT_EQ(world.expect_icmp(0, 0).text(), data);
  }
}

TEST(Echo, ToOurOwnAddressesIsAnsweredWithoutTheHost) {
  World world;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    for (const IpAddress& ours :
         {gateway_address(family), resolver_address(family), door_address(family)}) {
      world.guest_sends(Ping().to(ours.to_string()).id(3).sequence(9));
      const Seen reply =
          family == Family::kIpv4 ? world.expect_icmp(0, 0) : world.expect_icmp(129, 0);
      EXPECT_EQ(reply.source, ours);
      EXPECT_EQ(reply.id, 3);
      EXPECT_EQ(reply.sequence, 9);
    }
  }
  world.guest_sends(Ping().from("fe80::ff:fe00:2").to("fe80::1"));
  EXPECT_EQ(world.expect_icmp(129, 0).source, address("fe80::1"));
  EXPECT_EQ(world.sockets.opened(OwnerKind::kEcho), 0U);
}

TEST(Echo, WithOneIdentifierToOneHostIsOneSocket) {
  World world;
  for (std::uint16_t i = 0; i < 10; ++i) world.guest_sends(Ping().to("198.51.100.17").sequence(i));
  EXPECT_EQ(world.sockets.opened(OwnerKind::kEcho), 1U);
  world.guest_sends(Ping().to("198.51.100.17").id(2));
  world.guest_sends(Ping().to("198.51.100.18"));
  EXPECT_EQ(world.sockets.opened(OwnerKind::kEcho), 3U);
}

TEST(Echo, FromSomebodyElseIsNotPassedOn) {
  World world;
  world.guest_sends(Ping().to("198.51.100.17"));
  const SocketHandle socket = world.ping_socket().handle;
  world.datagram_arrives(socket, endpoint("198.51.100.18"), echo(0, 1, "x"));
  world.datagram_arrives(socket, endpoint("198.51.100.17"), echo(8, 1, "x"));   // a request
  world.datagram_arrives(socket, endpoint("198.51.100.17"), echo(11, 1, "x"));  // an error
  world.datagram_arrives(socket, endpoint("198.51.100.17"), Octets(7, 0));      // too short
  world.datagram_arrives(socket, endpoint("198.51.100.17"), Octets());
  world.expect_nothing();
  EXPECT_EQ(world.drops(Drop::kUnknownPeer), 5U);
}

TEST(Echo, WhereTheHostAllowsNoPingIsProhibitedAndSaid) {
  World world;
  world.script.fails(Call::kOpenPing, EACCES, 3);
  for (int i = 0; i < 3; ++i) {
    world.guest_sends(Ping().to("198.51.100.17"));
    (void)world.expect_icmp(3, 13);
  }
  EXPECT_GE(world.events.count(Notice::kPingNotPermitted), 1U);
  EXPECT_EQ(world.flow_sockets(), 0U);
  EXPECT_TRUE(world.events.denials.empty());
}

TEST(Echo, WithoutADescriptorIsLostAndSaid) {
  World world;
  world.script.fails(Call::kOpenPing, EMFILE);
  world.guest_sends(Ping().to("198.51.100.17"));
  world.expect_nothing();
  EXPECT_EQ(world.events.count(Notice::kNoHostResource), 1U);
  EXPECT_EQ(world.translator.flows(), 0U);
}

TEST(Echo, ThatIsDeniedIsProhibited) {
  World world({.deny = {"198.51.100.66"}});
  world.guest_sends(Ping().to("198.51.100.66").id(5));
  const Seen error = world.expect_icmp(3, 13);
  EXPECT_EQ(read_quoted(error.payload)->id, 5);
  ASSERT_EQ(world.events.denials.size(), 1U);
  EXPECT_EQ(world.events.denials[0].request.protocol, Protocol::kIcmp);
  world.guest_sends(Ping().to("127.0.0.1"));
  (void)world.expect_icmp(3, 13);
  EXPECT_EQ(world.sockets.opened(OwnerKind::kEcho), 0U);
}

TEST(Echo, ErrorsNameTheRouterAndQuoteTheGuestsOwnRequest) {
  for (const bool is_v6 : {false, true}) {
    World world;
    const char* const host = is_v6 ? "2001:db8::17" : "198.51.100.17";
    const char* const router = is_v6 ? "2001:db8:9::1" : "198.51.100.1";
    world.guest_sends(Ping().to(host).id(0x4242).sequence(3).ttl(1));
    world.error_arrives(world.ping_socket().handle,
                        DatagramError{.destination = endpoint(host),
                                      .error = EHOSTUNREACH,
                                      .offender = address(router),
                                      .is_ttl_exceeded = true},
                        echo(is_v6 ? 128 : 8, 3, ""));
    const Seen error = is_v6 ? world.expect_icmp(3, 0) : world.expect_icmp(11, 0);
    EXPECT_EQ(error.source, address(router));
    const std::optional<Seen> quoted = read_quoted(error.payload);
    ASSERT_TRUE(quoted);
    EXPECT_EQ(quoted->id, 0x4242);
    EXPECT_EQ(quoted->sequence, 3);
    EXPECT_EQ(quoted->destination, address(host));
    EXPECT_EQ(world.flow_sockets(), 1U);
  }
}

TEST(Echo, IsForgottenAfterAMinute) {  // RFC 5508 REQ-2
  World world;
  world.guest_sends(Ping().to("198.51.100.17"));
  world.advance(60s - 1ms);
  EXPECT_EQ(world.flow_sockets(), 1U);
  world.datagram_arrives(world.ping_socket().handle, endpoint("198.51.100.17"), echo(0, 1, "x"));
  world.advance(60s - 1ms);
  EXPECT_EQ(world.flow_sockets(), 1U);
  world.advance(1ms);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(Echo, IsReportedWithItsOctetsWhenItOpensAndWhenItEnds) {
  World world;
  world.guest_sends(Ping().to("198.51.100.17").id(5).payload("0123456789"));
  ASSERT_EQ(world.events.flows.size(), 1U);
  EXPECT_EQ(world.events.flows[0].request.protocol, Protocol::kIcmp);
  EXPECT_EQ(world.events.flows[0].request.dialled.address, address("198.51.100.17"));
  EXPECT_EQ(world.events.flows[0].end, std::nullopt);
  EXPECT_EQ(world.events.flows[0].id, 1U);
  world.datagram_arrives(world.ping_socket().handle, endpoint("198.51.100.17"),
                         echo(0, 1, "0123456789"));
  world.advance(61s);
  ASSERT_EQ(world.events.flows.size(), 2U);
  EXPECT_EQ(world.events.flows[1].id, 1U);
  EXPECT_EQ(world.events.flows[1].end, FlowEnd::kTimedOut);
  EXPECT_EQ(world.events.flows[1].bytes_up, 18U);
  EXPECT_EQ(world.events.flows[1].bytes_down, 18U);
  // What is denied opens no flow.
  World denying({.deny = {"198.51.100.17"}});
  denying.guest_sends(Ping().to("198.51.100.17"));
  EXPECT_TRUE(denying.events.flows.empty());
}

TEST(Echo, WithTooManyIdentifiersTheOldestGivesWay) {
  World world;
  for (std::uint16_t i = 0; i < kMaxEchoFlows + 10; ++i) {
    world.guest_sends(Ping().to("198.51.100.17").id(i));
  }
  EXPECT_EQ(world.flow_sockets(), kMaxEchoFlows);
  EXPECT_EQ(world.sockets.opened(OwnerKind::kEcho), kMaxEchoFlows + 10);
}

TEST(Echo, RepliesErrorsAndOtherMessagesOfTheGuestGoNowhere) {
  World world;
  for (const std::uint8_t type : {0, 3, 4, 5, 11, 12, 13, 15, 17}) {
    Packet message = Ping();
    message.to("198.51.100.17").type(type == 0 ? 1 : type);
    world.guest_sends(message);
  }
  for (const std::uint8_t type : {1, 2, 3, 4, 129, 137, 200}) {
    world.guest_sends(Ping().to("2001:db8::17").type(type));
  }
  world.expect_nothing();
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(Echo, OfTheWrongFamilyIsAnUnknownTransport) {  // ICMPv6 in IPv4
  World world;
  world.guest_sends(Transport(kIcmpv6).to("198.51.100.17").type(8));
  world.expect_nothing();
  EXPECT_EQ(world.drops(Drop::kUnknownTransport), 1U);
}

TEST(Echo, ToMulticastAndBroadcastGoesNowhere) {
  World world;
  for (const char* to : {"224.0.0.1", "255.255.255.255", "10.0.2.255", "ff02::1"}) {
    world.guest_sends(Ping().to(to));
  }
  world.expect_nothing();
  EXPECT_EQ(world.drops(Drop::kMulticast), 4U);
}

TEST(Echo, ThatTheHostCannotSendIsShown) {
  World world;
  world.script.fails(Call::kSend, ENETUNREACH, 2);
  world.guest_sends(Ping().to("198.51.100.17"));
  (void)world.expect_icmp(3, 0);
  EXPECT_EQ(world.drops(Drop::kHostError), 1U);
}

}  // namespace
}  // namespace cordon::world
