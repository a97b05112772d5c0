// RFC 9293 section 3.5, from the SYN to the SYN-ACK: state × segment, each row with initial
// sequence numbers at which 32-bit arithmetic goes wrong first.
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/world/world.h"

namespace cordon::world {
namespace {

constexpr const char* kServer = "198.51.100.17:80";
constexpr const char* kServerV6 = "[2001:db8::17]:80";

enum class State { kNone, kDialling, kAwaitingSocket, kStream, kHalfClosed, kClosed, kReset };

// What the guest finds on its link.
enum class Answer { kNothing, kSynAck, kSameSynAck, kReset };

struct Row {
  const char* name;
  State state;
  Packet segment;  // its sequence number is an offset from the first SYN's
  Answer answer;
  std::size_t dials;  // by this segment
  bool is_old_flow_alive;
};

// Segments that are the same everywhere. Offsets are added to the SYN's number.
Packet same_syn() { return Syn(); }
Packet other_syn(std::uint32_t offset) { return Syn().seq(offset); }

std::vector<Row> rows() {
  const auto data_syn = [] { return Syn().payload("GET / HTTP/1.0"); };
  const auto ece_syn = [] { return Syn().flags(0x02 | 0x40 | 0x80); };  // ECN set-up, RFC 3168
  std::vector<Row> all;
  const auto add = [&](const char* name, State state, Packet segment, Answer answer,
                       std::size_t dials, bool is_alive) {
    all.push_back(Row{name, state, std::move(segment), answer, dials, is_alive});
  };
  add("Syn", State::kNone, same_syn(), Answer::kNothing, 1, true);
  add("SynWithData", State::kNone, data_syn(), Answer::kNothing, 1, true);
  add("EcnSyn", State::kNone, ece_syn(), Answer::kNothing, 1, true);
  add("SynWithUrgent", State::kNone, Syn().flags(0x02 | 0x20), Answer::kNothing, 1, true);
  add("SynWithPush", State::kNone, Syn().flags(0x02 | 0x08), Answer::kNothing, 1, true);
  // Never a handshake, in any state.
  for (const State state : {State::kNone, State::kDialling, State::kAwaitingSocket, State::kStream,
                            State::kHalfClosed, State::kClosed, State::kReset}) {
    const bool is_alive =
        state != State::kNone && state != State::kClosed && state != State::kReset;
    add("SynFin", state, Syn().with_fin(), Answer::kNothing, 0, is_alive);
    add("SynRst", state, Syn().with_rst(), Answer::kNothing, 0, is_alive);
    add("SynFinRst", state, Syn().with_fin().with_rst(), Answer::kNothing, 0, is_alive);
    add("NoFlags", state, Segment(0), Answer::kNothing, 0, is_alive);
    add("SynAck", state, Syn().ack(1), Answer::kNothing, 0, is_alive);
    add("Ack", state, Segment(0x10), Answer::kNothing, 0, is_alive);
    add("Rst", state, Segment(0x04), Answer::kNothing, 0, is_alive);
    add("FinAck", state, Segment(0x11), Answer::kNothing, 0, is_alive);
    add("BadChecksum", state, Syn().bad_checksum(), Answer::kNothing, 0, is_alive);
  }
  for (const State state : {State::kDialling, State::kAwaitingSocket}) {
    add("SameSyn", state, same_syn(), Answer::kNothing, 0, true);
    add("SameSynWithData", state, data_syn(), Answer::kNothing, 0, true);
    add("SynPlusOne", state, other_syn(1), Answer::kNothing, 1, false);
    add("SynMinusOne", state, other_syn(0xffffffff), Answer::kNothing, 1, false);
    add("SynHalfRoundAway", state, other_syn(0x80000000), Answer::kNothing, 1, false);
  }
  for (const State state : {State::kStream, State::kHalfClosed}) {
    add("SameSyn", state, same_syn(), Answer::kSameSynAck, 0, true);
    add("SameSynWithData", state, data_syn(), Answer::kSameSynAck, 0, true);
    add("SynPlusOne", state, other_syn(1), Answer::kNothing, 1, false);
    add("SynMinusOne", state, other_syn(0xffffffff), Answer::kNothing, 1, false);
    add("SynHalfRoundAway", state, other_syn(0x80000000), Answer::kNothing, 1, false);
  }
  for (const State state : {State::kClosed, State::kReset}) {
    add("SameSyn", state, same_syn(), Answer::kNothing, 1, true);
    add("SynPlusOne", state, other_syn(1), Answer::kNothing, 1, true);
  }
  return all;
}

std::string_view state_name(State state) {
  switch (state) {
    case State::kNone:
      return "None";
    case State::kDialling:
      return "Dialling";
    case State::kAwaitingSocket:
      return "AwaitingSocket";
    case State::kStream:
      return "Stream";
    case State::kHalfClosed:
      return "HalfClosed";
    case State::kClosed:
      return "Closed";
    case State::kReset:
      return "Reset";
  }
  return "";
}

// Brings a flow with this SYN into the state; its SYN-ACK, where there was one.
std::optional<Seen> enter(World& world, State state, const Packet& syn) {
  if (state == State::kNone) return std::nullopt;
  world.guest_sends(syn);
  if (state == State::kDialling) return std::nullopt;
  if (state == State::kAwaitingSocket) world.script.fails(Call::kAdopt, ENOBUFS, 100);
  world.dial_succeeds();
  if (state == State::kAwaitingSocket) return std::nullopt;
  const Seen syn_ack = world.expect_syn_ack();
  if (state == State::kStream) return syn_ack;
  if (state == State::kReset) {
    world.reset_arrives(world.host_socket().handle);
    return syn_ack;
  }
  world.fin_arrives(world.host_socket().handle);
  if (state == State::kClosed) world.fin_arrives(world.guest_socket().handle);
  return syn_ack;
}

class TcpHandshake : public testing::TestWithParam<std::tuple<Row, std::uint32_t, const char*>> {};

TEST_P(TcpHandshake, SegmentInState) {
  const auto& [row, irs, server] = GetParam();
  World world;
  const Packet syn = Syn().to(server).seq(irs).mss(1400);
  const std::optional<Seen> syn_ack = enter(world, row.state, syn);
  const SocketHandle old_host =
      row.state == State::kNone ? SocketHandle{} : world.host_socket().handle;
  const std::size_t dials = world.host.dialled.size();
  world.expect_nothing();

  Packet segment = row.segment;
  const bool is_other = segment.sequence_number() != 1000;
  segment.to(server).seq(irs + (is_other ? segment.sequence_number() : 0));
  world.guest_sends(segment);

  EXPECT_EQ(world.host.dialled.size() - dials, row.dials);
  if (row.answer == Answer::kSameSynAck) {
    const Seen again = world.expect_syn_ack();
    EXPECT_EQ(again.seq, syn_ack->seq);
    EXPECT_EQ(again.ack, irs + 1);
    EXPECT_EQ(again.mss, syn_ack->mss);
  }
  world.expect_nothing();
  if (old_host.is_open()) {
    EXPECT_EQ(world.sockets.is_open(old_host),
              row.is_old_flow_alive && row.state != State::kClosed && row.state != State::kReset);
  }
  // What was dialled by this segment becomes a connection with its own numbers.
  if (row.dials == 0) return;
  world.script = Script{};
  world.dial_succeeds();
  const Seen fresh = world.expect_syn_ack();
  EXPECT_EQ(fresh.ack, irs + (is_other ? row.segment.sequence_number() : 0) + 1);
  EXPECT_EQ(world.guest.adoptions.back().irs.get() + 1, fresh.ack);
  EXPECT_EQ(world.guest.adoptions.back().iss.get(), fresh.seq);
}

INSTANTIATE_TEST_SUITE_P(Rows, TcpHandshake,
                         testing::Combine(testing::ValuesIn(rows()),
                                          testing::Values(0xffffffffU, 0x7fffffffU, 0xffffff9cU),
                                          testing::Values(kServer, kServerV6)),
                         [](const auto& row) {
                           const Row& it = std::get<0>(row.param);
                           return std::string(state_name(it.state)) + it.name + "Irs" +
                                  std::to_string(std::get<1>(row.param)) +
                                  (std::get<2>(row.param) == kServer ? "V4" : "V6");
                         });

TEST(TcpSynAck, ComesOnlyAfterTheHostIsConnected) {
  World world;
  world.guest_sends(Syn().to(kServer));
  world.advance(2s);
  world.expect_nothing();
  world.dial_succeeds();
  const Seen syn_ack = world.expect_syn_ack();
  EXPECT_EQ(syn_ack.source, address("198.51.100.17"));
  EXPECT_EQ(syn_ack.source_port, 80);
  EXPECT_EQ(syn_ack.destination, guest_address(Family::kIpv4));
  EXPECT_EQ(syn_ack.destination_port, 40000);
  world.expect_nothing();
}

TEST(TcpSynAck, IsSentAgainAsOftenAsTheGuestAsks) {
  World world;
  world.guest_sends(Syn().to(kServer));
  world.dial_succeeds();
  const Seen first = world.expect_syn_ack();
  for (int i = 0; i < 5; ++i) {
    world.advance(1s);
    world.guest_sends(Syn().to(kServer));
    EXPECT_EQ(world.expect_syn_ack().seq, first.seq);
  }
  EXPECT_EQ(world.host.dialled.size(), 1U);
  EXPECT_EQ(world.guest.adoptions.size(), 1U);
}

TEST(TcpSynAck, AcknowledgesTheSynAloneWhereItCarriedData) {
  World world;
  world.guest_sends(Syn().to(kServer).seq(500).payload("GET /"));
  world.dial_succeeds();
  EXPECT_EQ(world.expect_syn_ack().ack, 501U);
}

TEST(TcpInitialSequence, DiffersByTupleAndBySecret) {  // RFC 6528
  const auto iss = [](std::uint64_t seed, std::uint16_t port) {
    World world({.seed = seed});
    world.guest_sends(Syn().to(kServer).from_port(port));
    world.dial_succeeds();
    return world.expect_syn_ack().seq;
  };
  EXPECT_EQ(iss(1, 40000), iss(1, 40000));
  EXPECT_NE(iss(1, 40000), iss(1, 40001));
  EXPECT_NE(iss(1, 40000), iss(2, 40000));
}

TEST(TcpInitialSequence, OfATupleUsedAgainGoesForwardWithTheClock) {  // RFC 6528 section 3
  World world;
  world.guest_connects(kServer);
  const std::uint32_t first = world.guest.adoptions.back().iss.get();
  world.fin_arrives(world.host_socket().handle);
  world.fin_arrives(world.guest_socket().handle);
  world.advance(1s);
  world.guest_connects(kServer);
  EXPECT_EQ(world.guest.adoptions.back().iss.get() - first, 250000U);
}

TEST(TcpSegment, WithoutSynSaysThatTheSteeringIsLostAndHasItPutBack) {
  World world;
  world.guest_sends(Segment(0x10).to(kServer));
  EXPECT_EQ(world.events.count(Notice::kSteeringLost), 1U);
  EXPECT_EQ(world.drops(Drop::kTcpNotSyn), 1U);
  EXPECT_EQ(world.guest.steering_restored, 1);
  for (int i = 0; i < 1000; ++i) world.guest_sends(Segment(0x10).to(kServer));
  EXPECT_LT(world.events.count(Notice::kSteeringLost), 10U);
  world.expect_nothing();
}

TEST(TcpSyn, ToPortZeroIsDropped) {
  World world;
  world.guest_sends(Syn().to("198.51.100.17:0"));
  world.guest_sends(Syn().to(kServer).from_port(0));
  EXPECT_EQ(world.drops(Drop::kBadPort), 2U);
  EXPECT_TRUE(world.host.dialled.empty());
  world.expect_nothing();
}

TEST(TcpSyn, ToMulticastIsDroppedWithoutAnAnswer) {
  World world;
  for (const char* to : {"224.0.0.1:80", "255.255.255.255:80", "[ff02::1]:80"}) {
    world.guest_sends(Syn().to(to));
  }
  EXPECT_EQ(world.drops(Drop::kMulticast), 3U);
  world.expect_nothing();
}

TEST(TcpSyn, ToTheGatewayIsRefused) {
  World world;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const Endpoint gateway{.address = gateway_address(family), .port = 22};
    world.guest_sends(Syn().to(gateway).seq(77));
    const Seen reset = world.expect_reset();
    EXPECT_EQ(reset.source, gateway.address);
    EXPECT_EQ(reset.ack, 78U);
    EXPECT_EQ(reset.seq, 0U);
  }
  EXPECT_TRUE(world.host.dialled.empty());
  EXPECT_TRUE(world.events.denials.empty());
}

}  // namespace
}  // namespace cordon::world
