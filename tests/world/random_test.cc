// Random events, seeded: frames, whatever sockets can report, errors of the host at every step,
// time. After each the world is sound (a socket belongs to one living flow), and when all timeouts
// have passed nothing is left: no flow, no socket, no pipe.
//
// 20 seeds of 25,000 events; with CORDON_TEST_FULL=1 in the environment a million events each, and
// the world looked at after every one.
#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include <gtest/gtest.h>

#include "netstack/base/invariant.h"
#include "tests/world/dns.h"
#include "tests/world/world.h"

namespace cordon::world {
namespace {

const bool kIsFull = std::getenv("CORDON_TEST_FULL") != nullptr;
const int kEvents = kIsFull ? 1'000'000 : 25'000;
const int kLookEvery = kIsFull ? 1 : 16;

class RandomLife {
 public:
  explicit RandomLife(std::uint64_t seed)
      : random_(seed),
        world_({.deny = {"198.51.100.6", "2001:db8::6"},
                .holds_refusals = true,
                .published_tcp = {80, 8080},
                .published_udp = {53530},
                .max_tcp_flows = 64,
                .relayed_streams = 8,
                .seed = seed}) {
    world_.sockets.forget_ended();
    world_.script.set_chaos([this](Call /*call*/) { return any_of(12) == 0 ? an_error() : 0; });
  }

  void live(int events) {
    for (int i = 0; i < events; ++i) {
      step();
      if (i % kLookEvery == 0) world_.expect_sound();
      if (testing::Test::HasFailure()) {
        ADD_FAILURE() << "at event " << i;
        return;
      }
      forget_records();
    }
  }

  void end() {
    world_.script.set_chaos({});
    world_.tap.answer = TapSend::kSent;
    world_.advance(25h);
    EXPECT_EQ(world_.translator.flows(), 0U);
    EXPECT_EQ(world_.flow_sockets(), 0U);
    EXPECT_EQ(world_.streams.holds, 0U);
    EXPECT_EQ(world_.translator.next_deadline(), kNever);
    EXPECT_EQ(failed_invariants(), 0U);
    // It was a life: every kind of socket was there in numbers.
    for (const OwnerKind kind : {OwnerKind::kTcpHost, OwnerKind::kTcpGuest, OwnerKind::kUdp,
                                 OwnerKind::kEcho, OwnerKind::kDns}) {
      EXPECT_GT(world_.sockets.opened(kind), 100U);
    }
    EXPECT_GT(world_.tap.sent, 1000U);
    EXPECT_GT(world_.relays.handed_over, 10U);
  }

 private:
  std::size_t any_of(std::size_t count) { return random_.next() % count; }
  int an_error() {
    constexpr int kErrors[] = {ECONNREFUSED, ENETUNREACH,   EHOSTUNREACH, EACCES,     EPERM,
                               ETIMEDOUT,    EADDRNOTAVAIL, EMFILE,       ENOBUFS,    ENOMEM,
                               EAFNOSUPPORT, EMSGSIZE,      EINVAL,       ECONNRESET, ENETDOWN};
    return kErrors[any_of(std::size(kErrors))];
  }
  std::string a_remote() {
    const std::string last = std::to_string(1 + any_of(8));
    const std::string port = std::to_string(any_of(4) == 0 ? 53 : 80 + any_of(3));
    return any_of(2) == 0 ? "198.51.100." + last + ":" + port : "[2001:db8::" + last + "]:" + port;
  }
  std::uint16_t a_port() { return static_cast<std::uint16_t>(40000 + any_of(6)); }

  // Any open socket that reports events.
  SocketHandle a_socket() {
    const std::set<int>& open = world_.sockets.open_descriptors();
    auto at = open.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(any_of(open.size())));
    return SocketHandle{*at};
  }

  void step() {
    switch (any_of(15)) {
      case 0:
      case 1:
      case 2:
        return world_.guest_sends(
            Syn().from_port(a_port()).to(a_remote()).seq(static_cast<std::uint32_t>(any_of(3))));
      case 3:
        return world_.guest_sends(Udp("datagram").from_port(a_port()).to(a_remote()));
      case 4:
        return world_.guest_sends(
            Ping().id(static_cast<std::uint16_t>(any_of(5))).to(world_remote_host()));
      case 5:
        return world_.guest_sends(
            Udp()
                .from_port(a_port())
                .to("198.51.100.9:53")
                .payload(dns_query(static_cast<std::uint16_t>(any_of(3)), "example.org")));
      case 6:
        world_.host.backlog.push_back(endpoint("198.51.100." + std::to_string(100 + any_of(3)) +
                                               ":" + std::to_string(5000 + any_of(3))));
        return world_.listener_is_ready(any_of(2));
      case 7:
      case 8:
      case 9:
      case 10:
        return socket_event();
      case 11:
        return world_.advance(
            std::chrono::milliseconds(any_of(3) == 0 ? any_of(400000) : any_of(50)));
      case 12:
        return mutated_frame();
      case 13:
        return relay_event();
      default:
        return world_event();
    }
  }

  std::string world_remote_host() {
    const std::string last = std::to_string(1 + any_of(8));
    return any_of(2) == 0 ? "198.51.100." + last : "2001:db8::" + last;
  }

  void socket_event() {
    const SocketHandle handle = a_socket();
    FakeSocket& socket = world_.sockets.at(handle, "an event");
    if (socket.is_stream) return stream_event(socket);
    switch (socket.kind) {
      case OwnerKind::kTcpHost:
      case OwnerKind::kTcpAttempt:
      case OwnerKind::kTcpGuest:
        return stream_event(socket);
      case OwnerKind::kUdp:
      case OwnerKind::kPublished:
      case OwnerKind::kEcho:
      case OwnerKind::kDns:
        return datagram_event(socket);
      case OwnerKind::kListener:
      case OwnerKind::kTap:
      case OwnerKind::kControl:
      case OwnerKind::kMonitor:
      case OwnerKind::kRelays:
        return;
    }
  }

