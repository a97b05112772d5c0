#include "netstack/icmp/echo_flows.h"

#include <algorithm>
#include <cerrno>

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
  void on_error(const DatagramError& error) override { flows_.deliver_error(now_, id_, error); }

 private:
  EchoFlows& flows_;
  Instant now_;
  FlowId id_;
};

EchoFlows::EchoFlows(const FlowContext& context, NameLookups& lookups)
    : context_(context),
      lookups_(lookups),
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
  if (!table_.get(*id)->destination) return hold(*id, fields, message);
  send_up(now, *id, fields, message, packet.packet);
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
    refuse(now, judgement, packet.packet);
    return std::nullopt;
  }
  const std::optional<FlowId> id = insert(now, key);
  if (!id || !open_socket(now, *id, judgement, packet.packet)) return std::nullopt;
  return id;
}

std::optional<FlowId> EchoFlows::open_named(Instant now, const FlowKey& key,
                                            const IpPacket& packet) {
  const Judgement judgement = context_.admission.judge_name(Protocol::kIcmp, key.guest, key.remote);
  if (!context_.admission.may_resolve(judgement.verdict)) {
    refuse(now, judgement, packet.packet);
    return std::nullopt;
  }
  const std::optional<FlowId> id = insert(now, key);
  if (!id) return std::nullopt;
  const Family preferred = key.guest.address.family();
  if (lookups_.begin(now, Waits::kEcho, *id, *judgement.request.name, preferred)) return id;
  table_.erase(*id);
  context_.drops.add(Drop::kAwaitsName);
  return std::nullopt;
}

std::optional<FlowId> EchoFlows::insert(Instant now, const FlowKey& key) {
  if (table_.size() == table_.capacity()) end(*table_.oldest(0));
  return table_.insert(key, 0, now);
}

// False where the flow has ended for want of a socket.
bool EchoFlows::open_socket(Instant now, FlowId id, const Judgement& judgement, Bytes offending) {
  const IoResult<SocketHandle> socket = context_.host.open_ping(
      judgement.request.dialled.address.family(),
      SocketOwner{.kind = OwnerKind::kEcho, .generation = id.generation, .index = id.index});
  if (!socket) {
    const IpAddress guest = table_.key_of(id).guest.address;
    end(id);
    open_failed(now, guest, offending, socket.error().value);
    return false;
  }
  if (judgement.verdict.action != Action::kAllow) context_.refusals.report(judgement);
  Flow& flow = *table_.get(id);
  flow.destination = judgement.allowed;
  flow.socket = *socket;
  return true;
}

void EchoFlows::on_lookup(Instant now, FlowId id, const LookupAnswer& answer) {
  Flow* const flow = table_.get(id);
  if (flow == nullptr || flow->destination) return;
  const FlowKey key = table_.key_of(id);
  // The policy may be another one than when the look-up began.
  Judgement judgement = context_.admission.judge_name(Protocol::kIcmp, key.guest, key.remote);
  const Request by_name = judgement.request;
  NamedChoice::State state = NamedChoice::State::kDenied;
  if (context_.admission.may_resolve(judgement.verdict)) {
    state = flow->choice.add(context_.admission, by_name, answer.found.all(), judgement);
  }
  if (state == NamedChoice::State::kOpen) return;
  std::array<std::uint8_t, kQuotedRequest> out{};
  const Bytes offending = Bytes(out).first(write_request(out, key, flow->last_sequence));
  if (state == NamedChoice::State::kChosen) {
    lookups_.cancel(Waits::kEcho, id);
    if (open_socket(now, id, judgement, offending)) send_held(now, id);
    return;
  }
  end(id);
  if (state == NamedChoice::State::kDenied) return refuse(now, judgement, offending);
  show_host_error(now, context_, key.guest.address, DatagramError{.error = EHOSTUNREACH},
                  offending);
}

void EchoFlows::hold(FlowId id, const SendFields& fields, const EchoMessage& message) {
  std::array<std::uint8_t, kMaxHeldOctets> held;  // NOLINT: written before it is read
  table_.get(id)->last_sequence = message.sequence;
  const bool fits = message.data.size() <= held.size() - kHeldPrefix &&
                    store(MutableBytes(held), Be16(message.sequence));
  if (fits) {
    std::ranges::copy(message.data, held.begin() + kHeldPrefix);
    if (held_.hold(id, fields, Bytes(held).first(kHeldPrefix + message.data.size()))) return;
  }
  context_.drops.add(Drop::kAwaitsName);
}

void EchoFlows::send_held(Instant now, FlowId id) {
  const FlowKey key = table_.key_of(id);
  while (const HeldDatagrams::Datagram* const held = held_.first(id)) {
    const auto sequence = load<Be16>(held->payload());
    const EchoMessage message{.is_request = true,
                              .identifier = key.guest.port,
                              .sequence = sequence ? sequence->get() : std::uint16_t{0},
                              .data = held->payload().subspan(kHeldPrefix)};
    std::array<std::uint8_t, kQuotedRequest> out{};
    const std::size_t size = write_request(out, key, message.sequence);
    send_up(now, id, held->fields, message, Bytes(out).first(size));
    held_.drop_first(id);
  }
}

