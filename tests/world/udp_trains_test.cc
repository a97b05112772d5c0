// Datagrams that come together leave together, both ways, and nobody can tell: boundaries, order,
// contents, header fields and errors are those of datagrams by themselves.
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/world/world.h"

namespace cordon::world {
namespace {

constexpr const char* kPeer = "198.51.100.17:4000";

// Octets that tell where each of them was.
Octets pattern(std::size_t size, std::uint8_t seed) {
  Octets octets(size);
  for (std::size_t i = 0; i < size; ++i) octets[i] = static_cast<std::uint8_t>(seed * 31 + i * 7);
  return octets;
}

std::vector<Octets> patterns(const std::vector<std::size_t>& sizes) {
  std::vector<Octets> all;
  for (const std::size_t size : sizes) {
    all.push_back(pattern(size, static_cast<std::uint8_t>(all.size())));
  }
  return all;
}

std::vector<Packet> packets_to(const char* peer, const std::vector<Octets>& payloads) {
  std::vector<Packet> packets;
  for (const Octets& payload : payloads) packets.push_back(Udp().to(peer).payload(payload));
  return packets;
}

// The datagrams of a train, as whoever receives it cuts it.
void cut(const Octets& train, std::size_t segment, std::vector<Octets>& into) {
  if (segment == 0) return into.push_back(train);
  for (std::size_t at = 0; at < train.size(); at += segment) {
    const std::size_t end = std::min(at + segment, train.size());
    into.emplace_back(train.begin() + static_cast<std::ptrdiff_t>(at),
                      train.begin() + static_cast<std::ptrdiff_t>(end));
  }
}

std::vector<Octets> datagrams_of(const FakeSocket& socket) {
  std::vector<Octets> datagrams;
  for (const SentDatagram& sent : socket.sent) {
    cut(sent.payload, sent.fields.segment_size, datagrams);
  }
  return datagrams;
}

class UdpTrains : public testing::TestWithParam<const char*> {};

TEST_P(UdpTrains, OfEqualDatagramsLeaveInOneCall) {
  World world;
  const std::vector<Octets> payloads = patterns({1200, 1200, 1200, 1200, 333});
  world.guest_sends_at_once(packets_to(GetParam(), payloads));
  const FakeSocket& socket = world.udp_socket();
  ASSERT_EQ(socket.sent.size(), 1U);
  EXPECT_EQ(socket.sent[0].fields.segment_size, 1200);
  EXPECT_EQ(socket.sent[0].destination, endpoint(GetParam()));
  EXPECT_EQ(datagrams_of(socket), payloads);
}

TEST_P(UdpTrains, OfMixedSizesKeepOrderBoundariesAndContents) {
  World world;
  const std::vector<Octets> payloads =
      patterns({1, 1200, 1200, 0, 700, 700, 700, 1472, 5, 5, 6, 0, 0, 9});
  world.guest_sends_at_once(packets_to(GetParam(), payloads));
  EXPECT_EQ(datagrams_of(world.udp_socket()), payloads);
}

TEST_P(UdpTrains, ThatArriveTogetherAreOneFrameForTheGuest) {
  World world;
  world.guest_sends(Udp().from_port(5000).to(GetParam()));
  const std::vector<Octets> payloads = patterns({1200, 1200, 1200, 333});
  std::vector<WaitingDatagram> waiting;
  for (const Octets& payload : payloads) {
    waiting.push_back({.peer = endpoint(GetParam()), .payload = payload});
  }
  world.datagrams_arrive(world.udp_socket().handle, waiting);
  // Reading it checks its lengths and its checksums.
  const Seen train = world.expect_udp();
  EXPECT_EQ(train.segment_size, 1200);
  EXPECT_EQ(train.source, endpoint(GetParam()).address);
  EXPECT_EQ(train.destination_port, 5000);
  std::vector<Octets> seen;
  cut(train.payload, train.segment_size, seen);
  EXPECT_EQ(seen, payloads);
  world.expect_nothing();
}

TEST_P(UdpTrains, ThatArriveInMixedSizesKeepOrderBoundariesAndContents) {
  for (const bool has_udp_trains : {true, false}) {
    World world({.has_udp_trains = has_udp_trains});
    world.guest_sends(Udp().to(GetParam()));
    const std::vector<Octets> payloads = patterns({9, 1200, 1200, 0, 700, 701, 701, 3, 0, 65507});
    std::vector<WaitingDatagram> waiting;
    for (const Octets& payload : payloads) {
      waiting.push_back({.peer = endpoint(GetParam()), .payload = payload});
    }
    world.datagrams_arrive(world.udp_socket().handle, waiting);
    std::vector<Octets> seen;
    while (const std::optional<Seen> frame = world.next_packet()) {
      EXPECT_TRUE(has_udp_trains || frame->segment_size == 0);
      cut(frame->payload, frame->segment_size, seen);
    }
    EXPECT_EQ(seen, payloads);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, UdpTrains, testing::Values(kPeer, "[2001:db8::17]:4000"),
                         [](const auto& row) { return row.param[0] == '[' ? "Ipv6" : "Ipv4"; });

TEST(UdpTrainsUp, KeepEachFlowsDatagramsAndFields) {
  World world;
  world.guest_sends_at_once(
      {Udp("a1").from_port(5000).to(kPeer), Udp("b1").from_port(5001).to(kPeer),
       Udp("a2").from_port(5000).to(kPeer), Udp("c1").from_port(5000).to("198.51.100.18:4000"),
       Udp("b2").from_port(5001).to(kPeer).ttl(3), Udp("a3").from_port(5000).to(kPeer)});
  std::vector<std::string> left;
  for (const int descriptor : world.sockets.open_descriptors()) {
    for (const SentDatagram& sent : world.sockets.was(SocketHandle{descriptor}).sent) {
      left.emplace_back(sent.payload.begin(), sent.payload.end());
      if (left.back() == "b2") {
        EXPECT_EQ(sent.fields.ttl, 3);
      }
    }
  }
  EXPECT_EQ(left, (std::vector<std::string>{"a1a2a3", "c1", "b1", "b2"}));
  EXPECT_EQ(world.translator.flows(), 3U);
}

TEST(UdpTrainsUp, LeaveADeniedDatagramOut) {
  World world({.deny = {"198.51.100.66"}});
  world.guest_sends_at_once({Udp("1").from_port(5000).to(kPeer),
                             Udp("no").from_port(5000).to("198.51.100.66:4000"),
                             Udp("2").from_port(5000).to(kPeer)});
  (void)world.expect_icmp(3, 13);
  ASSERT_EQ(world.udp_socket().sent.size(), 1U);
  EXPECT_EQ(world.udp_socket().sent[0].payload, octets("12"));
}

TEST(UdpTrainsUp, HaveAFragmentedDatagramInItsPlace) {
  World world;
  std::deque<Octets> frames;
  const Octets small = pattern(1480, 1);
  const Octets large = pattern(2900, 2);
  frames.push_back(Udp().to(kPeer).payload(small).frame());
  for (Octets& fragment : Udp().to(kPeer).payload(large).fragments(1480, 7)) {
    frames.push_back(std::move(fragment));
  }
  frames.push_back(Udp().to(kPeer).payload(small).frame());
  std::vector<FrameIn> batch;
  for (const Octets& frame : frames) batch.push_back(FrameIn{.frame = frame});
  world.translator.on_frames(world.now, batch);
  EXPECT_EQ(datagrams_of(world.udp_socket()), (std::vector<Octets>{small, large, small}));
}

// udp(7): a train whose datagrams are larger than the path's MTU is not taken at all.
TEST(UdpTrainsUp, ThatThePathDoesNotTakeGoDatagramByDatagram) {
  World world;
  world.host.largest_datagram = 1000;
  const std::vector<Octets> payloads = patterns({1200, 1200, 1200, 999, 999, 999});
  std::vector<Packet> packets = packets_to(kPeer, payloads);
  for (Packet& packet : packets) packet.may_fragment();
  for (int round = 0; round < 2; ++round) {
    world.guest_sends_at_once(packets);
    EXPECT_EQ(datagrams_of(world.udp_socket()), payloads);
    for (const SentDatagram& sent : world.udp_socket().sent) {
      EXPECT_LE(sent.fields.segment_size, 1000);
    }
    world.udp_socket().sent.clear();
  }
  EXPECT_EQ(world.drops(Drop::kHostError), 0U);
}

TEST(UdpTrainsUp, ThatTheGuestSentAsOneDoSoToo) {
  World world;
  world.host.largest_datagram = 1000;
  const Octets payload = pattern(3000, 1);
  for (int round = 0; round < 2; ++round) {
    world.guest_sends(Udp().to(kPeer).payload(payload).train(1200).may_fragment());
    EXPECT_EQ(world.udp_socket().sent.size(), 3U);
    for (const SentDatagram& sent : world.udp_socket().sent) {
      EXPECT_EQ(sent.fields.segment_size, 0);
    }
    Octets left;
    for (const Octets& datagram : datagrams_of(world.udp_socket())) {
      left.insert(left.end(), datagram.begin(), datagram.end());
    }
    EXPECT_EQ(left, payload);
    world.udp_socket().sent.clear();
  }
}

TEST(UdpTrainsUp, ThatMayNotBeCutAreRefusedOneByOne) {  // RFC 1191 section 3
  World world;
  world.host.largest_datagram = 1000;
  world.guest_sends_at_once(packets_to(kPeer, patterns({1200, 1200, 500})));
  // The two are the error queue's to tell; the one that fits has gone.
  EXPECT_EQ(datagrams_of(world.udp_socket()), (std::vector<Octets>{pattern(500, 2)}));
  EXPECT_EQ(world.drops(Drop::kHostError), 2U);
}

TEST(UdpTrainsUp, ThatTheHostRefusesAreAnsweredOnce) {
  World world;
  world.script.fails(Call::kSend, ENETUNREACH, 2);
  world.guest_sends_at_once(packets_to(kPeer, patterns({800, 800, 800})));
  const Seen error = world.expect_icmp(3, 0);
  const std::optional<Seen> quoted = read_quoted(error.payload);
  ASSERT_TRUE(quoted);
  EXPECT_EQ(quoted->destination, endpoint(kPeer).address);
  EXPECT_EQ(quoted->destination_port, 4000);
  world.expect_nothing();
  EXPECT_EQ(world.drops(Drop::kHostError), 1U);
}

TEST(UdpTrainsUp, AreTriedOnceMoreAfterAnEarlierDatagramsError) {
  World world;
  world.script.fails(Call::kSend, ECONNREFUSED);
  const std::vector<Octets> payloads = patterns({800, 800, 800});
  world.guest_sends_at_once(packets_to(kPeer, payloads));
  EXPECT_EQ(datagrams_of(world.udp_socket()), payloads);
  world.expect_nothing();
}

TEST(UdpTrainsDown, AreOfOnePeerAndWithoutStrangers) {
  World world;
  world.guest_sends(Udp("a").from_port(5000).to(kPeer));
  world.guest_sends(Udp("b").from_port(5000).to("198.51.100.18:4000"));
  const Endpoint first = endpoint(kPeer);
  const Endpoint second = endpoint("198.51.100.18:4000");
  const Endpoint stranger = endpoint("198.51.100.19:4000");
  world.datagrams_arrive(world.udp_socket().handle, {{.peer = first, .payload = octets("1a")},
                                                     {.peer = stranger, .payload = octets("no")},
                                                     {.peer = second, .payload = octets("2a")},
                                                     {.peer = first, .payload = octets("1b")},
                                                     {.peer = second, .payload = octets("2b")}});
  const Seen from_first = world.expect_udp();
  EXPECT_EQ(from_first.source, first.address);
  EXPECT_EQ(from_first.text(), "1a1b");
  const Seen from_second = world.expect_udp();
  EXPECT_EQ(from_second.source, second.address);
  EXPECT_EQ(from_second.text(), "2a2b");
  world.expect_nothing();
  EXPECT_EQ(world.drops(Drop::kUnknownPeer), 1U);
}

TEST(UdpTrainsDown, CountEveryOctetOfTheFlow) {
  World world;
  world.guest_sends(Udp("up").to(kPeer));
  const Octets payload(1000);
  world.datagrams_arrive(
      world.udp_socket().handle,
      std::vector<WaitingDatagram>(100, {.peer = endpoint(kPeer), .payload = payload}));
  world.advance(301s);
  ASSERT_FALSE(world.events.flows.empty());
  EXPECT_EQ(world.events.flows.back().bytes_down, 100'000U);
  EXPECT_EQ(world.events.flows.back().bytes_up, 2U);
}

}  // namespace
}  // namespace cordon::world
