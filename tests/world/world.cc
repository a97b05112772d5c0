#include "tests/world/world.h"

#include <algorithm>
#include <cerrno>

#include <gtest/gtest.h>

#include "netstack/policy/destination.h"

namespace cordon::world {
namespace {

Rule rule(const std::string& text, Action action) {
  Result<Destination> to = parse_destination(text);
  EXPECT_TRUE(to.has_value()) << text;
  return Rule{.to = to.value_or(Destination{}), .action = action, .text = text, .origin = "test"};
}

LinkFamily link(Family family) {
  return LinkFamily{.subnet = Prefix(guest_address(family), family == Family::kIpv4 ? 24 : 64),
                    .guest = guest_address(family),
                    .gateway = gateway_address(family),
                    .resolver = resolver_address(family),
                    .host_door = door_address(family)};
}

}  // namespace

Policy make_policy(const WorldOptions& options) {
  PolicyInput input{.default_action = options.default_action, .mode = options.mode};
  for (const std::string& text : options.allow) input.rules.push_back(rule(text, Action::kAllow));
  for (const std::string& text : options.deny) input.rules.push_back(rule(text, Action::kDeny));
  for (const std::string& text : options.ask) input.rules.push_back(rule(text, Action::kAsk));
  if (options.each_rule) std::ranges::for_each(input.rules, options.each_rule);
  for (const char* text : {"198.51.100.0/24", "2001:db8::/32"}) {
    input.overrides.push_back(ClassOverride{.prefix = Prefix::parse(text).value_or(Prefix{}),
                                            .address_class = AddressClass::kPublic});
  }
  input.limits = options.limits;
  return Policy(std::move(input));
}

TranslatorConfig make_config(const WorldOptions& options) {
  TranslatorConfig config;
  config.guest_mac = kGuestMac;
  config.gateway_mac = kGatewayMac;
  config.v4 = link(Family::kIpv4);
  config.v6 = link(Family::kIpv6);
  config.guest_link_local = address("fe80::ff:fe00:2");
  config.gateway_link_local = address("fe80::1");
  config.mtu = options.mtu;
  config.policy = make_policy(options);
  config.names = options.names;
  config.start = Instant{} + options.uptime;
  for (const std::string& text : options.upstreams) config.upstreams.push_back(endpoint(text));
  for (const std::string& text : options.search) {
    config.search.push_back(DnsName::parse(text).value());
  }
  config.reports_flows = options.reports_flows;
  config.introduces = options.introduces;
  config.shares_bulk_out = options.relayed_streams > 0 && options.shares_bulk_out;
  return config;
}

World::World(const WorldOptions& options)
    : now(Instant{} + options.uptime),
      entropy(options.seed),
      translator(
          make_config(options),
          TranslatorSeams{.tap = tap,
                          .host = host,
                          .guest = guest,
                          .streams = streams,
                          .routes = routes,
                          .entropy = entropy,
                          .events = events,
                          .relays = options.relayed_streams > 0 ? &relays : nullptr},
          open_ports(options),
          {.flows = options.max_tcp_flows,
           .held = options.max_held_flows > 0 ? options.max_held_flows : options.max_tcp_flows}) {
  relays.room = options.relayed_streams;
  tap.takes_trains = options.has_udp_trains;
  events.tells_back = options.holds_refusals;
}

World::~World() { expect_sound(); }

TranslatorPorts World::open_ports(const WorldOptions& options) {
  TranslatorPorts ports;
  std::vector<Prefix> sources;
  for (const std::string& text : options.published_for) {
    sources.push_back(Prefix::parse(text).value());
  }
  for (const std::uint16_t port : options.published_tcp) {
    const auto index = static_cast<std::uint32_t>(ports.tcp.size());
    const FakeSocket& socket = sockets.open(
        OwnerKind::kListener, SocketOwner{.kind = OwnerKind::kListener, .index = index});
    listeners_.push_back(socket.handle);
    ports.tcp.push_back(
        PublishedTcp{.listener = socket.handle, .guest_port = port, .sources = sources});
  }
  for (const std::uint16_t port : options.published_udp) {
    const auto index = static_cast<std::uint32_t>(ports.udp.size());
    const FakeSocket& socket = sockets.open(
        OwnerKind::kPublished, SocketOwner{.kind = OwnerKind::kPublished, .index = index});
    published_udp_.push_back(socket.handle);
    ports.udp.push_back(
        PublishedUdp{.socket = socket.handle, .guest_port = port, .sources = sources});
  }
  return ports;
}

void World::guest_sends(const Packet& packet) { guest_sends_at_once({packet}); }

void World::guest_sends_at_once(const std::vector<Packet>& packets) {
  std::deque<Octets> octets;
  std::vector<FrameIn> frames;
  for (const Packet& packet : packets) {
    frames.push_back(FrameIn{.frame = octets.emplace_back(packet.frame()),
                             .is_checksum_trusted = packet.segment_size() != 0,
                             .udp_segment_size = packet.segment_size()});
  }
  translator.on_frames(now, frames);
  run_due();
}

void World::guest_sends_frame(const Octets& frame) {
  translator.on_frame(now, FrameIn{.frame = frame});
  run_due();
}

void World::settle_dial(SocketHandle socket, int error) {
  FakeSocket& dialling = sockets.at(socket, "the outcome of a dial");
  dialling.dial_result = error;
  is_ready(socket, Readiness{.is_writable = true, .has_error = error != 0});
}

void World::dial_succeeds(SocketHandle socket) { settle_dial(socket, 0); }
void World::dial_fails(SocketHandle socket, int error) { settle_dial(socket, error); }

void World::guest_connects(std::string_view destination, std::uint16_t port) {
  guest_sends(Syn().to(destination).from_port(port).mss(1460));
  dial_succeeds();
  (void)expect_syn_ack();
}

void World::client_connects(std::string_view client, std::size_t listener) {
  host.backlog.push_back(endpoint(client));
  if (host.is_listening) listener_is_ready(listener);
}

void World::listener_is_ready(std::size_t listener) {
  is_ready(listeners_.at(listener), Readiness{.is_readable = true});
}

void World::arrives(SocketHandle socket, std::uint64_t octets) {
  sockets.at(socket, "octets").unread += octets;
  is_ready(socket, Readiness{.is_readable = true});
}

void World::says(SocketHandle socket, std::string_view text) {
  FakeSocket& speaker = sockets.at(socket, "words");
  EXPECT_EQ(speaker.unread, speaker.text.size()) << "words behind octets that are any";
  speaker.text += text;
  arrives(socket, text.size());
}

void World::fin_arrives(SocketHandle socket) {
  sockets.at(socket, "FIN").has_fin_come = true;
  is_ready(socket, Readiness{.is_readable = true, .has_ended = true});
}

void World::reset_arrives(SocketHandle socket, int error) {
  sockets.at(socket, "RST").error = error;
  is_ready(socket, Readiness{.is_readable = true, .is_writable = true, .has_error = true});
}

void World::has_room(SocketHandle socket, std::uint64_t octets) {
  sockets.at(socket, "room").room = octets;
  is_ready(socket, Readiness{.is_writable = true});
}

void World::relay_moves(std::uint64_t up, std::uint64_t down) {
  RelayCounts& counts = relays.last().counts;
  counts.up += up;
  counts.down += down;
  counts.moved = now;
}

void World::relay_finishes(RelayNews::Kind kind) {
  translator.on_relayed(now, relays.finish(relays.last_index(), kind));
  run_due();
}

void World::datagram_arrives(SocketHandle socket, std::string_view peer, std::string_view payload,
                             std::uint16_t segment_size) {
  datagram_arrives(socket, endpoint(peer), octets(payload), segment_size);
}

void World::datagram_arrives(SocketHandle socket, const Endpoint& peer, Octets payload,
                             std::uint16_t segment_size) {
  sockets.at(socket, "a datagram")
      .waiting.push_back(WaitingDatagram{
          .peer = peer, .payload = std::move(payload), .segment_size = segment_size});
  is_ready(socket, Readiness{.is_readable = true});
}

void World::datagrams_arrive(SocketHandle socket, std::vector<WaitingDatagram> datagrams) {
  for (WaitingDatagram& datagram : datagrams) {
    sockets.at(socket, "a datagram").waiting.push_back(std::move(datagram));
  }
  is_ready(socket, Readiness{.is_readable = true});
}

void World::client_sends(std::string_view client, const HostEnd& to, std::string_view payload) {
  sockets.at(published_udp(0), "a datagram")
      .waiting.push_back(
          WaitingDatagram{.peer = endpoint(client), .payload = octets(payload), .to = to});
  is_ready(published_udp(0), Readiness{.is_readable = true});
}

void World::error_arrives(SocketHandle socket, const DatagramError& error, Octets payload) {
  sockets.at(socket, "an error")
      .errors.push_back(WaitingError{.error = error, .payload = std::move(payload)});
  is_ready(socket, Readiness{.has_error = true});
}

void World::is_ready(SocketHandle socket, const Readiness& readiness) {
  if (!sockets.at(socket, "an event").is_owned) return;
  const SocketOwner owner = sockets.at(socket, "an event").owner;
  for (int turns = 0; translator.on_socket(now, owner, readiness); ++turns) {
    if (turns == 10000) {
      ADD_FAILURE() << "a socket that always has more to give";
      break;
    }
  }
  run_due();
}

void World::run_due() {
  for (int turns = 0; translator.next_deadline() <= now; ++turns) {
    if (turns == 100000) {
      ADD_FAILURE() << "something is due for ever";
      return;
    }
    translator.on_deadline(now);
  }
}

void World::advance(Duration duration) {
  const Instant until = now + duration;
  while (translator.next_deadline() <= until) {
    now = std::max(now, translator.next_deadline());
    run_due();
  }
  now = until;
}

void World::changes_policy(const WorldOptions& options) {
  translator.set_policy(now, make_policy(options), options.names);
  run_due();
}

void World::host_changes(bool is_address_lost) {
  translator.on_host_change(now, is_address_lost);
  run_due();
}

std::optional<Seen> World::next_packet() {
  if (tap.frames.empty()) return std::nullopt;
  const FakeTap::Frame frame = std::move(tap.frames.front());
  tap.frames.pop_front();
  return read_frame(frame.octets, frame.unfinished);
}

Seen World::expect_packet(Where where) {
  const std::optional<Seen> seen = next_packet();
  if (!seen) {
    ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line()))
        << "the guest was sent nothing";
  }
  return seen.value_or(Seen{});
}

