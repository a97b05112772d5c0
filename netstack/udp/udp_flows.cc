#include "netstack/udp/udp_flows.h"

#include <algorithm>
#include <cerrno>

#include "netstack/flow/host_errors.h"
#include "netstack/udp/quoted_datagram.h"

namespace cordon {
namespace {

// An association this quiet may be taken away when the table is full (RFC 4787 leaves it open).
constexpr Duration kMinIdle = std::chrono::seconds(10);
// Datagrams, or trains, from one socket before others have their turn.
constexpr std::size_t kReceiveBudget = 64;

// What the kernel says of a train whose datagrams do not fit the path, or that it cannot cut
// (udp(7), UDP_SEGMENT).
bool is_no_train(int error) { return error == EMSGSIZE || error == EINVAL || error == EIO; }

std::uint64_t octets_of(const DatagramTrain& train) {
  std::uint64_t octets = 0;
  for (const Bytes part : train.parts) octets += part.size();
  return octets;
}

}  // namespace

// Takes what one host socket has received, and gathers it.
class UdpFlows::Inbox final : public DatagramSink, private TrainSink {
 public:
  Inbox(UdpFlows& flows, Instant now, const SocketOwner& owner, const MappingKey& mapping)
      : flows_(flows), now_(now), owner_(owner), mapping_(mapping) {}

  void on_datagram(const ReceivedDatagram& datagram) override {
    const FlowKey key = key_for(datagram.peer);
    std::optional<FlowId> id = flows_.flows_.find(key);
    if (!id && is_published()) {
      id = flows_.open_published(now_, key, datagram, owner_.index);
    } else if (!id) {
      flows_.context_.drops.add(Drop::kUnknownPeer);
    }
    if (id && (!is_of(*id, datagram.peer) || !fits(*id, datagram.to))) {
      // Whom a flow by name does not lead to; or, of a published port, two clients on the host's
      // loopback, 127.0.0.1 and 127.0.0.2 say, or on two of its links, with one port: inside both
      // would be one. The first keeps the flow, and no answer goes to the wrong one.
      return flows_.context_.drops.add(Drop::kUnknownPeer);
    }
    Bytes payload = datagram.payload;
    const bool may_pass =
        id && flows_.measure_payload(now_, *id, Way::kDown, payload, datagram.segment_size, {});
    if (!may_pass) return;
    Flow& flow = *flows_.flows_.get(*id);
    if (is_published()) flow.host_end = datagram.to;
    flows_.flows_.touch(*id, flow.list, now_);
    if (!flow.trial.is_none()) flows_.end_trial(*id);  // Whom its name leads to has answered.
    const SendFields fields{.traffic_class = datagram.traffic_class,
                            .segment_size = datagram.segment_size};
    flows_.down_.add(*id, fields, payload, false, *this);
  }

  void deliver_gathered() { flows_.down_.let_go(*this); }

  void on_error(const DatagramError& error) override {
    const FlowKey key = key_for(error.destination);
    const std::optional<FlowId> id = flows_.flows_.find(key);
    if (!id || !is_of(*id, error.destination)) return;
    const bool is_of_trial = flows_.trials_.take_error(flows_.flows_.get(*id)->trial, *id, error);
    if (!is_of_trial) flows_.deliver_error(now_, key, error);
  }

 private:
  void on_train(const DatagramTrain& train) override { flows_.deliver(train); }

  [[nodiscard]] bool is_published() const { return owner_.kind == OwnerKind::kPublished; }
  [[nodiscard]] bool is_of(FlowId id, const Endpoint& peer) const {
    const Flow& flow = *flows_.flows_.get(id);
    return flow.destination && flow.destination->endpoint() == peer;
  }
  // Of a client that lives, every datagram comes to an address of the scope of the first one's, and
  // over the same link where that matters.
  [[nodiscard]] bool fits(FlowId id, const std::optional<HostEnd>& to) const {
    const std::optional<HostEnd>& known = flows_.flows_.get(id)->host_end;
    return !known || !to ||
           (known->address.is_link_local() == to->address.is_link_local() &&
            known->zone == to->zone);
  }
  [[nodiscard]] FlowKey key_for(const Endpoint& peer) const {
    const Admission& admission = flows_.context_.admission;
    if (mapping_.name != Endpoint{}) return {.guest = mapping_.guest, .remote = mapping_.name};
    if (!is_published()) return {.guest = mapping_.guest, .remote = admission.present_peer(peer)};
    return FlowKey{
        .guest = {.address = admission.guest_for(peer.address), .port = mapping_.guest.port},
        .remote = admission.present_client(peer)};
  }

