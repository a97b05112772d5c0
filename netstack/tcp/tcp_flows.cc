// From the SYN to the stream; what comes after is in tcp_streams.cc.
#include "netstack/tcp/tcp_flows.h"

#include <algorithm>
#include <cerrno>
#include <limits>

#include "netstack/tcp/stream_rules.h"

namespace cordon {
namespace {

// A dial this young is not given up for a newer one (reliability: eviction).
constexpr Duration kHalfOpenMinAge = std::chrono::milliseconds(500);
// How long a connected flow waits for a fresh socket from the guest side, and how often.
constexpr Duration kSocketRetry = std::chrono::milliseconds(2);
constexpr std::uint8_t kSocketTries = 250;
constexpr std::uint8_t kSocketTriesOnError = 2;

// The part of the flows that is left for new ones while there are relays for streams that rest.
constexpr std::size_t kSlack = 8;

// Tries at other ports for a client whose four-tuple is taken inside.
constexpr int kClientPortTries = 8;

}  // namespace

TcpFlows::TcpFlows(const FlowContext& context, NameLookups& lookups, Resolver& resolver,
                   TcpCapacity capacity)
    : context_(context),
      bulk_(context.config.shares_bulk_out ? kBulkStream
                                           : std::numeric_limits<std::uint64_t>::max()),
      table_(capacity.flows, SipKey{context.entropy.next(), context.entropy.next()}),
      max_held_(capacity.held),
      max_half_open_(std::min(kMaxHalfOpen, std::max<std::size_t>(capacity.held / 4, 1))),
      named_(context, lookups, max_half_open_),
      dns_(context, resolver),
      sequence_key_{context.entropy.next(), context.entropy.next()} {
  lookups.serve(Waits::kTcp, *this);
  resolver.stream_answers_go_to(*this);
  ready_.reserve(capacity.flows);
  pumping_.reserve(capacity.flows);
  paced_.reserve(capacity.flows);
  seen_.resize(kLongestFirstFlight);
}

void TcpFlows::on_segment(Instant now, const IpPacket& packet, const TcpSegment& segment) {
  if (!segment.flags.syn || segment.flags.ack) {
    context_.drops.add(Drop::kTcpNotSyn);
    if (!steering_.take(now)) return;
    context_.events.notice(Notice::kSteeringLost, 0);
    return context_.guest.restore_steering();
  }
  const FlowKey key{.guest = {.address = packet.source, .port = segment.source_port},
                    .remote = {.address = packet.destination, .port = segment.destination_port}};
  const std::optional<FlowId> known = table_.find(key);
  if (known && on_repeated_syn(now, *known, segment)) return;
  open(now, key, segment);
}

bool TcpFlows::on_repeated_syn(Instant now, FlowId id, const TcpSegment& segment) {
  const Flow& flow = *table_.get(id);
  const bool is_same = flow.direction == Direction::kOutbound && flow.syn.irs == segment.seq;
  if (!is_same) {
    end(id, FlowEnd::kReset);
    return false;
  }
  if (flow.state == State::kStream || flow.state == State::kDns || flow.state == State::kRelayed) {
    send_syn_ack(table_.key_of(id), flow.syn);
  } else if (flow.state == State::kConnected) {
    adopt(now, id);
  }
  return true;
}

void TcpFlows::open(Instant now, const FlowKey& key, const TcpSegment& segment) {
  const Endpoint& remote = key.remote;
  const Meaning meaning = context_.admission.meaning_of(remote.address);
  if (meaning == Meaning::kMulticast) return context_.drops.add(Drop::kMulticast);
  const bool is_dns = remote.port == kDnsPort;
  const bool is_for_nobody = is_dns ? context_.admission.name_mode() == NameSettings::Mode::kOff
                                    : meaning == Meaning::kOurs;
  if (is_for_nobody) return answer_errno(now, key, segment.seq, ECONNREFUSED);
  if (!context_.load.may_begin(remote.address, now)) {
    return context_.drops.add(Drop::kDestinationRate);
  }
  if (is_dns) return open_dns(now, key, segment);
  if (meaning == Meaning::kName) return open_named(now, key, segment);
  const Judgement judgement = context_.admission.judge(now, Protocol::kTcp, key.guest, remote);
  if (!judgement.allowed) return refuse(now, key, segment.seq, judgement);
  if (context_.introductions.hold(now, judgement.request)) return;
  const std::optional<FlowId> id = insert_dialling(now, key, segment);
  if (!id) return;
  if (judgement.verdict.action != Action::kAllow) context_.refusals.report(judgement);
  dial(now, *id, *judgement.allowed);
}

void TcpFlows::open_named(Instant now, const FlowKey& key, const TcpSegment& segment) {
  const Judgement judgement = context_.admission.judge_name(Protocol::kTcp, key.guest, key.remote);
  if (!context_.admission.may_resolve(judgement.verdict)) {
    return refuse(now, key, segment.seq, judgement);
  }
  if (context_.introductions.hold(now, judgement.request)) return;
  const std::optional<FlowId> id = insert_dialling(now, key, segment);
  if (!id) return;
  table_.get(*id)->is_named = true;
  table_.get(*id)->is_answered = judgement.request.is_answered;
  if (named_.begin(now, *id, judgement.request)) return;
  // The guest repeats its SYN; by then there may be room, or an upstream.
  end(*id, FlowEnd::kUnreachable);
  context_.drops.add(Drop::kHalfOpenLimit);
}

std::optional<FlowId> TcpFlows::insert_dialling(Instant now, const FlowKey& key,
                                                const TcpSegment& segment) {
  if (!has_room_to_dial(now, key.remote.address)) return std::nullopt;
  const std::optional<FlowId> id = insert(now, key, segment, kListDialling);
  if (id) context_.load.dial_began(key.remote.address);
  return id;
}

std::optional<FlowId> TcpFlows::insert(Instant now, const FlowKey& key, const TcpSegment& segment,
                                       List list) {
  const std::optional<FlowId> id = table_.insert(key, list, now);
  if (!id) {
    context_.drops.add(Drop::kFlowLimit);
    return std::nullopt;
  }
  Flow& flow = *table_.get(*id);
  flow.id = ++last_id_;
  flow.syn = SynRecord{.irs = segment.seq,
                       .iss = initial_sequence(sequence_key_, key, now),
                       .window = segment.window,
                       .options = parse_syn_options(segment.options)};
  return id;
}

void TcpFlows::on_lookup(Instant now, FlowId id, const LookupAnswer& answer) {
  named_.on_lookup(now, id, answer);
  settle_named(now);
}

// What the dials by name have come to.
void TcpFlows::settle_named(Instant now) {
  while (const std::optional<FinishedDial> dial = named_.take_finished()) {
    named_dial_ended(now, *dial);
  }
}

void TcpFlows::named_dial_ended(Instant now, const FinishedDial& dial) {
  Flow* const flow = table_.get(dial.flow);
  if (!CORDON_INVARIANT(flow != nullptr && flow->state == State::kDialling)) return;
  flow->is_named = false;
  flow->stream.host = dial.socket;
  if (dial.judgement && !dial.judgement->allowed) return revoke(now, dial.flow, *dial.judgement);
  if (!dial.socket.is_open()) return dial_failed(now, dial.flow, dial.error);
  flow->destination = dial.judgement->allowed;
  if (!join_budget(now, dial.flow)) return;
  if (dial.judgement->verdict.action != Action::kAllow) context_.refusals.report(*dial.judgement);
  const IoStatus owned = context_.host.own(dial.socket, owner_of(OwnerKind::kTcpHost, dial.flow));
  if (!owned) return dial_failed(now, dial.flow, owned.error().value);
  flow->stream.down.has_news = true;  // Its events came as those of an attempt.
  connected(now, dial.flow);
}

bool TcpFlows::has_room_to_dial(Instant now, const IpAddress& address) {
  const std::size_t dialling = table_.size_of(kListDialling);
  if (!context_.load.may_dial(address)) {
    context_.drops.add(Drop::kHalfOpenLimit);
    return false;
  }
  if (dialling >= max_half_open_) {
    const std::optional<FlowId> oldest = table_.oldest(kListDialling);
    if (!oldest || now - table_.used_at(*oldest) < kHalfOpenMinAge) {
      context_.drops.add(Drop::kHalfOpenLimit);
      return false;
    }
    end(*oldest, FlowEnd::kTimedOut);
  }
  if (make_room(now)) return true;
  context_.drops.add(Drop::kFlowLimit);
  context_.events.notice(Notice::kFlowLimit, 0);
  return false;
}

// A guest that listens and never accepts would fill the table with clients that wait (a quarter of
// it is theirs), and then dial nowhere itself.
bool TcpFlows::has_room_to_dial_guest(Instant now) {
  const std::size_t waiting =
      table_.size_of(kListGuestDialling) + table_.size_of(kListAwaitingSocket);
  if (waiting >= max_half_open_) {
    const std::optional<FlowId> oldest = table_.oldest(kListGuestDialling);
    if (!oldest || now - table_.used_at(*oldest) < kHalfOpenMinAge) return false;
    end(*oldest, FlowEnd::kTimedOut);
  }
  return make_room(now);
}

bool TcpFlows::make_room(Instant now) {
  // In time: a relay that is slow to take streams does not keep a new flow waiting.
  const bool is_nearly_full = held() >= max_held_ - max_held_ / kSlack;
  const bool has_descriptors = (is_nearly_full && hand_over_resting(now)) || held() < max_held_;
  if (has_descriptors && table_.size() < table_.capacity()) return true;
  struct Candidate {
    List list;
    Duration min_idle;
  };
  for (const Candidate& candidate :
       {Candidate{kListRefused, kHalfOpenMinAge}, Candidate{kListDialling, kHalfOpenMinAge},
        Candidate{kListGuestDialling, kHalfOpenMinAge}, Candidate{kListHalfClosed, kTcpTransitory},
        Candidate{kListStays, kTcpEstablishedMinIdle},
        Candidate{kListStream, kTcpEstablishedMinIdle}}) {
    const std::optional<FlowId> oldest = table_.oldest(candidate.list);
    if (!oldest || now - table_.used_at(*oldest) < candidate.min_idle) continue;
    end(*oldest, FlowEnd::kTimedOut);
    return true;
  }
  return end_idle_relayed(now) && has_descriptors;
}

void TcpFlows::dial(Instant now, FlowId id, const AllowedDestination& destination) {
  Flow& flow = *table_.get(id);
  flow.destination = destination;
  if (!join_budget(now, id)) return;
  const IoResult<SocketHandle> socket =
      context_.host.dial(destination, owner_of(OwnerKind::kTcpHost, id));
  if (!socket) return dial_failed(now, id, socket.error().value);
  flow.stream.host = *socket;
}

void TcpFlows::dial_failed(Instant now, FlowId id, int error) {
  const FlowKey key = table_.key_of(id);
  const Seq irs = table_.get(id)->syn.irs;
  end(id, error == ECONNREFUSED ? FlowEnd::kRefused : FlowEnd::kUnreachable);
  answer_errno(now, key, irs, error);
}

void TcpFlows::answer_errno(Instant now, const FlowKey& key, Seq irs, int error) {
  std::array<std::uint8_t, 128> packet{};
  // A refused connect() and a reset look the same to the guest; ETIMEDOUT is left to its own timer.
  if (error == ECONNREFUSED || error == ECONNRESET) {
    context_.link.send_packet(Bytes(packet).first(write_refusal(packet, key, irs)));
    return;
  }
  // A host without IPv6 says EADDRNOTAVAIL: it has no address to dial from (not: no port left).
  const bool has_no_family = error == EADDRNOTAVAIL && key.remote.address.is_v6();
  if (is_out_of_resources(error) && !has_no_family) {
    context_.drops.add(Drop::kNoHostResource);
    context_.events.notice(Notice::kNoHostResource, error);
    return;
  }
  const std::optional<IcmpError> icmp =
      has_no_family ? IcmpError::kNetUnreachable : icmp_for_errno(error);
  if (!icmp) return;
  const std::size_t size = write_quoted_syn(packet, key, irs);
  context_.link.send_icmp_error(
      now,
      IcmpErrorFields{.source = context_.admission.link(key.guest.address.family()).gateway,
                      .destination = key.guest.address,
                      .error = *icmp},
      Bytes(packet).first(size));
}

void TcpFlows::refuse(Instant now, const FlowKey& key, Seq irs, const Judgement& judgement) {
  std::array<std::uint8_t, 128> packet{};
  const std::size_t size = write_refusal(packet, key, irs);
  context_.refusals.refuse(now, judgement, Bytes(packet).first(size));
}

void TcpFlows::on_connected(Instant now, FlowId id) {
  // The FIB again: an address that became the host's own while the dial was under way counts.
  const Judgement judgement =
      context_.admission.judge_again(table_.get(id)->destination->request());
  if (!judgement.allowed) return revoke(now, id, judgement);
  connected(now, id);
}

void TcpFlows::connected(Instant now, FlowId id) {
  context_.load.dial_ended(table_.key_of(id).remote.address);
  table_.get(id)->state = State::kConnected;
  adopt(now, id);
}

void TcpFlows::adopt(Instant now, FlowId id) {
  Flow& flow = *table_.get(id);
  const FlowKey key = table_.key_of(id);
  const IoResult<SocketHandle> guest = context_.guest.adopt(adoption_of(key, flow.syn));
  if (!guest) return adoption_failed(now, id, guest.error().value);
  flow.stream.guest = *guest;
  // Before any octet can come from the new socket: a guest in SYN-SENT drops what is no SYN-ACK.
  send_syn_ack(key, flow.syn);
  // The guest is on its way with its first octets; all that follows is done meanwhile.
  const IoStatus owned = context_.guest.own(*guest, owner_of(OwnerKind::kTcpGuest, id));
  if (!owned) return end(id, FlowEnd::kReset);
  begin_stream(now, id);
}

// Whether the flow waits for its socket a little longer: the guest side refills the pool within
// microseconds, and any other failure deserves a second try.
bool TcpFlows::may_await_socket(Instant now, FlowId id, int error) {
  Flow& flow = *table_.get(id);
  // EADDRNOTAVAIL: a relay may not have let go of the connection before this one yet.
  const bool is_soon = error == ENOBUFS || (error == EADDRNOTAVAIL && context_.relays != nullptr);
  if (++flow.socket_tries >= (is_soon ? kSocketTries : kSocketTriesOnError)) return false;
  table_.touch(id, kListAwaitingSocket, now);
  return true;
}

void TcpFlows::adoption_failed(Instant now, FlowId id, int error) {
  if (may_await_socket(now, id, error)) return;
  context_.events.notice(Notice::kAdoptionFailed, error);
  const FlowKey key = table_.key_of(id);
  const Seq irs = table_.get(id)->syn.irs;
  end(id, FlowEnd::kUnreachable);
  // Not a refusal by the remote, so never a reset that would look like one.
  answer_errno(now, key, irs, EHOSTUNREACH);
}

void TcpFlows::send_syn_ack(const FlowKey& key, const SynRecord& syn) {
  std::array<std::uint8_t, 128> packet{};
  const std::size_t size =
      write_syn_ack(packet, key, syn, context_.config.mtu, context_.guest.timestamp_now());
  context_.link.send_packet(Bytes(packet).first(size));
}

void TcpFlows::on_accepted(Instant now, const AcceptedStream& accepted, std::uint16_t guest_port,
                           std::span<const Prefix> sources) {
  FlowKey key{.guest = {.address = context_.admission.guest_for(accepted.client.address),
                        .port = guest_port},
              .remote = context_.admission.present_client(accepted.client)};
  const Judgement judgement = context_.admission.judge_arrival(
      Protocol::kTcp, key.guest,
      {.client = accepted.client, .local = accepted.local.address, .sources = sources});
  if (!judgement.allowed) {
    context_.refusals.refuse(now, judgement, {});
    return context_.streams.reset(accepted.socket);
  }
  // Two clients may be one inside: of two published ports that lead to one, or on the loopback.
  for (int i = 0; i < kClientPortTries && table_.find(key); ++i) key.remote.port = other_port();
  const bool has_room = !table_.find(key) && has_room_to_dial_guest(now);
  const std::optional<FlowId> id =
      has_room ? table_.insert(key, kListGuestDialling, now) : std::nullopt;
  if (!id) {
    context_.drops.add(Drop::kFlowLimit);
    return context_.streams.reset(accepted.socket);
  }
  Flow& flow = *table_.get(*id);
  flow.id = ++last_id_;
  flow.state = State::kGuestDialling;
  flow.direction = Direction::kInbound;
  flow.destination = judgement.allowed;
  flow.stream.host = accepted.socket;
  if (join_budget(now, *id)) dial_guest(now, *id);
}

void TcpFlows::dial_guest(Instant now, FlowId id) {
  IoResult<SocketHandle> guest = std::unexpected(Errno{EADDRNOTAVAIL});
  for (int i = 0; i < kClientPortTries; ++i) {
    const FlowKey& key = table_.key_of(id);
    Endpoint listener = key.guest;
    if (table_.get(id)->is_for_loopback) listener.address = loopback(listener.address.family());
    guest = context_.guest.dial(key.remote, listener, owner_of(OwnerKind::kTcpGuest, id));
    if (guest || guest.error().value != EADDRNOTAVAIL) break;
    // The true port first; another one only where it is taken inside.
    const std::optional<FlowId> moved = present_at_other_port(now, id);
    if (!moved) break;
    id = *moved;
  }
  if (guest) {
    table_.get(id)->stream.guest = *guest;
    table_.touch(id, kListGuestDialling, now);
    return;
  }
  if (may_await_socket(now, id, guest.error().value)) return;
  context_.events.notice(Notice::kAdoptionFailed, guest.error().value);
  end(id, FlowEnd::kUnreachable);
}

std::uint16_t TcpFlows::other_port() {
  // The dynamic range of RFC 6335.
  return static_cast<std::uint16_t>(49152 + context_.entropy.next() % 16384);
}

std::optional<FlowId> TcpFlows::present_at_other_port(Instant now, FlowId id) {
  FlowKey key = table_.key_of(id);
  key.remote.port = other_port();
  if (table_.find(key)) return std::nullopt;
  const Flow flow = *table_.get(id);
  table_.erase(id);
  const std::optional<FlowId> moved = table_.insert(key, kListGuestDialling, now);
  if (CORDON_INVARIANT(moved.has_value())) *table_.get(*moved) = flow;
  return moved;
}

void TcpFlows::guest_refused(Instant now, FlowId id, int error) {
  Flow& flow = *table_.get(id);
  const bool is_link_local = table_.key_of(id).guest.address.is_link_local();
  if (error != ECONNREFUSED || flow.is_for_loopback || is_link_local) {
    return end(id, FlowEnd::kRefused);  // the loopback is of no link-local client's scope
  }
  context_.streams.reset(flow.stream.guest);
  flow.stream.guest = {};
  flow.is_for_loopback = true;
  dial_guest(now, id);
}

void TcpFlows::begin_inbound(Instant now, FlowId id) {
  // Only now: what the client said and did before waits in its socket, and is no event for anybody.
  const SocketHandle host = table_.get(id)->stream.host;
  if (!context_.host.own(host, owner_of(OwnerKind::kTcpHost, id))) {
    return end(id, FlowEnd::kReset);
  }
  // A client speaks first as a rule, and has had the time.
  table_.get(id)->stream.down.has_news = true;
  begin_stream(now, id);
}

void TcpFlows::on_socket(Instant now, const SocketOwner& owner, const Readiness& readiness) {
  if (owner.kind == OwnerKind::kTcpAttempt) {
    named_.on_socket(now, owner, readiness);
    return settle_named(now);
  }
  const FlowId id{.index = owner.index, .generation = owner.generation};
  Flow* const flow = table_.get(id);
  if (flow == nullptr) return;
  const bool is_host = owner.kind == OwnerKind::kTcpHost;
  HalfStream& half = flow->stream.half(!is_host);
  half.has_news |= readiness.is_readable || readiness.has_error;
  take_notice(half, readiness);
  switch (flow->state) {
    case State::kDialling: {
      if (flow->is_named) return;  // Nothing of it is open: attempts have owners of their own.
      const IoStatus result = context_.host.dial_result(flow->stream.host, readiness);
      if (result) return on_connected(now, id);
      if (result.error().value != EINPROGRESS) dial_failed(now, id, result.error().value);
      return;
    }
    case State::kConnected:
      return;  // Waits for a socket of the guest side; its first pump sees what happened meanwhile.
    case State::kGuestDialling: {
      if (is_host) return;
      const IoStatus result = context_.guest.dial_result(flow->stream.guest, readiness);
      if (result) return begin_inbound(now, id);
      if (result.error().value != EINPROGRESS) guest_refused(now, id, result.error().value);
      return;
    }
    case State::kStream:
      return on_stream(now, id, is_host, readiness);
    case State::kRelayed:
      return;  // An event of the turn in which it was handed over; the relay sees for itself.
    case State::kRefused:
      return on_refused(now, id, is_host, readiness);
    case State::kDns:
      if (readiness.has_error) return end(id, FlowEnd::kReset);
      return pump_dns(now, id);
  }
}

Instant TcpFlows::next_deadline() const {
  Instant first = ready_.empty() ? kNever : Instant{};
  first = std::min(first, table_.deadline(kListDialling, kTcpDial));
  first = std::min(first, named_.next_deadline());
  first = std::min(first, table_.deadline(kListDns, kDnsStreamIdle));
  first = std::min(first, table_.deadline(kListAwaitingSocket, kSocketRetry));
  first = std::min(first, table_.deadline(kListGuestDialling, kInboundSyn));
  if (answers_used_ > 0) {
    for (const Answer& answer : answers_) first = std::min(first, answer.until);
  }
  first = std::min({first, paced_until_, table_.deadline(kListRefused, kTcpRefused)});
  first = std::min(first, table_.deadline(kListYoung, kTcpYoung));
  first = std::min(first, table_.deadline(kListRelayed, kRelayLook));
  first = std::min(first, table_.deadline(kListStream, kTcpEstablishedIdle));
  first = std::min(first, table_.deadline(kListStays, kTcpEstablishedIdle));
  return std::min(first, table_.deadline(kListHalfClosed, kTcpEstablishedIdle));
}

void TcpFlows::on_deadline(Instant now) {
  pump_queued(now);
  named_.on_deadline(now);
  settle_named(now);
  send_due_answers(now);
  // Each list at most kSweep flows a turn: after a long suspend everything is due at once.
  constexpr int kSweep = 256;
  const auto each_due = [&](List list, Duration timeout, auto&& act) {
    for (int i = 0; i < kSweep && table_.deadline(list, timeout) <= now; ++i) {
      act(*table_.oldest(list));
    }
  };
  each_due(kListDialling, kTcpDial, [&](FlowId id) { end(id, FlowEnd::kTimedOut); });
  each_due(kListDns, kDnsStreamIdle, [&](FlowId id) { close_dns(id); });
  each_due(kListAwaitingSocket, kSocketRetry, [&](FlowId id) {
    table_.get(id)->state == State::kGuestDialling ? dial_guest(now, id) : adopt(now, id);
  });
  each_due(kListGuestDialling, kInboundSyn, [&](FlowId id) { end(id, FlowEnd::kTimedOut); });
  each_due(kListRefused, kTcpRefused, [&](FlowId id) { end(id, FlowEnd::kRevoked); });
  each_due(kListYoung, kTcpYoung, [&](FlowId id) { settle(now, id); });
  each_due(kListRelayed, kRelayLook, [&](FlowId id) { look_at_relayed(now, id); });
  each_due(kListStream, kTcpEstablishedIdle, [&](FlowId id) { end(id, FlowEnd::kTimedOut); });
  each_due(kListStays, kTcpEstablishedIdle, [&](FlowId id) { end(id, FlowEnd::kTimedOut); });
  each_due(kListHalfClosed, kTcpEstablishedIdle, [&](FlowId id) { end(id, FlowEnd::kTimedOut); });
}

}  // namespace cordon