Seen World::expect_syn_ack(Where where) {
  Seen seen = expect_packet(where);
  if (!seen.is_syn_ack()) {
    ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line()))
        << "no SYN-ACK but " << seen.describe();
  }
  return seen;
}

Seen World::expect_reset(Where where) {
  Seen seen = expect_packet(where);
  if (!seen.is_reset()) {
    ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line()))
        << "no RST but " << seen.describe();
  }
  return seen;
}

Seen World::expect_udp(Where where) {
  Seen seen = expect_packet(where);
  if (!seen.is_udp()) {
    ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line()))
        << "no datagram but " << seen.describe();
  }
  return seen;
}

Seen World::expect_icmp(std::uint8_t type, std::uint8_t code, Where where) {
  Seen seen = expect_packet(where);
  if (!seen.is_icmp() || seen.type != type || seen.code != code) {
    ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line()))
        << "no ICMP " << int{type} << "/" << int{code} << " but " << seen.describe();
  }
  return seen;
}

void World::expect_nothing(Where where) {
  while (const std::optional<Seen> seen = next_packet()) {
    ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line()))
        << "the guest was sent " << seen->describe();
  }
}

Octets World::expect_frame(Where where) {
  if (tap.frames.empty()) {
    ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line()))
        << "the guest was sent nothing";
    return {};
  }
  Octets frame = std::move(tap.frames.front().octets);
  tap.frames.pop_front();
  return frame;
}

