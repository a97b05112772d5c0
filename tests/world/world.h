// A whole translator in a world that the test makes up: a guest that sends packets, a host whose
// sockets do as they are told, a clock that moves when it is moved. Tests read as sentences:
//
//     World world;
//     world.guest_sends(Syn().to("198.51.100.17:80").mss(1460));
//     world.dial_succeeds();
//     EXPECT_EQ(world.expect_syn_ack().mss, 1460);
//
// After every event the world does what the event loop does: it calls on_deadline() until nothing
// is due. Something that is due for ever fails the test. Where no test says otherwise the
// documentation prefixes 198.51.100.0/24 and 2001:db8::/32 are public.
#pragma once

#include <chrono>
#include <memory>
#include <source_location>

#include "netstack/translator.h"
#include "tests/world/fakes.h"

namespace cordon::world {

using namespace std::chrono_literals;  // NOLINT: the tests' own language

struct WorldOptions {
  std::vector<std::string> allow;
  std::vector<std::string> deny;
  std::vector<std::string> ask;
  DefaultAction default_action = DefaultAction::kAllowPublic;
  PolicyMode mode = PolicyMode::kEnforce;
  NameSettings names;
  RuleLimits limits;                     // of everything
  std::function<void(Rule&)> each_rule;  // what the strings do not say
  std::vector<std::string> upstreams = {"198.51.100.53:53", "198.51.100.54:53"};
  std::vector<std::string> search;  // domains, of the guest's resolv.conf
  std::uint16_t mtu = 1500;
  bool has_udp_trains = true;
  bool reports_flows = true;
  Introduces introduces = Introduces::kNone;
  bool holds_refusals = false;               // the supervisor calls back about denials
  std::vector<std::uint16_t> published_tcp;  // ports of the guest
  std::vector<std::uint16_t> published_udp;
  std::vector<std::string> published_for;  // prefixes of clients
  std::size_t max_tcp_flows = 1024;
  std::size_t max_held_flows = 0;   // those with sockets of the worker's; 0: all of them
  std::size_t relayed_streams = 0;  // that relays have room for; 0: there are none
  bool shares_bulk_out = true;      // where there are relays
  std::uint64_t seed = 1;
  Duration uptime = 1h;  // of the host, at the start
};

/// The policy of such a world.
[[nodiscard]] Policy make_policy(const WorldOptions& options);
/// The translator's configuration in such a world.
[[nodiscard]] TranslatorConfig make_config(const WorldOptions& options);

class World {
 public:
  explicit World(const WorldOptions& options = {});
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  using Where = std::source_location;

  // The guest.
  void guest_sends(const Packet& packet);
  /// All of them before the loop turns, as the tap's queue holds them.
  void guest_sends_at_once(const std::vector<Packet>& packets);
  void guest_sends_frame(const Octets& frame);

  // The host's answer to a dial, the last one unless told otherwise.
  void dial_succeeds() { dial_succeeds(host_socket().handle); }
  void dial_succeeds(SocketHandle socket);
  void dial_fails(int error) { dial_fails(host_socket().handle, error); }
  void dial_fails(SocketHandle socket, int error);
  /// SYN, dial, SYN-ACK: a stream between the two sockets. Its SYN-ACK is taken from the tap.
  void guest_connects(std::string_view destination, std::uint16_t port = 40000);

  // Published ports: `listener` counts from 0.
  void client_connects(std::string_view client, std::size_t listener = 0);
  void listener_is_ready(std::size_t listener = 0);
  void guest_accepts() { settle_dial(guest_socket().handle, 0); }
  void guest_refuses(int error = ECONNREFUSED) { settle_dial(guest_socket().handle, error); }

  // Streams.
  void arrives(SocketHandle socket, std::uint64_t octets);  // from the socket's peer
  /// The same with octets that matter.
  void says(SocketHandle socket, std::string_view text);
  void fin_arrives(SocketHandle socket);
  void reset_arrives(SocketHandle socket, int error = ECONNRESET);
  void has_room(SocketHandle socket, std::uint64_t octets);  // more can be written

  /// The stream that was handed over last moves so much, by its relay.
  void relay_moves(std::uint64_t up, std::uint64_t down);
  /// And this becomes of it.
  void relay_finishes(RelayNews::Kind kind);

  // Datagrams.
  void datagram_arrives(SocketHandle socket, std::string_view peer, std::string_view payload,
                        std::uint16_t segment_size = 0);
  void datagram_arrives(SocketHandle socket, const Endpoint& peer, Octets payload,
                        std::uint16_t segment_size = 0);
  /// All of them before the loop turns.
  void datagrams_arrive(SocketHandle socket, std::vector<WaitingDatagram> datagrams);
  /// From a client of the first published UDP port, to that address of the host.
  void client_sends(std::string_view client, const HostEnd& to, std::string_view payload);
  void error_arrives(SocketHandle socket, const DatagramError& error, Octets payload = {});
  /// An event of any kind for a socket, as epoll would give it.
  void is_ready(SocketHandle socket, const Readiness& readiness);

  // Time and the rest of the host.
  void advance(Duration duration);
  void changes_policy(const WorldOptions& options);
  void host_changes(bool is_address_lost = false);
  void supervisor_tells(std::uint32_t denial) {
    translator.on_denial_told(denial);
    run_due();
  }

  void supervisor_knows(std::uint32_t introduction) {
    translator.on_introduced(now, introduction);
    run_due();
  }

  /// What the loop does after an event; for those that go to the translator directly.
  void run_due();

  // What the guest finds on its link; each takes the next packet from the tap.
  std::optional<Seen> next_packet();
  Seen expect_packet(Where where = Where::current());
  Seen expect_syn_ack(Where where = Where::current());
  Seen expect_reset(Where where = Where::current());
  Seen expect_udp(Where where = Where::current());
  /// The error's quoted packet is in `payload`.
  Seen expect_icmp(std::uint8_t type, std::uint8_t code, Where where = Where::current());
  void expect_nothing(Where where = Where::current());
  Octets expect_frame(Where where = Where::current());

  // The sockets that were opened last.
  FakeSocket& host_socket() { return sockets.last(OwnerKind::kTcpHost); }
  FakeSocket& guest_socket() { return sockets.last(OwnerKind::kTcpGuest); }
  FakeSocket& udp_socket() { return sockets.last(OwnerKind::kUdp); }
  FakeSocket& ping_socket() { return sockets.last(OwnerKind::kEcho); }
  FakeSocket& dns_socket() { return sockets.last(OwnerKind::kDns); }
  SocketHandle published_udp(std::size_t index) const { return published_udp_.at(index); }
  /// Sockets that flows hold: all but the published ports'.
  [[nodiscard]] std::size_t flow_sockets() const {
    return sockets.open_count() - listeners_.size() - published_udp_.size();
  }
  [[nodiscard]] std::uint64_t drops(Drop reason) const;

  /// What holds after every event, whatever it was.
  void expect_sound(Where where = Where::current());

  Instant now;
  Script script;
  Sockets sockets;
  FakeTap tap;
  FakeHost host{sockets, script};
  FakeGuest guest{sockets, script};
  FakeStreams streams{sockets};
  FakeRelays relays{sockets, now};
  FakeRoutes routes;
  FakeEntropy entropy;
  FakeEvents events;

 private:
  TranslatorPorts open_ports(const WorldOptions& options);
  void settle_dial(SocketHandle socket, int error);

  std::vector<SocketHandle> listeners_;
  std::vector<SocketHandle> published_udp_;

 public:
  Translator translator;
};

}  // namespace cordon::world