  void stream_event(FakeSocket& socket) {
    if (socket.dial_result == EINPROGRESS) {
      socket.dial_result = any_of(3) == 0 ? an_error() : 0;
      return world_.is_ready(socket.handle,
                             {.is_writable = true, .has_error = socket.dial_result != 0});
    }
    switch (any_of(6)) {
      case 0:
        return world_.arrives(socket.handle, any_of(8 * 1024 * 1024));
      case 1:
        return world_.fin_arrives(socket.handle);
      case 2:
        return world_.reset_arrives(socket.handle, an_error());
      case 3:
        socket.room = any_of(10000);
        return;
      case 4:
        return world_.has_room(socket.handle, any_of(3) == 0 ? any_of(1000) : 1ULL << 40);
      default:
        return world_.is_ready(socket.handle, {.is_readable = any_of(2) == 0,
                                               .is_writable = any_of(2) == 0,
                                               .has_error = any_of(8) == 0});
    }
  }

  void relay_event() {
    auto at = world_.relays.streams.begin();
    while (at != world_.relays.streams.end() && at->second.is_ended) ++at;
    if (at == world_.relays.streams.end()) return;
    RelayCounts& counts = at->second.counts;
    switch (any_of(4)) {
      case 0:
        return relay_finishes(at->first, RelayNews::Kind::kClosed);
      case 1:
        return relay_finishes(at->first, RelayNews::Kind::kReset);
      case 2:
        // Asked or not: whoever has it back goes on with it.
        return relay_finishes(at->first, RelayNews::Kind::kReturned);
      default:
        counts.up += any_of(100000);
        counts.moved = world_.now;
    }
  }

  void relay_finishes(std::uint16_t index, RelayNews::Kind kind) {
    world_.translator.on_relayed(world_.now, world_.relays.finish(index, kind));
    world_.run_due();
  }

  void datagram_event(FakeSocket& socket) {
    const Endpoint peer = !socket.sent.empty() && any_of(3) != 0 ? socket.sent.back().destination
                                                                 : endpoint(a_remote());
    if (any_of(4) == 0) {
      return world_.error_arrives(socket.handle,
                                  DatagramError{.destination = peer,
                                                .error = an_error(),
                                                .offender = endpoint(a_remote()).address,
                                                .is_ttl_exceeded = any_of(4) == 0,
                                                .mtu = 1280},
                                  Octets(any_of(64), 8));
    }
    Octets payload(any_of(2000), 0);
    if (socket.kind == OwnerKind::kDns && !socket.sent.empty() && any_of(2) == 0) {
      payload = dns_answer(socket.sent.back().payload, static_cast<std::uint8_t>(any_of(6)));
    }
    world_.datagram_arrives(socket.handle, peer, std::move(payload),
                            static_cast<std::uint16_t>(any_of(4) == 0 ? 1 + any_of(1000) : 0));
  }

  void mutated_frame() {
    std::vector<Octets> frames;
    if (any_of(2) == 0) {
      frames = Udp(std::string(3000, 'f'))
                   .to(a_remote())
                   .fragments(1480, static_cast<std::uint16_t>(any_of(4)));
    } else {
      frames = {Syn().to(a_remote()).mss(1460).timestamps(1).frame()};
    }
    Octets frame = frames[any_of(frames.size())];
    for (std::size_t i = any_of(4); i > 0; --i) {
      frame[any_of(frame.size())] = static_cast<std::uint8_t>(random_.next());
    }
    if (any_of(4) == 0) frame.resize(any_of(frame.size()));
    world_.guest_sends_frame(frame);
  }

  void world_event() {
    const std::string host = world_remote_host();
    switch (any_of(6)) {
      case 0:
        world_.routes.add_self(host);
        return world_.host_changes(any_of(2) == 0);
      case 1:
      case 2:
        world_.routes.remove(host);
        return world_.host_changes(any_of(2) == 0);
      case 3:
        return world_.supervisor_tells(static_cast<std::uint32_t>(last_denial_));
      case 4:
        world_.tap.answer = any_of(2) == 0 ? TapSend::kFull : TapSend::kSent;
        return;
      default:
        if (any_of(2) == 0)
          return world_.translator.set_upstreams(world_.now, {endpoint("198.51.100.53:53")});
        return world_.translator.set_upstreams(
            world_.now, {endpoint("198.51.100.53:53"), endpoint("[2001:db8::53]:53")});
    }
  }

  void forget_records() {
    if (!world_.events.denials.empty()) last_denial_ = world_.events.denials.back().id;
    world_.events.denials.clear();
    world_.events.flows.clear();
    world_.events.notices.clear();
    world_.guest.adoptions.clear();
    world_.guest.clients.clear();
    world_.host.dialled.clear();
    // What the guest was sent has the right form, whatever happened.
    while (!world_.tap.frames.empty()) {
      if (world_.tap.frames.front().octets[12] == 0x08 &&
          world_.tap.frames.front().octets[13] == 6) {
        world_.tap.frames.pop_front();
      } else {
        (void)world_.next_packet();
      }
    }
  }

  FakeEntropy random_;
  World world_;
  std::uint64_t last_denial_ = 0;
};

class RandomEvents : public testing::TestWithParam<std::uint64_t> {};

TEST_P(RandomEvents, LeaveNothingBehind) {
  RandomLife life(GetParam());
  life.live(kEvents);
  life.end();
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomEvents, testing::Range<std::uint64_t>(1, 21));

}  // namespace
}  // namespace cordon::world