void EchoFlows::refuse(Instant now, const Judgement& judgement, Bytes offending) {
  std::array<std::uint8_t, Refusals::kMaxReply> reply{};
  const IpAddress& guest = judgement.request.guest.address;
  const IcmpErrorFields error{.source = context_.admission.link(guest.family()).gateway,
                              .destination = guest,
                              .error = IcmpError::kProhibited};
  std::size_t size = write_icmp_error(reply, error, offending);
  if (size > 0 && !context_.link.may_send_icmp_error(now)) size = 0;
  context_.refusals.refuse(now, judgement, Bytes(reply).first(size));
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
  Flow& flow = *table_.get(id);
  table_.touch(id, 0, now);
  flow.last_sequence = message.sequence;
  const bool is_v4 = flow.destination->endpoint().address.is_v4();
  std::array<std::uint8_t, kMaxMessage> out;  // NOLINT: written before it is read
  const EchoHeader header{.type = is_v4 ? kEchoRequestV4 : kEchoRequestV6,
                          .identifier = Be16(message.identifier),
                          .sequence = Be16(message.sequence)};
  if (message.data.size() > kMaxMessage - kIcmpHeaderSize || !store(MutableBytes(out), header)) {
    return context_.drops.add(Drop::kTooBig);
  }
  std::ranges::copy(message.data, out.begin() + kIcmpHeaderSize);
  const Bytes payload = Bytes(out).first(kIcmpHeaderSize + message.data.size());
  const std::span<const Bytes> parts(&payload, 1);
  IoStatus sent = context_.host.send(flow.socket, *flow.destination, fields, parts);
  if (!sent) {
    // An earlier request's error is told first; this one gets a second chance.
    Inbox inbox(*this, now, id);
    context_.host.receive_errors(flow.socket, inbox);
    if (sent.error().value == EMSGSIZE) return;
    sent = context_.host.send(flow.socket, *flow.destination, fields, parts);
  }
  if (!sent) {
    context_.drops.add(Drop::kHostError);
    const IpAddress guest = table_.key_of(id).guest.address;
    show_host_error(now, context_, guest, DatagramError{.error = sent.error().value}, offending);
  }
}

bool EchoFlows::on_socket(Instant now, const SocketOwner& owner, const Readiness& readiness) {
  const FlowId id{.index = owner.index, .generation = owner.generation};
  const Flow* const flow = table_.get(id);
  if (flow == nullptr || !flow->socket.is_open()) return false;
  Inbox inbox(*this, now, id);
  const SocketHandle socket = flow->socket;
  // Errors first: a reply that is waiting may be to what was sent after one.
  if (readiness.has_error) context_.host.receive_errors(socket, inbox);
  return context_.host.receive(socket, kReceiveBudget, inbox);
}

void EchoFlows::deliver(Instant now, FlowId id, Bytes message) {
  const std::optional<EchoHeader> header = load<EchoHeader>(message);
  const FlowKey& key = table_.key_of(id);
  const bool is_v4 = table_.get(id)->destination->endpoint().address.is_v4();
  const std::uint8_t reply_type = is_v4 ? kEchoReplyV4 : kEchoReplyV6;
  if (!header || header->type != reply_type || header->code != 0) {
    return context_.drops.add(Drop::kUnknownPeer);
  }
  table_.touch(id, 0, now);
  std::array<std::uint8_t, kMaxPacket> out;  // NOLINT: written before it is read
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
  while (next_deadline() <= now) end(*table_.oldest(0));
}

void EchoFlows::end(FlowId id) {
  const SocketHandle socket = table_.get(id)->socket;
  if (socket.is_open()) context_.host.close(socket);
  lookups_.cancel(Waits::kEcho, id);
  held_.drop_all(id);
  table_.erase(id);
}

std::optional<std::uint32_t> EchoFlows::list(std::uint32_t cursor, std::size_t budget) {
  for (; budget > 0; --budget) {
    const std::optional<FlowId> id = table_.next_from(cursor);
    if (!id) return std::nullopt;
    const auto& destination = table_.get(*id)->destination;
    const bool has_room =
        !destination || context_.events.listed(FlowReport{.request = destination->request()});
    if (!has_room) break;
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
    const Flow& flow = *table_.get(*id);
    if (!flow.destination) continue;  // Judged when its name has been looked up.
    const Judgement judgement = context_.admission.rejudge(now, flow.destination->request());
    if (judgement.allowed) continue;
    context_.refusals.refuse(now, judgement, {});
    end(*id);
  }
  return cursor;
}

}  // namespace cordon