  UdpFlows& flows_;
  Instant now_;
  SocketOwner owner_;
  MappingKey mapping_;  // for a published port only the guest's port is meant
};

// Sends what the tap brought.
class UdpFlows::Outbox final : public TrainSink {
 public:
  Outbox(UdpFlows& flows, Instant now) : flows_(flows), now_(now) {}
  void on_train(const DatagramTrain& train) override { flows_.send_up(now_, train); }

 private:
  UdpFlows& flows_;
  Instant now_;
};

UdpFlows::UdpFlows(const FlowContext& context, NameLookups& lookups,
                   std::vector<PublishedUdp> published)
    : context_(context),
      lookups_(lookups),
      trials_(context, *this),
      flows_(kMaxUdpFlows, SipKey{context.entropy.next(), context.entropy.next()}),
      mappings_(kMaxUdpAssociations, SipKey{context.entropy.next(), context.entropy.next()}),
      published_(std::move(published)) {
  lookups_.serve(Waits::kUdp, *this);
}

void UdpFlows::on_datagram(Instant now, const IpPacket& packet, const UdpDatagram& datagram,
                           std::uint16_t segment_size) {
  if (datagram.destination_port == 0) return context_.drops.add(Drop::kBadPort);
  const FlowKey key{.guest = {.address = packet.source, .port = datagram.source_port},
                    .remote = {.address = packet.destination, .port = datagram.destination_port}};
  std::optional<FlowId> id = flows_.find(key);
  if (!id) id = open(now, key, packet);
  if (!id) return;
  const SendFields fields{.ttl = packet.ttl,
                          .traffic_class = packet.traffic_class,
                          .may_fragment = !packet.has_dont_fragment,
                          .segment_size = segment_size};
  const Flow& flow = *flows_.get(*id);
  Bytes payload = datagram.payload;
  if (!flow.destination || !flow.trial.is_none()) {
    return send_or_hold(now, *id, fields, payload, packet.packet);
  }
  if (!measure_payload(now, *id, Way::kUp, payload, segment_size, packet.packet)) return;
  flows_.touch(*id, flow.list, now);
  const bool is_alone = flow.refused_train != 0 && payload.size() >= flow.refused_train;
  Outbox outbox(*this, now);
  up_.add(*id, fields, payload, is_alone, outbox);
}

void UdpFlows::send_gathered(Instant now) {
  Outbox outbox(*this, now);
  up_.let_go(outbox);
}

std::optional<FlowId> UdpFlows::open(Instant now, const FlowKey& key, const IpPacket& packet) {
  const Endpoint& remote = key.remote;
  const Meaning meaning = context_.admission.meaning_of(remote.address);
  if (meaning == Meaning::kMulticast) {
    context_.drops.add(Drop::kMulticast);
    return std::nullopt;
  }
  if (meaning == Meaning::kOurs) {
    answer_errno(now, key.guest, packet.packet, ECONNREFUSED);
    return std::nullopt;
  }
  if (!context_.load.may_begin(remote.address, now)) {
    context_.drops.add(Drop::kDestinationRate);
    return std::nullopt;
  }
  if (meaning == Meaning::kName) return open_named(now, key, packet);
  const Judgement judgement = context_.admission.judge(now, Protocol::kUdp, key.guest, remote);
  // Behind an address that names share QUIC would hide which of them is meant.
  if (judgement.request.name != nullptr && remote.port == kQuicPort) {
    answer_errno(now, key.guest, packet.packet, ECONNREFUSED);
    return std::nullopt;
  }
  if (!judgement.allowed) {
    refuse_datagram(now, context_, judgement, packet.packet);
    return std::nullopt;
  }
  if (context_.introductions.hold(now, judgement.request)) return std::nullopt;
  if (!may_open(now, context_, *judgement.allowed, packet.packet)) return std::nullopt;
  const MappingKey mapping_key{.guest = key.guest};
  if (!make_room(now, !mappings_.find(mapping_key))) return std::nullopt;
  const IoResult<FlowId> mapping = mapping_for(now, mapping_key, key.guest.address.family());
  if (!mapping) {
    answer_errno(now, key.guest, packet.packet, mapping.error().value);
    return std::nullopt;
  }
  const std::uint8_t list = list_for(remote.port);
  const std::optional<FlowId> id = flows_.insert(key, list, now);
  if (!id) return std::nullopt;
  if (judgement.verdict.action != Action::kAllow) context_.refusals.report(judgement);
  Flow& flow = *flows_.get(*id);
  flow.destination = judgement.allowed;
  flow.mapping = *mapping;
  flow.list = list;
  flow.id = ++last_id_;
  join(context_, *flow.destination, flow.meter);
  ++mappings_.get(*mapping)->flows;
  report(*id, std::nullopt);
  return id;
}

IoResult<FlowId> UdpFlows::mapping_for(Instant now, const MappingKey& key, Family family) {
  if (const std::optional<FlowId> known = mappings_.find(key)) return *known;
  // make_room() was asked before.
  const std::optional<FlowId> id = mappings_.insert(key, 0, now);
  if (!CORDON_INVARIANT(id.has_value())) return std::unexpected(Errno{ENOBUFS});
  const IoResult<SocketHandle> socket = open_socket(*id, family);
  if (!socket) {
    mappings_.erase(*id);
    return std::unexpected(socket.error());
  }
  mappings_.get(*id)->socket = *socket;
  return *id;
}

IoResult<SocketHandle> UdpFlows::open_socket(FlowId mapping, Family family) {
  return context_.host.open_udp(family, owner_of(OwnerKind::kUdp, mapping));
}

bool UdpFlows::measure_payload(Instant now, FlowId id, Way way, Bytes& payload, std::size_t segment,
                               Bytes offending) {
  const Measured measured =
      count_datagram(now, context_, *flows_.get(id), way, payload.size(), segment, offending);
  payload = payload.first(measured.octets);
  return measured.passes;
}

std::optional<FlowId> UdpFlows::open_published(Instant now, const FlowKey& key,
                                               const ReceivedDatagram& datagram,
                                               std::size_t published) {
  Arrival arrival{.client = datagram.peer, .sources = published_[published].sources};
  if (datagram.to) arrival.local = datagram.to->address;
  const Judgement judgement = context_.admission.judge_arrival(Protocol::kUdp, key.guest, arrival);
  if (!judgement.allowed) {
    context_.refusals.refuse(now, judgement, {});
    return std::nullopt;
  }
  if (!may_open(now, context_, *judgement.allowed, {}) || !make_room(now, false))
    return std::nullopt;
  const std::optional<FlowId> id = flows_.insert(key, kListNormal, now);
  if (!id) return std::nullopt;
  Flow& flow = *flows_.get(*id);
  flow.destination = judgement.allowed;
  flow.published = static_cast<std::int32_t>(published);
  flow.id = ++last_id_;
  join(context_, *flow.destination, flow.meter);
  report(*id, std::nullopt);
  return id;
}

bool UdpFlows::make_room(Instant now, bool needs_mapping) {
  const auto has_room = [&] {
    return flows_.size() < flows_.capacity() &&
           (!needs_mapping || mappings_.size() < mappings_.capacity());
  };
  // A mapping is free when the last of its flows has gone.
  while (!has_room()) {
    const std::optional<FlowId> idle = idle_flow(now);
    if (!idle) {
      context_.drops.add(Drop::kFlowLimit);
      return false;
    }
    end(*idle, FlowEnd::kTimedOut);
  }
  return true;
}

std::optional<FlowId> UdpFlows::idle_flow(Instant now) const {
  for (const std::uint8_t list : {kListWellKnown, kListNormal}) {
    const std::optional<FlowId> oldest = flows_.oldest(list);
    if (oldest && now - flows_.used_at(*oldest) >= kMinIdle) return oldest;
  }
  return std::nullopt;
}

SocketHandle UdpFlows::socket_of(const Flow& flow) {
  if (flow.published >= 0) return published_[static_cast<std::size_t>(flow.published)].socket;
  const Mapping* const mapping = mappings_.get(flow.mapping);
  return CORDON_INVARIANT(mapping != nullptr) ? mapping->socket : SocketHandle{};
}

void UdpFlows::send_up(Instant now, const DatagramTrain& train) {
  const int error = transmit(now, train);
  // One that is too big has been told of by the error queue, with the path's MTU.
  if (error == 0 || error == EMSGSIZE) return;
  const FlowKey key = flows_.key_of(train.flow);
  std::array<std::uint8_t, kQuotedDatagram> offending{};
  const std::size_t size = write_quoted_datagram(offending, key, train.parts[0]);
  answer_errno(now, key.guest, Bytes(offending).first(size), error);
}

int UdpFlows::transmit(Instant now, const DatagramTrain& train) {
  Flow* const flow = flows_.get(train.flow);
  // Gone since: its place was needed for a flow that came behind it.
  if (flow == nullptr || !flow->destination) return 0;
  const std::uint16_t segment = train.fields.segment_size;
  if (segment != 0 && flow->refused_train != 0 && segment >= flow->refused_train) {
    send_one_by_one(now, train);
    return 0;
  }
  const IoStatus sent = try_send(now, train);
  if (sent) {
    flow->octets_up += octets_of(train);
    return 0;
  }
  if (segment != 0 && is_no_train(sent.error().value)) {
    flow->refused_train = segment;
    send_one_by_one(now, train);
    return 0;
  }
  context_.drops.add(Drop::kHostError);
  return sent.error().value;
}

void UdpFlows::send_one_by_one(Instant now, const DatagramTrain& train) {
  const std::size_t segment = train.fields.segment_size;
  DatagramTrain single = train;
  single.fields.segment_size = 0;
  for (Bytes rest : train.parts) {
    while (!rest.empty()) {
      const Bytes datagram = rest.first(std::min(segment, rest.size()));
      single.parts = std::span(&datagram, 1);
      send_up(now, single);
      rest = rest.subspan(datagram.size());
    }
  }
}

IoStatus UdpFlows::try_send(Instant now, const DatagramTrain& train) {
  const Flow& flow = *flows_.get(train.flow);
  const SocketHandle socket = socket_of(flow);
  if (!socket.is_open()) return std::unexpected(Errno{EBADF});
  SendFields fields = train.fields;
  fields.from = flow.host_end;
  const IoStatus sent = context_.host.send(socket, *flow.destination, fields, train.parts);
  if (sent) return sent;
  // The kernel reports an earlier datagram's ICMP error on the next call (udp(7)): the error queue
  // says whose it was, and this datagram is tried once more.
  const FlowKey key = flows_.key_of(train.flow);
  const bool is_published = flow.published >= 0;
  const SocketOwner owner = is_published
                                ? SocketOwner{.kind = OwnerKind::kPublished,
                                              .index = static_cast<std::uint32_t>(flow.published)}
                                : SocketOwner{.kind = OwnerKind::kUdp};
  Inbox inbox(*this, now, owner,
              is_published ? MappingKey{.guest = key.guest} : mappings_.key_of(flow.mapping));
  context_.host.receive_errors(socket, inbox);
  const bool is_train = train.fields.segment_size != 0;
  const int error = sent.error().value;
  if (error == EMSGSIZE || (is_train && is_no_train(error))) return sent;
  return context_.host.send(socket, *flow.destination, fields, train.parts);
}

void UdpFlows::answer_errno(Instant now, const Endpoint& guest, Bytes offending, int error) {
  const bool has_no_family = error == EADDRNOTAVAIL && guest.address.is_v6();
  if (is_out_of_resources(error) && !has_no_family) {
    context_.drops.add(Drop::kNoHostResource);
    if (error != EAGAIN) context_.events.notice(Notice::kNoHostResource, error);
    return;
  }
  const std::optional<IcmpError> icmp =
      has_no_family ? IcmpError::kNetUnreachable : icmp_for_errno(error);
  if (!icmp) return;
  context_.link.send_icmp_error(
      now,
      IcmpErrorFields{.source = context_.admission.link(guest.address.family()).gateway,
                      .destination = guest.address,
                      .error = *icmp},
      offending);
}

bool UdpFlows::on_socket(Instant now, const SocketOwner& owner, const Readiness& readiness) {
  SocketHandle socket;
  MappingKey key;
  if (owner.kind == OwnerKind::kPublished) {
    if (owner.index >= published_.size()) return false;
    socket = published_[owner.index].socket;
    key.guest.port = published_[owner.index].guest_port;
  } else {
    const FlowId id{.index = owner.index, .generation = owner.generation};
    const Mapping* const mapping = mappings_.get(id);
    if (mapping == nullptr) return false;
    socket = mapping->socket;
    key = mappings_.key_of(id);
  }
  Inbox inbox(*this, now, owner, key);
  // Errors first: a datagram that is waiting may be the answer to what was sent again after one.
  if (readiness.has_error) context_.host.receive_errors(socket, inbox);
  const bool has_more = context_.host.receive(socket, kReceiveBudget, inbox);
  inbox.deliver_gathered();
  if (key.name == Endpoint{}) return has_more;
  const std::optional<FlowId> named = flows_.find(FlowKey{.guest = key.guest, .remote = key.name});
  if (named) trials_.settle(now, flows_.get(*named)->trial, *named);
  return has_more;
}

void UdpFlows::deliver(const DatagramTrain& train) {
  Flow* const flow = flows_.get(train.flow);
  if (flow == nullptr) return;
  const FlowKey& key = flows_.key_of(train.flow);
  flow->octets_down += octets_of(train);
  context_.link.send_udp(IpHeaderFields{.source = key.remote.address,
                                        .destination = key.guest.address,
                                        .protocol = IpProtocol::kUdp,
                                        .traffic_class = train.fields.traffic_class,
                                        .has_dont_fragment = false},
                         key.remote.port, key.guest.port, train.parts, train.fields.segment_size);
}

void UdpFlows::deliver_error(Instant now, const FlowKey& key, const DatagramError& error) {
  std::array<std::uint8_t, kQuotedDatagram> offending{};
  const std::size_t size = write_quoted_datagram(offending, key, error.payload);
  show_host_error(now, context_, key.guest.address, error, Bytes(offending).first(size));
}

Instant UdpFlows::next_deadline() const {
  return std::min(flows_.deadline(kListNormal, kUdpIdle),
                  flows_.deadline(kListWellKnown, kUdpWellKnownIdle));
}

void UdpFlows::on_deadline(Instant now) {
  constexpr int kSweep = 256;
  for (int i = 0; i < kSweep && flows_.deadline(kListNormal, kUdpIdle) <= now; ++i) {
    end(*flows_.oldest(kListNormal), FlowEnd::kTimedOut);
  }
  for (int i = 0; i < kSweep && flows_.deadline(kListWellKnown, kUdpWellKnownIdle) <= now; ++i) {
    end(*flows_.oldest(kListWellKnown), FlowEnd::kTimedOut);
  }
}

void UdpFlows::end(FlowId id, FlowEnd how) {
  leave(context_, flows_.get(id)->meter);
  const Flow flow = *flows_.get(id);
  if (!flow.destination || !flow.trial.is_none()) end_trial(id);
  // Still looked up: nobody has heard of it, and it holds no socket.
  if (!flow.destination) return flows_.erase(id);
  report(id, how);
  flows_.erase(id);
  if (flow.published >= 0) return;
  Mapping* const mapping = mappings_.get(flow.mapping);
  if (!CORDON_INVARIANT(mapping != nullptr && mapping->flows > 0)) return;
  if (--mapping->flows > 0) return;
  context_.host.close(mapping->socket);
  mappings_.erase(flow.mapping);
}

FlowReport UdpFlows::describe(FlowId id) {
  const Flow& flow = *flows_.get(id);
  FlowReport report{
      .id = flow.id, .request = flow.destination->request(), .rule = flow.destination->rule()};
  report.bytes_up = flow.octets_up;
  report.bytes_down = flow.octets_down;
  return report;
}

void UdpFlows::report(FlowId id, std::optional<FlowEnd> how) {
  if (!context_.config.reports_flows) return;
  FlowReport report = describe(id);
  report.end = how;
  context_.events.flow(report);
}

std::optional<std::uint32_t> UdpFlows::list(std::uint32_t cursor, std::size_t budget) {
  for (; budget > 0; --budget) {
    const std::optional<FlowId> id = flows_.next_from(cursor);
    if (!id) return std::nullopt;
    const bool is_known = flows_.get(*id)->destination.has_value();
    if (is_known && !context_.events.listed(describe(*id))) break;
    cursor = id->index + 1;
  }
  return cursor;
}

std::optional<std::uint32_t> UdpFlows::rejudge(Instant now, std::uint32_t cursor,
                                               std::size_t budget) {
  for (; budget > 0; --budget) {
    const std::optional<FlowId> id = flows_.next_from(cursor);
    if (!id) return std::nullopt;
    cursor = id->index + 1;
    const FlowKey& key = flows_.key_of(*id);
    Flow& flow = *flows_.get(*id);
    flow.refused_train = 0;           // The way may be another one.
    if (!flow.destination) continue;  // Judged when its name has been looked up.
    const Judgement judgement = flow.published >= 0
                                    ? context_.admission.judge_inbound(Protocol::kUdp, key.guest,
                                                                       flow.destination->endpoint())
                                    : context_.admission.rejudge(now, flow.destination->request());
    if (!may_live_on(now, context_, judgement, flow)) end(*id, FlowEnd::kRevoked);
  }
  return cursor;
}

}  // namespace cordon
