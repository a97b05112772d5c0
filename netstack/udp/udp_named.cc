// Flows by name: the look-up, the first address, and those that are turned to after it.
#include <cerrno>
#include <utility>

#include "netstack/udp/quoted_datagram.h"
#include "netstack/udp/udp_flows.h"

namespace cordon {

std::optional<FlowId> UdpFlows::open_named(Instant now, const FlowKey& key,
                                           const IpPacket& packet) {
  const Judgement judgement = context_.admission.judge_name(Protocol::kUdp, key.guest, key.remote);
  const bool is_quic = key.remote.port == kQuicPort && judgement.request.name != nullptr;
  // A rule for the name that says udp means it.
  if (is_quic && context_.config.names.quic == NameSettings::Quic::kReject &&
      !context_.config.policy.is_allowed_by_name(judgement.request)) {
    answer_errno(now, key.guest, packet.packet, ECONNREFUSED);
    return std::nullopt;
  }
  if (!context_.admission.may_resolve(judgement.verdict)) {
    refuse_datagram(now, context_, judgement, packet.packet);
    return std::nullopt;
  }
  if (context_.introductions.hold(now, judgement.request)) return std::nullopt;
  if (!make_room(now, true)) return std::nullopt;
  const std::uint8_t list = list_for(key.remote.port);
  const std::optional<FlowId> id = flows_.insert(key, list, now);
  if (!id) return std::nullopt;
  Flow& flow = *flows_.get(*id);
  flow.list = list;
  flow.id = ++last_id_;
  flow.is_answered = judgement.request.is_answered;
  const Family preferred = key.guest.address.family();
  if (lookups_.begin(now, Waits::kUdp, *id, *judgement.request.name, preferred)) return id;
  flows_.erase(*id);
  context_.drops.add(Drop::kAwaitsName);
  return std::nullopt;
}

void UdpFlows::on_lookup(Instant now, FlowId id, const LookupAnswer& answer) {
  Flow* const flow = flows_.get(id);
  if (flow == nullptr) return;
  if (flow->destination) {
    return trials_.add_other(now, flow->trial, id, answer.found.all());
  }
  const FlowKey key = flows_.key_of(id);
  const NamedOutcome outcome =
      choose_address(context_, Protocol::kUdp, key, *flow, answer.found.all());
  if (outcome.state == NamedChoice::State::kOpen) return;
  if (outcome.state == NamedChoice::State::kChosen) {
    return begin_named(now, id, outcome, answer.found.all());
  }
  std::array<std::uint8_t, kQuotedDatagram> out{};
  const Bytes offending = Bytes(out).first(quote_held(id, out));
  end(id, FlowEnd::kUnreachable);
  if (outcome.state == NamedChoice::State::kDenied) {
    return refuse_datagram(now, context_, outcome.judgement, offending);
  }
  answer_errno(now, key.guest, offending, EHOSTUNREACH);
}

std::size_t UdpFlows::quote_held(FlowId id, MutableBytes out) {
  const HeldDatagrams::Datagram* const first = trials_.held().first(id);
  return write_quoted_datagram(out, flows_.key_of(id),
                               first == nullptr ? Bytes() : first->payload());
}

void UdpFlows::begin_named(Instant now, FlowId id, const NamedOutcome& outcome,
                           std::span<const IpAddress> addresses) {
  const Judgement& judgement = outcome.judgement;
  if (judgement.verdict.action != Action::kAllow) context_.refusals.report(judgement);
  std::array<std::uint8_t, kQuotedDatagram> offending{};
  const std::size_t size = quote_held(id, offending);
  if (!may_open(now, context_, *judgement.allowed, Bytes(offending).first(size))) {
    return end(id, FlowEnd::kRevoked);
  }
  Flow& flow = *flows_.get(id);
  const bool awaits_other = flow.choice.awaits_other();
  const IpAddress& chosen = judgement.request.dialled.address;
  flow.trial = trials_.begin(id, outcome.by_name, chosen, addresses, awaits_other);
  if (!awaits_other) lookups_.cancel(Waits::kUdp, id);
  const int error = turn_to(now, id, *judgement.allowed);
  // Making room took the flow itself where nothing else was idle.
  if (is_alive(id)) trials_.go_on(now, flow.trial, id, error);
}

int UdpFlows::turn_to(Instant now, FlowId id, const AllowedDestination& destination) {
  const Family family = destination.endpoint().address.family();
  if (!flows_.get(id)->destination) {
    const FlowKey key = flows_.key_of(id);
    if (!make_room(now, true) || !is_alive(id)) return ENOBUFS;
    const IoResult<FlowId> mapping =
        mapping_for(now, MappingKey{.guest = key.guest, .name = key.remote}, family);
    if (!mapping) return mapping.error().value;
    Flow& flow = *flows_.get(id);
    flow.destination = destination;
    flow.mapping = *mapping;
    join(context_, destination, flow.meter);
    ++mappings_.get(*mapping)->flows;
    report(id, std::nullopt);
    return 0;
  }
  Flow& flow = *flows_.get(id);
  if (flow.destination->endpoint().address.family() != family) {
    const IoResult<SocketHandle> socket = open_socket(flow.mapping, family);
    if (!socket) return socket.error().value;
    Mapping& mapping = *mappings_.get(flow.mapping);
    context_.host.close(mapping.socket);
    mapping.socket = *socket;
  }
  flow.destination = destination;
  renew(context_, destination, flow.meter);
  return 0;
}

void UdpFlows::send_or_hold(Instant now, FlowId id, const SendFields& fields, Bytes payload,
                            Bytes offending) {
  const Flow& flow = *flows_.get(id);
  const NamedTrials::Place trial = flow.trial;
  const bool may_send = flow.destination && !trials_.is_waiting(trial, id);
  const bool is_held = trials_.held().hold(id, fields, payload);
  if (may_send && is_held) return trials_.go_on(now, trial, id, 0);
  if (!is_held && !may_send) context_.drops.add(Drop::kAwaitsName);
  if (is_held || !may_send) return;
  if (!measure_payload(now, id, Way::kUp, payload, fields.segment_size, offending)) return;
  flows_.touch(id, flow.list, now);
  send_up(now, {.flow = id, .fields = fields, .parts = std::span(&payload, 1)});
  trials_.settle(now, trial, id);
}

int UdpFlows::send_held(Instant now, FlowId id, HeldDatagrams::Datagram& datagram) {
  std::array<std::uint8_t, kQuotedDatagram> offending{};
  Bytes payload = datagram.payload();
  const FlowKey key = flows_.key_of(id);
  const std::size_t size = write_quoted_datagram(offending, key, payload);
  const Bytes quoted = Bytes(offending).first(size);
  const bool is_again = std::exchange(datagram.is_counted, true);
  const std::size_t segment = datagram.fields.segment_size;
  if (!is_again && !measure_payload(now, id, Way::kUp, payload, segment, quoted)) {
    HeldDatagrams::drop(datagram);
    return 0;
  }
  datagram.size = payload.size();
  flows_.touch(id, flows_.get(id)->list, now);
  const int error =
      transmit(now, {.flow = id, .fields = datagram.fields, .parts = std::span(&payload, 1)});
  if (is_out_of_reach(error, flows_.get(id)->destination->endpoint().address.family())) {
    return error;
  }
  if (error != 0 && error != EMSGSIZE) answer_errno(now, key.guest, quoted, error);
  return 0;
}

void UdpFlows::give_up(Instant now, FlowId id, int error) {
  std::array<std::uint8_t, kQuotedDatagram> offending{};
  const std::size_t size = quote_held(id, offending);
  const Endpoint guest = flows_.key_of(id).guest;
  const bool is_used = flows_.get(id)->destination.has_value();
  end_trial(id);
  if (!is_used) end(id, FlowEnd::kUnreachable);
  // For want of an address of its family, as is_out_of_reach() knows.
  if (error == EADDRNOTAVAIL) error = ENETUNREACH;
  answer_errno(now, guest, Bytes(offending).first(size), error);
}

void UdpFlows::end_trial(FlowId id) {
  trials_.end(std::exchange(flows_.get(id)->trial, {}), id);
  lookups_.cancel(Waits::kUdp, id);
}

}  // namespace cordon
