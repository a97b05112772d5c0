#include "netstack/icmp/echo_flows.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "netstack/flow/host_errors.h"

namespace cordon {
namespace {

constexpr std::size_t kReceiveBudget = 64;
// The largest echo message: an IPv4 packet less its header.
constexpr std::size_t kMaxMessage = kMaxIpPacket - kIpv4HeaderSize;
// With a header of either family in front.
constexpr std::size_t kMaxPacket = kMaxMessage + kIpv6HeaderSize;

// A request without data, and room.
constexpr std::size_t kQuotedRequest = 64;

constexpr std::uint8_t kEchoRequestV4 = 8;
constexpr std::uint8_t kEchoReplyV4 = 0;
constexpr std::uint8_t kEchoRequestV6 = 128;
constexpr std::uint8_t kEchoReplyV6 = 129;

struct EchoHeader {
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  Be16 checksum;
  Be16 identifier;
  Be16 sequence;
};
static_assert(sizeof(EchoHeader) == kIcmpHeaderSize);

// What waits for a look-up: the sequence number, then the data.
constexpr std::size_t kHeldPrefix = sizeof(Be16);

IpProtocol icmp_protocol(Family family) {
  return family == Family::kIpv4 ? IpProtocol::kIcmp : IpProtocol::kIcmpv6;
}

// The guest's request again, as an ICMP error quotes it.
std::size_t write_request(MutableBytes out, const FlowKey& key, std::uint16_t sequence) {
  return write_echo(out,
                    IpHeaderFields{.source = key.guest.address,
                                   .destination = key.remote.address,
                                   .protocol = icmp_protocol(key.guest.address.family())},
                    EchoMessage{.identifier = key.guest.port, .sequence = sequence});
}

}  // namespace

class EchoFlows::Inbox final : public DatagramSink {
 public:
  Inbox(EchoFlows& flows, Instant now, FlowId id) : flows_(flows), now_(now), id_(id) {}

  void on_datagram(const ReceivedDatagram& datagram) override {
    const Flow* const flow = flows_.table_.get(id_);
    // Whoever else answers was not asked: a broadcast ping, or somebody who guesses identifiers.
    if (flow == nullptr || !flow->destination ||
        datagram.peer.address != flow->destination->endpoint().address) {
      flows_.context_.drops.add(Drop::kUnknownPeer);
      return;
    }
    flows_.deliver(now_, id_, datagram.payload);
  }
  void on_error(const DatagramError& error) override {
    const Flow* const flow = flows_.table_.get(id_);
    if (flow == nullptr || !flow->destination) return;
    // What came from an address that the flow has turned away from is nobody's.
    const Place trial = flow->trial;
    const IpAddress& address = flow->destination->endpoint().address;
    if (!trial.is_none() && error.destination.address != address) return;
    if (!flows_.trials_.take_error(trial, id_, error)) flows_.deliver_error(now_, id_, error);
  }

 private:
  using Place = NamedTrials::Place;

