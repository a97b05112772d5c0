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

IpProtocol icmp_protocol(Family family) {
  return family == Family::kIpv4 ? IpProtocol::kIcmp : IpProtocol::kIcmpv6;
}

}  // namespace

class EchoFlows::Inbox final : public DatagramSink {
 public:
  Inbox(EchoFlows& flows, Instant now, FlowId id) : flows_(flows), now_(now), id_(id) {}

  void on_datagram(const ReceivedDatagram& datagram) override {
    const Flow* const flow = flows_.table_.get(id_);
    // Whoever else answers was not asked: a broadcast ping, or somebody who guesses identifiers.
    if (flow == nullptr || datagram.peer.address != flow->destination->endpoint().address) {
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

EchoFlows::EchoFlows(const FlowContext& context)
    : context_(context),
      table_(kMaxEchoFlows, SipKey{context.entropy.next(), context.entropy.next()}) {}

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
  if (!id) id = open(now, key, packet);
  if (id) send_up(now, *id, packet, message);
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
    std::array<std::uint8_t, Refusals::kMaxReply> reply{};
    const IcmpErrorFields error{
        .source = context_.admission.link(key.remote.address.family()).gateway,
        .destination = key.guest.address,
        .error = IcmpError::kProhibited};
    std::size_t size = write_icmp_error(reply, error, packet.packet);
    if (size > 0 && !context_.link.may_send_icmp_error(now)) size = 0;
    context_.refusals.refuse(now, judgement, Bytes(reply).first(size));
    return std::nullopt;
  }
  if (table_.size() == table_.capacity()) end(*table_.oldest(0));
  const std::optional<FlowId> id = table_.insert(key, 0, now);
  if (!id) return std::nullopt;
  const IoResult<SocketHandle> socket = context_.host.open_ping(
      key.guest.address.family(),
      SocketOwner{.kind = OwnerKind::kEcho, .generation = id->generation, .index = id->index});
  if (!socket) {
    table_.erase(*id);
    open_failed(now, packet, socket.error().value);
    return std::nullopt;
  }
  Flow& flow = *table_.get(*id);
  flow.destination = judgement.allowed;
  flow.socket = *socket;
  return id;
}

void EchoFlows::open_failed(Instant now, const IpPacket& packet, int error) {
  if (error == EACCES || error == EPERM) context_.events.notice(Notice::kPingNotPermitted, error);
  const DatagramError shown{.error = error};
  if (is_out_of_resources(error)) {
    context_.drops.add(Drop::kNoHostResource);
    context_.events.notice(Notice::kNoHostResource, error);
    return;
  }
  show_host_error(now, context_, packet.source, shown, packet.packet);
}

void EchoFlows::send_up(Instant now, FlowId id, const IpPacket& packet,
                        const EchoMessage& message) {
  Flow& flow = *table_.get(id);
  table_.touch(id, 0, now);
  flow.last_sequence = message.sequence;
  std::array<std::uint8_t, kMaxMessage> out;  // NOLINT: written before it is read
  const EchoHeader header{.type = packet.source.is_v4() ? kEchoRequestV4 : kEchoRequestV6,
                          .identifier = Be16(message.identifier),
                          .sequence = Be16(message.sequence)};
  if (message.data.size() > kMaxMessage - kIcmpHeaderSize || !store(MutableBytes(out), header)) {
    return context_.drops.add(Drop::kTooBig);
  }
  std::ranges::copy(message.data, out.begin() + kIcmpHeaderSize);
  const SendFields fields{.ttl = packet.ttl,
                          .traffic_class = packet.traffic_class,
                          .may_fragment = !packet.has_dont_fragment};
  const Bytes payload = Bytes(out).first(kIcmpHeaderSize + message.data.size());
  IoStatus sent = context_.host.send(flow.socket, *flow.destination, fields, payload);
  if (!sent) {
    // An earlier request's error is told first; this one gets a second chance.
    Inbox inbox(*this, now, id);
    context_.host.receive(flow.socket, 0, inbox);
    if (sent.error().value == EMSGSIZE) return;
    sent = context_.host.send(flow.socket, *flow.destination, fields, payload);
  }
  if (!sent) {
    context_.drops.add(Drop::kHostError);
    const DatagramError error{.error = sent.error().value};
    show_host_error(now, context_, packet.source, error, packet.packet);
  }
}

bool EchoFlows::on_socket(Instant now, const SocketOwner& owner) {
  const FlowId id{.index = owner.index, .generation = owner.generation};
  const Flow* const flow = table_.get(id);
  if (flow == nullptr) return false;
  Inbox inbox(*this, now, id);
  return context_.host.receive(flow->socket, kReceiveBudget, inbox);
}

void EchoFlows::deliver(Instant now, FlowId id, Bytes message) {
  const std::optional<EchoHeader> header = load<EchoHeader>(message);
  const FlowKey& key = table_.key_of(id);
  const std::uint8_t reply_type = key.guest.address.is_v4() ? kEchoReplyV4 : kEchoReplyV6;
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
  std::array<std::uint8_t, 256> offending{};
  const std::size_t size =
      write_echo(offending,
                 IpHeaderFields{.source = key.guest.address,
                                .destination = key.remote.address,
                                .protocol = icmp_protocol(key.guest.address.family())},
                 EchoMessage{.identifier = key.guest.port,
                             .sequence = sent ? sent->sequence.get() : flow->last_sequence});
  show_host_error(now, context_, key.guest.address, error, Bytes(offending).first(size));
}

void EchoFlows::on_deadline(Instant now) {
  while (next_deadline() <= now) end(*table_.oldest(0));
}

void EchoFlows::end(FlowId id) {
  context_.host.close(table_.get(id)->socket);
  table_.erase(id);
}

std::optional<std::uint32_t> EchoFlows::rejudge(Instant now, std::uint32_t cursor,
                                                std::size_t budget) {
  for (; budget > 0; --budget) {
    const std::optional<FlowId> id = table_.next_from(cursor);
    if (!id) return std::nullopt;
    cursor = id->index + 1;
    const FlowKey& key = table_.key_of(*id);
    const Judgement judgement =
        context_.admission.judge(now, Protocol::kIcmp, key.guest, key.remote);
    if (judgement.allowed) continue;
    context_.refusals.refuse(now, judgement, {});
    end(*id);
  }
  return cursor;
}

}  // namespace cordon
