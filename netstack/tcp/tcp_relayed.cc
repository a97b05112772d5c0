// Streams that a relay moves (seams/relays.h). Handed over is what
//
//   has turned bulk (kBulkStream), so that short exchanges pay nothing,
//   has nothing left that is judged: its first flight is opaque both ways, and
//   has no budget that counts its octets or its time: those are exact because they are counted
//   where the octets move
//
// The flow stays in the table, without its sockets, and everything that ends flows ends it too. A
// new policy may give its rule a budget: then the stream comes back as it is, and goes on here. Its
// octets count for budgets whenever they are looked at, and before limits change.
//
// What a relay moves between the order to end a stream and its doing so is in no report.
#include "netstack/tcp/stream_rules.h"
#include "netstack/tcp/tcp_flows.h"

namespace cordon {
namespace {

// Flows that are looked at, in search of one that may give its place to a new one.
constexpr int kIdleLooks = 64;

}  // namespace

bool TcpFlows::hand_over(Instant now, FlowId id, bool is_host, const Readiness& readiness) {
  Flow& flow = *table_.get(id);
  if (flow.state != State::kStream || readiness.has_error || !flow.flight.is_opaque() ||
      context_.budgets.bounds_octets(flow.account) || !context_.relays->has_room()) {
    return false;
  }
  // Pipes stay with us, so what one holds goes on first; where the other way waits too, later.
  if (moves_by_sink(flow.stream.half(is_host), readiness) &&
      flow.stream.half(!is_host).hold.octets == 0) {
    (void)pump_piece(now, id, is_host, 0);
    if (table_.get(id) == nullptr) return true;
  }
  if (flow.stream.up.hold.octets > 0 || flow.stream.down.hold.octets > 0) return false;
  if (!flow.is_settled) settle(now, id);
  flow.local = context_.host.local_endpoint(flow.stream.host);
  flow.relay = context_.relays->hand_over(owner_of(OwnerKind::kTcpHost, id), flow.stream);
  flow.state = State::kRelayed;
  flow.stream.guest = {};
  flow.stream.host = {};
  table_.touch(id, kListRelayed, now);
  return true;
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
  flow->is_returning = false;
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

void TcpFlows::take_back(FlowId id) {
  Flow& flow = *table_.get(id);
  if (!flow.is_returning) context_.relays->take_back(flow.relay);
  flow.is_returning = true;
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