  EchoFlows& flows_;
  Instant now_;
  FlowId id_;
};

EchoFlows::EchoFlows(const FlowContext& context, NameLookups& lookups)
    : context_(context),
      lookups_(lookups),
      trials_(context, *this),
      table_(kMaxEchoFlows, SipKey{context.entropy.next(), context.entropy.next()}) {
  lookups_.serve(Waits::kEcho, *this);
}

void EchoFlows::on_echo(Instant now, const IpPacket& packet, const EchoMessage& message) {
  if (!message.is_request) return context_.drops.add(Drop::kUnknownIcmp);
  const Meaning meaning = context_.admission.meaning_of(packet.destination);
  if (meaning == Meaning::kMulticast) return context_.drops.add(Drop::kMulticast);
  if (meaning == Meaning::kOurs || meaning == Meaning::kHostDoor) {
    return answer_for_ours(packet, message);
  }
  const FlowKey key{.guest = {.address = packet.source, .port = message.identifier},
                    .remote = {.address = packet.destination}};
  std::optional<FlowId> id = table_.find(key);
  if (!id) {
    id = meaning == Meaning::kName ? open_named(now, key, packet) : open(now, key, packet);
  }
  if (!id) return;
  const SendFields fields{.ttl = packet.ttl,
                          .traffic_class = packet.traffic_class,
                          .may_fragment = !packet.has_dont_fragment};
  const Flow& flow = *table_.get(*id);
  if (flow.destination && flow.trial.is_none()) {
    return send_up(now, *id, fields, message, packet.packet);
  }
  send_or_hold(now, *id, fields, message, packet.packet);
}

void EchoFlows::answer_for_ours(const IpPacket& packet, const EchoMessage& message) {
  std::array<std::uint8_t, kMaxPacket> out{};
  EchoMessage reply = message;
  reply.is_request = false;
  const std::size_t size =
      write_echo(out,
                 IpHeaderFields{.source = packet.destination,
                                .destination = packet.source,
                                .protocol = icmp_protocol(packet.source.family()),
                                .has_dont_fragment = false},
                 reply);
  context_.link.send_packet(Bytes(out).first(size));
}

std::optional<FlowId> EchoFlows::open(Instant now, const FlowKey& key, const IpPacket& packet) {
  const Judgement judgement = context_.admission.judge(now, Protocol::kIcmp, key.guest, key.remote);
  if (!judgement.allowed) {
    refuse_datagram(now, context_, judgement, packet.packet);
    return std::nullopt;
  }
  if (context_.introductions.hold(now, judgement.request)) return std::nullopt;
  if (!may_open(now, context_, *judgement.allowed, packet.packet)) return std::nullopt;
  const std::optional<FlowId> id = insert(now, key);
  if (!id) return std::nullopt;
  const int error = turn_to(now, *id, *judgement.allowed);
  if (error != 0) {
    end(*id, FlowEnd::kUnreachable);
    open_failed(now, key.guest.address, packet.packet, error);
    return std::nullopt;
  }
  if (judgement.verdict.action != Action::kAllow) context_.refusals.report(judgement);
  return id;
}

std::optional<FlowId> EchoFlows::open_named(Instant now, const FlowKey& key,
                                            const IpPacket& packet) {
  const Judgement judgement = context_.admission.judge_name(Protocol::kIcmp, key.guest, key.remote);
  if (!context_.admission.may_resolve(judgement.verdict)) {
    refuse_datagram(now, context_, judgement, packet.packet);
    return std::nullopt;
  }
  if (context_.introductions.hold(now, judgement.request)) return std::nullopt;
  const std::optional<FlowId> id = insert(now, key);
  if (!id) return std::nullopt;
  table_.get(*id)->is_answered = judgement.request.is_answered;
  const Family preferred = key.guest.address.family();
  if (lookups_.begin(now, Waits::kEcho, *id, *judgement.request.name, preferred)) return id;
  table_.erase(*id);
  context_.drops.add(Drop::kAwaitsName);
  return std::nullopt;
}

std::optional<FlowId> EchoFlows::insert(Instant now, const FlowKey& key) {
  if (table_.size() == table_.capacity()) end(*table_.oldest(0), FlowEnd::kTimedOut);
  const std::optional<FlowId> id = table_.insert(key, 0, now);
  if (id) table_.get(*id)->id = ++last_id_;
  return id;
}

int EchoFlows::turn_to(Instant /*now*/, FlowId id, const AllowedDestination& destination) {
  Flow& flow = *table_.get(id);
  const Family family = destination.endpoint().address.family();
  const bool is_used = flow.destination.has_value();
  if (!is_used || flow.destination->endpoint().address.family() != family) {
    const IoResult<SocketHandle> socket =
        context_.host.open_ping(family, owner_of(OwnerKind::kEcho, id));
    if (!socket) return socket.error().value;
    if (flow.socket.is_open()) context_.host.close(flow.socket);
    flow.socket = *socket;
  }
  flow.destination = destination;
  is_used ? renew(context_, destination, flow.meter) : join(context_, destination, flow.meter);
  if (!is_used) report(id, std::nullopt);
  return 0;
}

void EchoFlows::on_lookup(Instant now, FlowId id, const LookupAnswer& answer) {
  Flow* const flow = table_.get(id);
  if (flow == nullptr) return;
  if (flow->destination) {
    return trials_.add_other(now, flow->trial, id, answer.found.all());
  }
  const FlowKey key = table_.key_of(id);
  const NamedOutcome outcome =
      choose_address(context_, Protocol::kIcmp, key, *flow, answer.found.all());
  if (outcome.state == NamedChoice::State::kOpen) return;
  if (outcome.state == NamedChoice::State::kChosen) {
    return begin_named(now, id, outcome, answer.found.all());
  }
  std::array<std::uint8_t, kQuotedRequest> out{};
  const Bytes offending = Bytes(out).first(write_request(out, key, flow->last_sequence));
  end(id, FlowEnd::kUnreachable);
  if (outcome.state == NamedChoice::State::kDenied) {
    return refuse_datagram(now, context_, outcome.judgement, offending);
  }
  show_host_error(now, context_, key.guest.address, DatagramError{.error = EHOSTUNREACH},
                  offending);
}

void EchoFlows::begin_named(Instant now, FlowId id, const NamedOutcome& outcome,
                            std::span<const IpAddress> addresses) {
  Flow& flow = *table_.get(id);
  const Judgement& judgement = outcome.judgement;
  if (judgement.verdict.action != Action::kAllow) context_.refusals.report(judgement);
  std::array<std::uint8_t, kQuotedRequest> out{};
  const std::size_t size = write_request(out, table_.key_of(id), flow.last_sequence);
  if (!may_open(now, context_, *judgement.allowed, Bytes(out).first(size))) {
    return end(id, FlowEnd::kRevoked);
  }
  const bool awaits_other = flow.choice.awaits_other();
  const IpAddress& chosen = judgement.request.dialled.address;
  flow.trial = trials_.begin(id, outcome.by_name, chosen, addresses, awaits_other);
  if (!awaits_other) lookups_.cancel(Waits::kEcho, id);
  trials_.go_on(now, flow.trial, id, turn_to(now, id, *judgement.allowed));
}

bool EchoFlows::hold(FlowId id, const SendFields& fields, const EchoMessage& message) {
  std::array<std::uint8_t, kMaxHeldOctets> held;  // NOLINT: written before it is read
  table_.get(id)->last_sequence = message.sequence;
  const bool fits = message.data.size() <= held.size() - kHeldPrefix &&
                    store(MutableBytes(held), Be16(message.sequence));
  if (!fits) return false;
  std::ranges::copy(message.data, held.begin() + kHeldPrefix);
  return trials_.held().hold(id, fields, Bytes(held).first(kHeldPrefix + message.data.size()));
}

void EchoFlows::send_or_hold(Instant now, FlowId id, const SendFields& fields,
                             const EchoMessage& message, Bytes offending) {
  const Flow& flow = *table_.get(id);
  const NamedTrials::Place trial = flow.trial;
  const bool may_send = flow.destination && !trials_.is_waiting(trial, id);
  const bool is_held = hold(id, fields, message);
  if (may_send && is_held) return trials_.go_on(now, trial, id, 0);
  if (!is_held && !may_send) context_.drops.add(Drop::kAwaitsName);
  if (is_held || !may_send) return;
  send_up(now, id, fields, message, offending);
  trials_.settle(now, trial, id);
}

int EchoFlows::send_held(Instant now, FlowId id, HeldDatagrams::Datagram& datagram) {
  const FlowKey key = table_.key_of(id);
  const auto sequence = load<Be16>(datagram.payload());
  const EchoMessage message{.is_request = true,
                            .identifier = key.guest.port,
                            .sequence = sequence ? sequence->get() : std::uint16_t{0},
                            .data = datagram.payload().subspan(kHeldPrefix)};
  std::array<std::uint8_t, kQuotedRequest> out{};
  const Bytes offending = Bytes(out).first(write_request(out, key, message.sequence));
  const bool is_again = std::exchange(datagram.is_counted, true);
  const std::size_t octets = kIcmpHeaderSize + message.data.size();
  if (!is_again && !measure_message(now, id, Way::kUp, octets, offending)) {
    HeldDatagrams::drop(datagram);
    return 0;
  }
  const int error = transmit(now, id, datagram.fields, message);
  if (is_out_of_reach(error, table_.get(id)->destination->endpoint().address.family())) {
    return error;
  }
  if (error != 0) {
    show_host_error(now, context_, key.guest.address, DatagramError{.error = error}, offending);
  }
  return 0;
}

void EchoFlows::give_up(Instant now, FlowId id, int error) {
  const Flow& flow = *table_.get(id);
  const FlowKey key = table_.key_of(id);
  std::array<std::uint8_t, kQuotedRequest> out{};
  const Bytes offending = Bytes(out).first(write_request(out, key, flow.last_sequence));
  const bool is_used = flow.destination.has_value();
  end_trial(id);
  if (!is_used) {
    end(id, FlowEnd::kUnreachable);
    return open_failed(now, key.guest.address, offending, error);
  }
  // For want of an address of its family, as is_out_of_reach() knows.
  if (error == EADDRNOTAVAIL) error = ENETUNREACH;
  show_host_error(now, context_, key.guest.address, DatagramError{.error = error}, offending);
}

void EchoFlows::end_trial(FlowId id) {
  trials_.end(std::exchange(table_.get(id)->trial, {}), id);
  lookups_.cancel(Waits::kEcho, id);
}

bool EchoFlows::measure_message(Instant now, FlowId id, Way way, std::size_t octets,
                                Bytes offending) {
  Flow& flow = *table_.get(id);
  if (!count_datagram(now, context_, flow, way, octets, 0, offending).passes) return false;
  (way == Way::kUp ? flow.octets_up : flow.octets_down) += octets;
  return true;
}

void EchoFlows::open_failed(Instant now, const IpAddress& guest, Bytes offending, int error) {
  if (error == EACCES || error == EPERM) context_.events.notice(Notice::kPingNotPermitted, error);
  if (is_out_of_resources(error)) {
    context_.drops.add(Drop::kNoHostResource);
    context_.events.notice(Notice::kNoHostResource, error);
    return;
  }
  show_host_error(now, context_, guest, DatagramError{.error = error}, offending);
}

void EchoFlows::send_up(Instant now, FlowId id, const SendFields& fields,
                        const EchoMessage& message, Bytes offending) {
  const std::size_t octets = kIcmpHeaderSize + message.data.size();
  if (!measure_message(now, id, Way::kUp, octets, offending)) return;
  const int error = transmit(now, id, fields, message);
  if (error == 0 || error == EMSGSIZE) return;
  const IpAddress guest = table_.key_of(id).guest.address;
  show_host_error(now, context_, guest, DatagramError{.error = error}, offending);
}

int EchoFlows::transmit(Instant now, FlowId id, const SendFields& fields,
                        const EchoMessage& message) {
  Flow& flow = *table_.get(id);
  table_.touch(id, 0, now);
  flow.last_sequence = message.sequence;
  const bool is_v4 = flow.destination->endpoint().address.is_v4();
  std::array<std::uint8_t, kMaxMessage> out;  // NOLINT: written before it is read
  const EchoHeader header{.type = is_v4 ? kEchoRequestV4 : kEchoRequestV6,
                          .identifier = Be16(message.identifier),
                          .sequence = Be16(message.sequence)};
  if (message.data.size() > kMaxMessage - kIcmpHeaderSize || !store(MutableBytes(out), header)) {
    context_.drops.add(Drop::kTooBig);
    return 0;
  }
  std::ranges::copy(message.data, out.begin() + kIcmpHeaderSize);
  const Bytes payload = Bytes(out).first(kIcmpHeaderSize + message.data.size());
  const std::span<const Bytes> parts(&payload, 1);
  IoStatus sent = context_.host.send(flow.socket, *flow.destination, fields, parts);
  if (sent) return 0;
  // An earlier request's error is told first; this one gets a second chance, unless it was its
  // size.
  Inbox inbox(*this, now, id);
  context_.host.receive_errors(flow.socket, inbox);
  if (sent.error().value == EMSGSIZE) return EMSGSIZE;
  sent = context_.host.send(flow.socket, *flow.destination, fields, parts);
  if (sent) return 0;
  context_.drops.add(Drop::kHostError);
  return sent.error().value;
}

bool EchoFlows::on_socket(Instant now, const SocketOwner& owner, const Readiness& readiness) {
  const FlowId id{.index = owner.index, .generation = owner.generation};
  const Flow* const flow = table_.get(id);
  if (flow == nullptr || !flow->socket.is_open()) return false;
  Inbox inbox(*this, now, id);
  const SocketHandle socket = flow->socket;
  // Errors first: a reply that is waiting may be to what was sent after one.
  if (readiness.has_error) context_.host.receive_errors(socket, inbox);
  const bool has_more = context_.host.receive(socket, kReceiveBudget, inbox);
  trials_.settle(now, flow->trial, id);
  return has_more;
}

void EchoFlows::deliver(Instant now, FlowId id, Bytes message) {
  const std::optional<EchoHeader> header = load<EchoHeader>(message);
  const FlowKey& key = table_.key_of(id);
  const bool is_v4 = table_.get(id)->destination->endpoint().address.is_v4();
  const std::uint8_t reply_type = is_v4 ? kEchoReplyV4 : kEchoReplyV6;
  if (!header || header->type != reply_type || header->code != 0) {
    return context_.drops.add(Drop::kUnknownPeer);
  }
  if (!measure_message(now, id, Way::kDown, message.size(), {})) return;
  table_.touch(id, 0, now);
  if (!table_.get(id)->trial.is_none()) end_trial(id);  // Whom its name leads to has answered.
  std::array<std::uint8_t, kMaxPacket> out;             // NOLINT: written before it is read
  const std::size_t size =
      write_echo(out,
                 IpHeaderFields{.source = key.remote.address,
                                .destination = key.guest.address,
                                .protocol = icmp_protocol(key.guest.address.family()),
                                .has_dont_fragment = false},
                 EchoMessage{.is_request = false,
                             .identifier = key.guest.port,
                             .sequence = header->sequence.get(),
                             .data = message.subspan(kIcmpHeaderSize)});
  context_.link.send_packet(Bytes(out).first(size));
}

void EchoFlows::deliver_error(Instant now, FlowId id, const DatagramError& error) {
  const Flow* const flow = table_.get(id);
  if (flow == nullptr) return;
  const FlowKey& key = table_.key_of(id);
  // The error queue gives back the message that was sent, with the identifier that the host chose.
  const std::optional<EchoHeader> sent = load<EchoHeader>(error.payload);
  std::array<std::uint8_t, kQuotedRequest> offending{};
  const std::size_t size =
      write_request(offending, key, sent ? sent->sequence.get() : flow->last_sequence);
  show_host_error(now, context_, key.guest.address, error, Bytes(offending).first(size));
}

void EchoFlows::on_deadline(Instant now) {
  while (next_deadline() <= now) end(*table_.oldest(0), FlowEnd::kTimedOut);
}

void EchoFlows::end(FlowId id, FlowEnd how) {
  const SocketHandle socket = table_.get(id)->socket;
  if (socket.is_open()) context_.host.close(socket);
  // Still looked up: nobody has heard of it.
  if (table_.get(id)->destination) report(id, how);
  end_trial(id);
  leave(context_, table_.get(id)->meter);
  table_.erase(id);
}

FlowReport EchoFlows::describe(FlowId id) {
  const Flow& flow = *table_.get(id);
  return FlowReport{.id = flow.id,
                    .request = flow.destination->request(),
                    .rule = flow.destination->rule(),
                    .bytes_up = flow.octets_up,
                    .bytes_down = flow.octets_down};
}

void EchoFlows::report(FlowId id, std::optional<FlowEnd> how) {
  if (!context_.config.reports_flows) return;
  FlowReport report = describe(id);
  report.end = how;
  context_.events.flow(report);
}

std::optional<std::uint32_t> EchoFlows::list(std::uint32_t cursor, std::size_t budget) {
  for (; budget > 0; --budget) {
    const std::optional<FlowId> id = table_.next_from(cursor);
    if (!id) return std::nullopt;
    const bool is_known = table_.get(*id)->destination.has_value();
    if (is_known && !context_.events.listed(describe(*id))) break;
    cursor = id->index + 1;
  }
  return cursor;
}

std::optional<std::uint32_t> EchoFlows::rejudge(Instant now, std::uint32_t cursor,
                                                std::size_t budget) {
  for (; budget > 0; --budget) {
    const std::optional<FlowId> id = table_.next_from(cursor);
    if (!id) return std::nullopt;
    cursor = id->index + 1;
    Flow& flow = *table_.get(*id);
    if (!flow.destination) continue;  // Judged when its name has been looked up.
    const Judgement judgement = context_.admission.rejudge(now, flow.destination->request());
    if (!may_live_on(now, context_, judgement, flow)) end(*id, FlowEnd::kRevoked);
  }
  return cursor;
}

}  // namespace cordon
