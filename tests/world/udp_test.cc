// UDP through the translator: RFC 4787's mapping and filtering, trains, errors, denials, published
// ports.
#include <cerrno>

#include <gtest/gtest.h>

#include "netstack/flow/limits.h"
#include "tests/world/world.h"

namespace cordon::world {
namespace {

constexpr const char* kPeer = "198.51.100.17:4000";

TEST(UdpMapping, IsOneHostSocketForOneGuestEndpoint) {  // RFC 4787 REQ-1
  World world;
  world.guest_sends(Udp("a").from_port(5000).to(kPeer));
  const SocketHandle socket = world.udp_socket().handle;
  world.guest_sends(Udp("b").from_port(5000).to("198.51.100.18:4000"));
  world.guest_sends(Udp("c").from_port(5000).to("198.51.100.17:4001"));
  EXPECT_EQ(world.sockets.opened(OwnerKind::kUdp), 1U);
  ASSERT_EQ(world.sockets.was(socket).sent.size(), 3U);
  EXPECT_EQ(world.sockets.was(socket).sent[1].destination, endpoint("198.51.100.18:4000"));
  EXPECT_EQ(world.translator.flows(), 3U);
  world.guest_sends(Udp("d").from_port(5001).to(kPeer));
  EXPECT_EQ(world.sockets.opened(OwnerKind::kUdp), 2U);
}

TEST(UdpMapping, ClosesWithTheLastOfItsFlows) {
  World world;
  world.guest_sends(Udp("a").to(kPeer));
  world.advance(200s);
  world.guest_sends(Udp("b").to("198.51.100.18:4000"));
  world.advance(101s);
  EXPECT_EQ(world.translator.flows(), 1U);
  EXPECT_EQ(world.flow_sockets(), 1U);
  world.advance(200s);
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(UdpDatagram, GoesThereAndBack) {
  for (const char* peer : {"198.51.100.17:4000", "[2001:db8::17]:4000"}) {
    World world;
    world.guest_sends(Udp("hello").from_port(5000).to(peer).ttl(33).traffic_class(0xb8));
    const FakeSocket& socket = world.udp_socket();
    ASSERT_EQ(socket.sent.size(), 1U);
    EXPECT_EQ(socket.sent[0].payload, octets("hello"));
    EXPECT_EQ(socket.sent[0].destination, endpoint(peer));
    EXPECT_EQ(socket.sent[0].fields.ttl, 33);
    EXPECT_EQ(socket.sent[0].fields.traffic_class, 0xb8);
    EXPECT_EQ(socket.sent[0].fields.segment_size, 0);
    world.datagram_arrives(socket.handle, peer, "hello yourself");
    const Seen answer = world.expect_udp();
    EXPECT_EQ(answer.text(), "hello yourself");
    EXPECT_EQ(answer.source, endpoint(peer).address);
    EXPECT_EQ(answer.source_port, 4000);
    EXPECT_EQ(answer.destination_port, 5000);
    world.expect_nothing();
  }
}

TEST(UdpDatagram, WithoutOctetsPassesBothWays) {
  World world;
  world.guest_sends(Udp("").to(kPeer));
  ASSERT_EQ(world.udp_socket().sent.size(), 1U);
  EXPECT_TRUE(world.udp_socket().sent[0].payload.empty());
  world.datagram_arrives(world.udp_socket().handle, kPeer, "");
  EXPECT_TRUE(world.expect_udp().payload.empty());
}

TEST(UdpDatagram, OfOddAndLargeSizesArrivesWithARightChecksum) {
  World world;
  world.guest_sends(Udp().to(kPeer));
  for (const std::size_t size : {1U, 3U, 1471U, 1472U, 1473U, 9000U, 65506U, 65507U}) {
    world.datagram_arrives(world.udp_socket().handle, endpoint(kPeer), Octets(size, 0xa5));
    EXPECT_EQ(world.expect_udp().payload.size(), size);
  }
}

TEST(UdpDatagram, KeepsTheGuestsWishAboutFragments) {
  World world;
  world.guest_sends(Udp().to(kPeer));
  EXPECT_FALSE(world.udp_socket().sent.back().fields.may_fragment);
  world.guest_sends(Udp().to(kPeer).may_fragment());
  EXPECT_TRUE(world.udp_socket().sent.back().fields.may_fragment);
}

TEST(UdpFiltering, StrangersAreDroppedAndCounted) {  // RFC 4787 REQ-8, the strictest choice
  World world;
  world.guest_sends(Udp().to(kPeer));
  const SocketHandle socket = world.udp_socket().handle;
  for (const char* stranger :
       {"198.51.100.17:4001", "198.51.100.18:4000", "198.51.100.18:53", "127.0.0.1:4000"}) {
    world.datagram_arrives(socket, stranger, "let me in");
  }
  world.expect_nothing();
  EXPECT_EQ(world.drops(Drop::kUnknownPeer), 4U);
  world.datagram_arrives(socket, kPeer, "me");
  EXPECT_EQ(world.expect_udp().text(), "me");
}

TEST(UdpFiltering, ADeniedPeerStaysAStranger) {
  World world({.deny = {"198.51.100.66"}});
  world.guest_sends(Udp().from_port(5000).to(kPeer));
  world.guest_sends(Udp().from_port(5000).to("198.51.100.66:4000"));
  (void)world.expect_icmp(3, 13);
  world.datagram_arrives(world.udp_socket().handle, "198.51.100.66:4000", "hi");
  world.expect_nothing();
  EXPECT_EQ(world.drops(Drop::kUnknownPeer), 1U);
}

struct ExpiryRow {
  const char* name;
  std::uint16_t port;
  Duration idle;
};
class UdpExpiry : public testing::TestWithParam<ExpiryRow> {};

TEST_P(UdpExpiry, IsExact) {
  World world;
  const std::string peer = "198.51.100.17:" + std::to_string(GetParam().port);
  world.guest_sends(Udp().to(peer));
  world.advance(100s);
  world.guest_sends(Udp().to(peer));  // refreshes
  world.advance(GetParam().idle - 1ms);
  EXPECT_EQ(world.flow_sockets(), 1U);
  world.datagram_arrives(world.udp_socket().handle, peer, "in");  // refreshes too
  world.advance(GetParam().idle - 1ms);
  EXPECT_EQ(world.flow_sockets(), 1U);
  world.advance(2ms);
  EXPECT_EQ(world.flow_sockets(), 0U);
  EXPECT_EQ(world.events.flows.back().end, FlowEnd::kTimedOut);
}

INSTANTIATE_TEST_SUITE_P(Ports, UdpExpiry,  // RFC 4787 REQ-5
                         testing::Values(ExpiryRow{"Ntp", 123, 120s},
                                         ExpiryRow{"LastWellKnown", 1023, 120s},
                                         ExpiryRow{"FirstOther", 1024, 300s},
                                         ExpiryRow{"High", 40000, 300s}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(UdpTable, FullOfActiveMappingsRefusesAndOfIdleOnesGivesTheOldest) {
  World world({.reports_flows = false});
  for (std::uint32_t i = 0; i < kMaxUdpAssociations; ++i) {
    world.guest_sends(
        Udp().from_port(static_cast<std::uint16_t>(1024 + i)).to("198.51.100.17:4000"));
    if (i % 1000 == 999) world.advance(600ms);
  }
  EXPECT_EQ(world.flow_sockets(), kMaxUdpAssociations);
  world.guest_sends(Udp().from_port(60000).to("198.51.100.17:4000"));
  EXPECT_EQ(world.drops(Drop::kFlowLimit), 1U);
  world.expect_nothing();
  // A guest endpoint that has its mapping is served all the same.
  world.guest_sends(Udp().from_port(1024).to("198.51.100.18:4000"));
  EXPECT_EQ(world.drops(Drop::kFlowLimit), 1U);
  world.advance(10s);
  const SocketHandle before = world.udp_socket().handle;
  world.guest_sends(Udp().from_port(60000).to("198.51.100.17:4000"));
  EXPECT_NE(world.udp_socket().handle, before);
  EXPECT_EQ(world.flow_sockets(), kMaxUdpAssociations);
}

TEST(UdpTrain, LeavesAsOne) {
  World world;
  world.guest_sends(Udp(std::string(3000, 'x')).to(kPeer).train(1200));
  ASSERT_EQ(world.udp_socket().sent.size(), 1U);
  EXPECT_EQ(world.udp_socket().sent[0].fields.segment_size, 1200);
  EXPECT_EQ(world.udp_socket().sent[0].payload.size(), 3000U);
}

TEST(UdpTrain, ArrivesAsOneWhereTheTapTakesTrains) {
  World world;
  world.guest_sends(Udp().to(kPeer));
  world.datagram_arrives(world.udp_socket().handle, kPeer, std::string(3000, 'x'), 1200);
  const Seen train = world.expect_udp();
  EXPECT_EQ(train.segment_size, 1200);
  EXPECT_EQ(train.payload.size(), 3000U);
  world.expect_nothing();
}

TEST(UdpTrain, IsTakenApartWhereTheTapTakesNone) {
  World world({.has_udp_trains = false});
  world.guest_sends(Udp().to(kPeer));
  world.datagram_arrives(world.udp_socket().handle, kPeer, std::string(3000, 'x'), 1200);
  for (const std::size_t size : {1200U, 1200U, 600U}) {
    const Seen datagram = world.expect_udp();
    EXPECT_EQ(datagram.payload.size(), size);
    EXPECT_EQ(datagram.segment_size, 0);
  }
  world.expect_nothing();
}

TEST(UdpTrain, ToPort53GoesToTheResolverAndNowhereElse) {
  World world;
  world.guest_sends(Udp(std::string(3000, 'x')).to("198.51.100.17:53").train(1200));
  EXPECT_EQ(world.sockets.opened(OwnerKind::kUdp), 0U);
}

struct ErrorRow {
  const char* name;
  int error;
  bool is_ttl_exceeded;
  std::uint8_t v4_type, v4_code, v6_type, v6_code;
};
class UdpErrorRow : public testing::TestWithParam<std::tuple<ErrorRow, bool>> {};

TEST_P(UdpErrorRow, OfTheHostsNetworkIsShownWithItsReporter) {  // RFC 5508 REQ-3
  const auto& [row, is_v6] = GetParam();
  World world;
  const char* const peer = is_v6 ? "[2001:db8::17]:33434" : "198.51.100.17:33434";
  const char* const router = is_v6 ? "2001:db8:1::1" : "198.51.100.1";
  world.guest_sends(Udp("probe").from_port(5000).to(peer));
  world.error_arrives(world.udp_socket().handle,
                      DatagramError{.destination = endpoint(peer),
                                    .error = row.error,
                                    .offender = address(router),
                                    .is_ttl_exceeded = row.is_ttl_exceeded,
                                    .mtu = 1400},
                      octets("probe"));
  const Seen error = is_v6 ? world.expect_icmp(row.v6_type, row.v6_code)
                           : world.expect_icmp(row.v4_type, row.v4_code);
  EXPECT_EQ(error.source, address(router));
  const std::optional<Seen> quoted = read_quoted(error.payload);
  ASSERT_TRUE(quoted);
  EXPECT_EQ(quoted->source, guest_address(is_v6 ? Family::kIpv6 : Family::kIpv4));
  EXPECT_EQ(quoted->destination, endpoint(peer).address);
  EXPECT_EQ(quoted->source_port, 5000);
  EXPECT_EQ(quoted->destination_port, 33434);
  EXPECT_EQ(quoted->text(), "probe");
  if (row.error == EMSGSIZE) {
    EXPECT_EQ(error.mtu, 1400U);
  }
  // The mapping lives on (RFC 4787 REQ-11 c).
  EXPECT_EQ(world.flow_sockets(), 1U);
  world.expect_nothing();
}

INSTANTIATE_TEST_SUITE_P(
    Errno, UdpErrorRow,
    testing::Combine(testing::Values(ErrorRow{"Refused", ECONNREFUSED, false, 3, 3, 1, 4},
                                     ErrorRow{"HostUnreachable", EHOSTUNREACH, false, 3, 1, 1, 3},
                                     ErrorRow{"NetUnreachable", ENETUNREACH, false, 3, 0, 1, 0},
                                     ErrorRow{"Prohibited", EACCES, false, 3, 13, 1, 1},
                                     ErrorRow{"TooBig", EMSGSIZE, false, 3, 4, 2, 0},
                                     ErrorRow{"TtlExceeded", EHOSTUNREACH, true, 11, 0, 3, 0}),
                     testing::Bool()),
    [](const auto& row) {
      return std::string(std::get<0>(row.param).name) + (std::get<1>(row.param) ? "V6" : "V4");
    });

TEST(UdpError, ForAPeerThatTheGuestNeverWroteToIsIgnored) {
  World world;
  world.guest_sends(Udp().to(kPeer));
  world.error_arrives(
      world.udp_socket().handle,
      DatagramError{.destination = endpoint("198.51.100.99:1"), .error = ECONNREFUSED});
  world.expect_nothing();
}

TEST(UdpError, FromTheHostItselfComesFromTheGateway) {
  World world;
  world.guest_sends(Udp().to(kPeer));
  for (const std::optional<IpAddress>& offender :
       {std::optional<IpAddress>{}, std::optional(address("127.0.0.1")),
        std::optional(address("0.0.0.0")), std::optional(address("169.254.1.1")),
        std::optional(address("2001:db8::1"))}) {
    world.error_arrives(
        world.udp_socket().handle,
        DatagramError{.destination = endpoint(kPeer), .error = EHOSTUNREACH, .offender = offender});
    EXPECT_EQ(world.expect_icmp(3, 1).source, gateway_address(Family::kIpv4));
  }
}

TEST(UdpError, ThatASendReportsBelongsToAnEarlierDatagramAndThisOneIsSentAgain) {
  World world;
  world.guest_sends(Udp("one").to(kPeer));
  const SocketHandle socket = world.udp_socket().handle;
  world.sockets.at(socket, "an error")
      .errors.push_back({.error = {.destination = endpoint(kPeer), .error = ECONNREFUSED},
                         .payload = octets("one")});
  world.script.fails(Call::kSend, ECONNREFUSED);
  world.guest_sends(Udp("two").to(kPeer));
  (void)world.expect_icmp(3, 3);
  world.expect_nothing();
  EXPECT_EQ(world.udp_socket().sent.size(), 2U);
  EXPECT_EQ(world.drops(Drop::kHostError), 0U);
}

struct SendRow {
  const char* name;
  int error;
  bool is_shown;
  std::uint8_t type, code;
};
class UdpSend : public testing::TestWithParam<SendRow> {};

TEST_P(UdpSend, ThatFailsTwiceIsShown) {
  const SendRow& row = GetParam();
  World world;
  world.script.fails(Call::kSend, row.error, 2);
  world.guest_sends(Udp("x").to(kPeer));
  if (row.is_shown) {
    const Seen error = world.expect_icmp(row.type, row.code);
    EXPECT_EQ(read_quoted(error.payload)->text(), "x");
  }
  world.expect_nothing();
  EXPECT_EQ(world.drops(Drop::kHostError), 1U);
  world.guest_sends(Udp("y").to(kPeer));
  EXPECT_EQ(world.udp_socket().sent.size(), 1U);
}

INSTANTIATE_TEST_SUITE_P(Errno, UdpSend,
                         testing::Values(SendRow{"NetUnreachable", ENETUNREACH, true, 3, 0},
                                         SendRow{"HostUnreachable", EHOSTUNREACH, true, 3, 1},
                                         SendRow{"Access", EACCES, true, 3, 13},
                                         SendRow{"Permission", EPERM, true, 3, 13},
                                         SendRow{"Again", EAGAIN, false, 0, 0},
                                         SendRow{"NoBuffers", ENOBUFS, false, 0, 0},
                                         SendRow{"NoMemory", ENOMEM, false, 0, 0},
                                         SendRow{"NetDown", ENETDOWN, true, 3, 0},
                                         SendRow{"Invalid", EINVAL, false, 0, 0}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(UdpSocket, ThatCannotBeHadIsToldAsWhatItIs) {
  World world;
  world.script.fails(Call::kOpenUdp, EMFILE);
  world.guest_sends(Udp().to(kPeer));
  world.expect_nothing();
  EXPECT_EQ(world.events.count(Notice::kNoHostResource), 1U);
  EXPECT_EQ(world.translator.flows(), 0U);
  world.script.fails(Call::kOpenUdp, EAFNOSUPPORT);
  world.guest_sends(Udp().to("[2001:db8::17]:4000"));
  (void)world.expect_icmp(1, 0);
  world.guest_sends(Udp().to(kPeer));
  EXPECT_EQ(world.udp_socket().sent.size(), 1U);
}

TEST(UdpDenial, IsProhibitedWithItsId) {
  World world({.deny = {"198.51.100.66", "2001:db8::66"}});
  world.guest_sends(Udp("one").from_port(5000).to("198.51.100.66:9"));
  const Seen v4 = world.expect_icmp(3, 13);
  EXPECT_EQ(v4.source, gateway_address(Family::kIpv4));
  EXPECT_EQ(read_quoted(v4.payload)->destination_port, 9);
  world.guest_sends(Udp("two").from_port(5000).to("[2001:db8::66]:9"));
  (void)world.expect_icmp(1, 1);
  ASSERT_EQ(world.events.denials.size(), 2U);
  EXPECT_EQ(world.events.denials[0].id, 1U);
  EXPECT_EQ(world.events.denials[1].id, 2U);
  EXPECT_EQ(world.events.denials[0].request.protocol, Protocol::kUdp);
  EXPECT_EQ(world.events.denials[0].request.guest.port, 5000);
  EXPECT_EQ(world.sockets.opened(OwnerKind::kUdp), 0U);
  EXPECT_EQ(world.drops(Drop::kDenied), 2U);
}

TEST(UdpDatagram, ToMulticastGoesNowhereSilently) {
  World world;
  for (const char* to :
       {"224.0.0.251:5353", "239.255.255.250:1900", "255.255.255.255:67", "[ff02::fb]:5353",
        "10.0.2.255:137", "224.0.0.1:53", "[ff02::1]:53", "255.255.255.255:53", "10.0.2.255:53"}) {
    world.guest_sends(Udp().to(to));
    world.expect_nothing();
  }
  EXPECT_EQ(world.drops(Drop::kMulticast), 9U);
  EXPECT_TRUE(world.events.denials.empty());
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(UdpDatagram, ToPortZeroIsDropped) {
  World world;
  world.guest_sends(Udp().to("198.51.100.17:0"));
  EXPECT_EQ(world.drops(Drop::kBadPort), 1U);
  EXPECT_EQ(world.flow_sockets(), 0U);
  world.expect_nothing();
}

TEST(UdpDatagram, ToTheGatewayFindsNoPort) {
  World world;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    world.guest_sends(Udp().to(Endpoint{.address = gateway_address(family), .port = 123}));
    const bool is_v6 = family == Family::kIpv6;
    (void)world.expect_icmp(is_v6 ? 1 : 3, is_v6 ? 4 : 3);
  }
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(UdpHostDoor, LeadsToTheLoopbackAndBack) {
  World world({.allow = {"udp/host:5060"}});
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const Endpoint door{.address = door_address(family), .port = 5060};
    world.guest_sends(Udp("knock").from_port(5000).to(door));
    FakeSocket& socket = world.udp_socket();
    ASSERT_EQ(socket.sent.size(), 1U);
    const Endpoint loopback = socket.sent[0].destination;
    EXPECT_TRUE(loopback.address.is_loopback());
    EXPECT_EQ(loopback.port, 5060);
    world.datagram_arrives(socket.handle, loopback, octets("who is there"));
    const Seen answer = world.expect_udp();
    EXPECT_EQ(answer.source, door.address);
    EXPECT_EQ(answer.text(), "who is there");
    // An ICMP error for it names the door, not the loopback.
    world.error_arrives(socket.handle, DatagramError{.destination = loopback,
                                                     .error = ECONNREFUSED,
                                                     .offender = loopback.address});
    const Seen error = family == Family::kIpv4 ? world.expect_icmp(3, 3) : world.expect_icmp(1, 4);
    EXPECT_EQ(error.source, gateway_address(family));
    EXPECT_EQ(read_quoted(error.payload)->destination, door.address);
    world.guest_sends(Udp().to(Endpoint{.address = door.address, .port = 5061}));
    (void)(family == Family::kIpv4 ? world.expect_icmp(3, 13) : world.expect_icmp(1, 1));
  }
}

TEST(UdpPublished, TheGuestSeesTheClientsAddressAndAnswersIt) {
  World world({.published_udp = {53530}});
  for (const char* client : {"198.51.100.200:7000", "[2001:db8::200]:7000"}) {
    const Endpoint from = endpoint(client);
    world.datagram_arrives(world.published_udp(0), client, "question");
    const Seen question = world.expect_udp();
    EXPECT_EQ(question.source, from.address);
    EXPECT_EQ(question.source_port, 7000);
    EXPECT_EQ(question.destination, guest_address(from.address.family()));
    EXPECT_EQ(question.destination_port, 53530);
    world.guest_sends(Udp("answer").from_port(53530).to(client));
    const FakeSocket& socket = world.sockets.was(world.published_udp(0));
    ASSERT_FALSE(socket.sent.empty());
    EXPECT_EQ(socket.sent.back().destination, from);
    EXPECT_EQ(socket.sent.back().payload, octets("answer"));
  }
  EXPECT_EQ(world.flow_sockets(), 0U);  // the published socket is all it takes
}

TEST(UdpPublished, AClientOnTheHostsLoopbackIsTheGateway) {
  World world({.published_udp = {53530}});
  for (const char* client : {"127.0.0.1:7000", "[::1]:7000"}) {
    const Family family = endpoint(client).address.family();
    world.datagram_arrives(world.published_udp(0), client, "q");
    EXPECT_EQ(world.expect_udp().source, gateway_address(family));
    world.guest_sends(
        Udp("a").from_port(53530).to(Endpoint{.address = gateway_address(family), .port = 7000}));
    EXPECT_EQ(world.sockets.was(world.published_udp(0)).sent.back().destination, endpoint(client));
  }
}

TEST(UdpPublished, OfTwoClientsThatLookAlikeInsideTheFirstKeepsTheFlow) {
  World world({.published_udp = {53530}});
  world.datagram_arrives(world.published_udp(0), "127.0.0.1:7000", "first");
  (void)world.expect_udp();
  world.datagram_arrives(world.published_udp(0), "127.0.0.2:7000", "second");
  world.expect_nothing();
  EXPECT_EQ(world.drops(Drop::kUnknownPeer), 1U);
  world.guest_sends(Udp("a").from_port(53530).to(
      Endpoint{.address = gateway_address(Family::kIpv4), .port = 7000}));
  EXPECT_EQ(world.sockets.was(world.published_udp(0)).sent.back().destination,
            endpoint("127.0.0.1:7000"));
}

TEST(UdpPublished, AFlowThatTheGuestBeginsFromThatPortHasItsOwnMapping) {
  World world({.published_udp = {53530}});
  world.guest_sends(Udp("out").from_port(53530).to(kPeer));
  EXPECT_EQ(world.sockets.opened(OwnerKind::kUdp), 1U);
  EXPECT_TRUE(world.sockets.was(world.published_udp(0)).sent.empty());
}

TEST(UdpPublished, ADeniedClientIsDroppedSilently) {
  World world({.deny = {"198.51.100.200"}, .published_udp = {53530}});
  world.datagram_arrives(world.published_udp(0), "198.51.100.200:7000", "q");
  world.expect_nothing();
  EXPECT_EQ(world.events.denials.size(), 1U);
  EXPECT_EQ(world.events.denials[0].request.direction, Direction::kInbound);
  world.datagram_arrives(world.published_udp(0), "198.51.100.201:7000", "q");
  (void)world.expect_udp();
}

HostEnd at(std::string_view address_text, std::uint32_t zone = 0) {
  return {.address = address(address_text), .zone = zone};
}

TEST(UdpPublished, ALinkLocalClientMeetsTheGuestsLinkLocalAddress) {  // RFC 4007
  World world({.published_udp = {53530}});
  world.client_sends("[fe80::5]:7000", at("fe80::77", 3), "q");
  const Seen question = world.expect_udp();
  EXPECT_EQ(question.source, address("fe80::5"));
  EXPECT_EQ(question.destination, address("fe80::ff:fe00:2"));
  world.guest_sends(Udp("a").from("fe80::ff:fe00:2").from_port(53530).to("[fe80::5]:7000"));
  const FakeSocket& socket = world.sockets.was(world.published_udp(0));
  ASSERT_EQ(socket.sent.size(), 1U);
  EXPECT_EQ(socket.sent[0].destination, endpoint("[fe80::5]:7000"));
  EXPECT_EQ(socket.sent[0].fields.from, at("fe80::77", 3));
  // A change of the host judges it again, and it may stay.
  world.host_changes(false);
  EXPECT_EQ(world.translator.flows(), 1U);
}

TEST(UdpPublished, OfTwoLinkLocalClientsOnTwoLinksTheFirstKeepsTheFlow) {
  World world({.published_udp = {53530}});
  world.client_sends("[fe80::5]:7000", at("fe80::77", 3), "first");
  (void)world.expect_udp();
  world.client_sends("[fe80::5]:7000", at("fe80::77", 4), "second");
  world.expect_nothing();
  EXPECT_EQ(world.drops(Drop::kUnknownPeer), 1U);
}

TEST(UdpPublished, AScopeIsNotChangedOnTheWay) {  // RFC 4007
  World world({.published_udp = {53530}});
  world.client_sends("[fe80::5]:7000", at("2001:db8::2"), "q");
  world.client_sends("[2001:db8::5]:7000", at("fe80::77", 3), "q");
  world.client_sends("169.254.3.3:7000", at("169.254.3.4"), "q");  // the guest has none
  world.expect_nothing();
  ASSERT_EQ(world.events.denials.size(), 3U);
  for (const Denial& denial : world.events.denials) {
    EXPECT_EQ(denial.verdict.reason, Reason::kScope);
  }
  world.client_sends("[2001:db8::5]:7000", at("2001:db8::2"), "q");
  (void)world.expect_udp();
  world.client_sends("[2001:db8::5]:7000", at("fe80::77", 3), "q");
  world.expect_nothing();
  EXPECT_EQ(world.drops(Drop::kUnknownPeer), 1U);
}

TEST(UdpPublished, AnAnswerLeavesFromTheAddressThatTheClientWroteToLast) {
  World world({.published_udp = {53530}});
  for (const char* local : {"198.51.100.2", "198.51.100.3"}) {
    world.client_sends("198.51.100.200:7000", at(local), "q");
    (void)world.expect_udp();
    world.guest_sends(Udp("a").from_port(53530).to("198.51.100.200:7000"));
    EXPECT_EQ(world.sockets.was(world.published_udp(0)).sent.back().fields.from, at(local));
  }
}

TEST(UdpPublished, OnlyWhomThePortIsForIsLetIn) {
  World world({.published_udp = {53530}, .published_for = {"198.51.100.192/28", "198.51.100.7"}});
  world.client_sends("198.51.100.6:7000", at("198.51.100.2"), "q");
  world.expect_nothing();
  ASSERT_EQ(world.events.denials.size(), 1U);
  EXPECT_EQ(world.events.denials[0].verdict.reason, Reason::kSource);
  for (const char* client : {"198.51.100.200:7000", "198.51.100.7:7000"}) {
    world.client_sends(client, at("198.51.100.2"), "q");
    EXPECT_EQ(world.expect_udp().source, endpoint(client).address);
  }
}

TEST(UdpPublished, ExpiresAndComesAgain) {
  World world({.published_udp = {53530}});
  world.datagram_arrives(world.published_udp(0), "198.51.100.200:7000", "q");
  (void)world.expect_udp();
  world.advance(301s);
  EXPECT_EQ(world.translator.flows(), 0U);
  world.datagram_arrives(world.published_udp(0), "198.51.100.200:7000", "q");
  (void)world.expect_udp();
}

TEST(UdpTap, ThatIsFullLosesDatagramsAndCountsThem) {
  World world;
  world.guest_sends(Udp().to(kPeer));
  world.tap.answer = TapSend::kFull;
  for (int i = 0; i < 100; ++i) {
    world.datagram_arrives(world.udp_socket().handle, kPeer, "lost");
  }
  EXPECT_EQ(world.drops(Drop::kTapFull), 100U);
  EXPECT_FALSE(world.translator.is_tap_gone());
  world.tap.answer = TapSend::kSent;
  world.datagram_arrives(world.udp_socket().handle, kPeer, "found");
  EXPECT_EQ(world.expect_udp().text(), "found");
}

TEST(UdpTap, ThatIsGoneIsSaid) {
  World world;
  world.guest_sends(Udp().to(kPeer));
  world.tap.answer = TapSend::kGone;
  world.datagram_arrives(world.udp_socket().handle, kPeer, "x");
  EXPECT_TRUE(world.translator.is_tap_gone());
}

}  // namespace
}  // namespace cordon::world