std::uint64_t World::drops(Drop reason) const { return translator.drops().of(reason); }

void World::expect_sound(Where where) {
  SCOPED_TRACE(testing::Message() << where.file_name() << ":" << where.line());
  // A socket belongs to one flow, and a flow has at most one of a kind; a question has one for each
  // family of upstreams.
  std::set<std::tuple<OwnerKind, std::uint32_t, std::uint32_t, bool>> owners;
  std::set<std::pair<std::uint32_t, std::uint32_t>> tcp;
  std::size_t echo = 0;
  for (const int descriptor : sockets.open_descriptors()) {
    const FakeSocket& socket = sockets.was(SocketHandle{descriptor});
    const SocketOwner& owner = socket.owner;
    if (socket.kind == OwnerKind::kListener || socket.kind == OwnerKind::kPublished) continue;
    if (!socket.is_owned) continue;
    const bool is_v6_question = socket.kind == OwnerKind::kDns && socket.family == Family::kIpv6;
    EXPECT_TRUE(owners.emplace(socket.kind, owner.index, owner.generation, is_v6_question).second)
        << "two sockets of one kind belong to one flow";
    if (socket.kind == OwnerKind::kTcpHost || socket.kind == OwnerKind::kTcpGuest) {
      tcp.emplace(owner.index, owner.generation);
    }
    if (socket.kind == OwnerKind::kEcho) ++echo;
  }
  EXPECT_GE(translator.flows(), tcp.size() + echo) << "sockets that no flow holds";
  if (translator.flows() == 0) {
    EXPECT_EQ(sockets.open_count(OwnerKind::kUdp), 0U) << "UDP sockets that no flow holds";
    EXPECT_EQ(streams.holds, 0U) << "a pipe that no flow holds";
  }
}

}  // namespace cordon::world
