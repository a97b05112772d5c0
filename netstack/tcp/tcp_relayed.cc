// Streams that a relay moves (seams/relays.h). Handed over is
//
//   what has turned bulk (kBulkStream), where there are processors to share it out to, so that
//   short exchanges pay nothing
//   what has rested longest, before descriptors for new flows run out: their limit is one of a
//   table, and each relay has its own (flow/descriptor_share.h). A stream is with its relay from
//   then on, whatever it says, so a flow that comes and goes pays for no more than one other
//
// and only if
//
//   nothing of it is left that is judged: its first flight is opaque both ways
//   no budget counts its octets or its time: those are exact because they are counted where the
//   octets move
//
// The flow stays in the table, without its sockets, and everything that ends flows ends it too. A
// new policy may give its rule a budget: then the stream comes back as it is, and goes on here; it
// ends where there is no room for it. Its octets count for budgets whenever they are looked at, and
// before limits change.
//
// What a relay moves between the order to end a stream and its doing so is in no report.
#include <utility>

#include "netstack/tcp/stream_rules.h"
#include "netstack/tcp/tcp_flows.h"

namespace cordon {
namespace {

// Flows that are looked at, in search of one that may give its place to a new one.
constexpr int kIdleLooks = 64;

}  // namespace

bool TcpFlows::is_for_relays(const Flow& flow) const {
  return flow.state == State::kStream && flow.flight.is_opaque() &&
         !context_.budgets.bounds_octets(flow.account);
}

bool TcpFlows::hand_over(Instant now, FlowId id, bool is_host, const Readiness& readiness) {
  Flow& flow = *table_.get(id);
  if (!is_for_relays(flow) || readiness.has_error || !context_.relays->has_room()) return false;
  // Pipes stay with us, so what one holds goes on first; where the other way waits too, later.
  if (moves_by_sink(flow.stream.half(is_host), readiness) &&
      flow.stream.half(!is_host).hold.octets == 0) {
    (void)pump_piece(now, id, is_host, 0);
    if (table_.get(id) == nullptr) return true;
  }
  if (flow.stream.up.hold.octets > 0 || flow.stream.down.hold.octets > 0) return false;
  if (!flow.is_settled) settle(now, id);
  flow.local = context_.host.local_endpoint(flow.stream.host);
  const std::optional<RelayPlace> place =
      context_.relays->hand_over(owner_of(OwnerKind::kTcpHost, id), flow.stream);
  if (!place) return false;
  flow.relay = *place;
  flow.state = State::kRelayed;
  flow.stream.guest = {};
  flow.stream.host = {};
  table_.touch(id, kListRelayed, now);
  return true;
}

// What is not for relays makes way for the next that may be, without a change of its age; the first
// thing it says brings it back.
bool TcpFlows::hand_over_resting(Instant now) {
  if (context_.relays == nullptr) return false;
  for (int i = 0; i < kIdleLooks && context_.relays->has_room(); ++i) {
    const std::optional<FlowId> settled = table_.oldest(kListStream);
    const std::optional<FlowId> oldest = settled ? settled : table_.oldest(kListYoung);
    if (!oldest) return false;
    const Stream& stream = table_.get(*oldest)->stream;
    const bool is_empty = stream.up.hold.octets + stream.down.hold.octets == 0;
    if (is_empty && is_for_relays(*table_.get(*oldest))) {
      return hand_over(now, *oldest, false, Readiness{});
    }
    settled ? table_.touch(*oldest, kListStays, table_.used_at(*oldest)) : settle(now, *oldest);
  }
  return false;
}

void TcpFlows::on_relayed(Instant now, const RelayNews& news) {
  const FlowId id{.index = news.owner.index, .generation = news.owner.generation};
  Flow* const flow = table_.get(id);
  Stream stream = news.stream;
  // The order to end it was under way.
  if (flow == nullptr || flow->state != State::kRelayed) {
    return reset_stream(context_.streams, stream);
  }
  // What a pipe holds was taken, and counts.
  count_relayed(*flow, stream.up.octets + stream.up.hold.octets,
                stream.down.octets + stream.down.hold.octets);
  flow->stream = stream;
  flow->state = State::kStream;
  if (std::exchange(flow->is_returning, false)) --returning_;
  switch (news.kind) {
    case RelayNews::Kind::kClosed:
      return end(id, FlowEnd::kClosed);
    case RelayNews::Kind::kReset:
      return end(id, FlowEnd::kReset);
    case RelayNews::Kind::kReturned:
      break;
  }
  table_.touch(id, stream.is_half_closed() ? kListHalfClosed : kListStream, now);
  const bool is_ours = context_.host.own(stream.host, owner_of(OwnerKind::kTcpHost, id)) &&
                       context_.guest.own(stream.guest, owner_of(OwnerKind::kTcpGuest, id));
  if (!is_ours) return end(id, FlowEnd::kReset);
  queue(id);
}

void TcpFlows::take_back(Instant now, FlowId id) {
  Flow& flow = *table_.get(id);
  if (flow.is_returning) return;
  if (held() >= max_held_ && !hand_over_resting(now)) {
    context_.events.notice(Notice::kFlowLimit, 0);
    return end(id, FlowEnd::kReset);
  }
  flow.is_returning = true;
  ++returning_;
  context_.relays->take_back(flow.relay);
}

void TcpFlows::end_relayed(FlowId id) {
  context_.relays->end(table_.get(id)->relay);
  count_relayed(id);
}

void TcpFlows::count_relayed(FlowId id) {
  Flow& flow = *table_.get(id);
  const RelayCounts counts = context_.relays->counts(flow.relay);
  count_relayed(flow, counts.up, counts.down);
}

void TcpFlows::count_relayed(Flow& flow, std::uint64_t up, std::uint64_t down) {
  if (flow.is_counted) {
    context_.budgets.spend(flow.account, Way::kUp, up - flow.stream.up.octets);
    context_.budgets.spend(flow.account, Way::kDown, down - flow.stream.down.octets);
  }
  flow.stream.up.octets = up;
  flow.stream.down.octets = down;
}

void TcpFlows::count_all_relayed() {
  if (table_.size_of(kListRelayed) == 0) return;
  for (std::optional<FlowId> id = table_.next_from(0); id; id = table_.next_from(id->index + 1)) {
    if (table_.get(*id)->state == State::kRelayed) count_relayed(*id);
  }
}

void TcpFlows::look_at_relayed(Instant now, FlowId id) {
  count_relayed(id);
  const RelayCounts counts = context_.relays->counts(table_.get(id)->relay);
  if (now - counts.moved >= kTcpEstablishedIdle) return end(id, FlowEnd::kTimedOut);
  table_.touch(id, kListRelayed, now);
}

bool TcpFlows::end_idle_relayed(Instant now) {
  for (int i = 0; i < kIdleLooks; ++i) {
    const std::optional<FlowId> oldest = table_.oldest(kListRelayed);
    if (!oldest) return false;
    const RelayCounts counts = context_.relays->counts(table_.get(*oldest)->relay);
    const Duration min_idle = counts.is_half_closed ? kTcpTransitory : kTcpEstablishedMinIdle;
    if (now - counts.moved >= min_idle) {
      end(*oldest, FlowEnd::kTimedOut);
      return true;
    }
    table_.touch(*oldest, kListRelayed, now);
  }
  return false;
}

std::optional<Endpoint> TcpFlows::local_of(const Flow& flow) const {
  return flow.state == State::kRelayed ? flow.local
                                       : context_.host.local_endpoint(flow.stream.host);
}

}  // namespace cordon
