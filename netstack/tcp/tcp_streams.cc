// The stream's life: octets between the two sockets, and the ends, by the rules of
// tcp/stream_rules.h.
#include <algorithm>

#include "netstack/flow/meter.h"
#include "netstack/tcp/stream_rules.h"
#include "netstack/tcp/tcp_flows.h"

namespace cordon {
namespace {

// Pieces of a judged or counted stream, each looked at, that may move in one turn.
constexpr int kPiecesPerTurn = 32;
// The order of idle flows need not be finer than this.
constexpr Duration kTouchInterval = std::chrono::seconds(1);

}  // namespace

void TcpFlows::begin_stream(Instant now, FlowId id) {
  Flow& flow = *table_.get(id);
  if (flow.dns >= 0) {
    flow.state = State::kDns;
    return pump_dns(now, id);
  }
  flow.state = State::kStream;
  flow.flight = first_flight_of(flow);
  table_.touch(id, kListYoung, now);
  report(id, std::nullopt);
  // What came while the flow was not a stream yet; from here on every event finds it one.
  if (table_.get(id)->stream.down.has_news) pump(now, id, false);
  if (table_.get(id) != nullptr && table_.get(id)->stream.up.has_news) pump(now, id, true);
}

// Young streams stay in the order in which they began: whatever they say, each is settled in time.
void TcpFlows::settle(Instant now, FlowId id) {
  Flow& flow = *table_.get(id);
  flow.is_settled = true;
  context_.streams.keep_alive(flow.stream.host, kTcpKeepAlive);
  context_.streams.keep_alive(flow.stream.guest, kTcpGuestKeepAlive);
  table_.touch(id, flow.stream.is_half_closed() ? kListHalfClosed : kListStream, now);
}

void TcpFlows::on_stream(Instant now, FlowId id, bool is_host, const Readiness& readiness) {
  const Flow* flow = table_.get(id);
  if (flow->stream.octets() >= bulk_ && hand_over(now, id, is_host, readiness)) return;
  if (moves_by_source(flow->stream.half(!is_host), readiness)) {
    pump(now, id, !is_host);
    flow = table_.get(id);
    if (flow == nullptr) return;
  }
  if (moves_by_sink(flow->stream.half(is_host), readiness)) pump(now, id, is_host);
  // A reset is an error even where nobody reads or writes: pass it on.
  if (readiness.has_error && table_.get(id) != nullptr) end(id, FlowEnd::kReset);
}

void TcpFlows::pump(Instant now, FlowId id, bool is_up) {
  for (int i = 0; i < kPiecesPerTurn; ++i) {
    const std::optional<std::size_t> most = may_move(now, id, is_up);
    if (!most || !pump_piece(now, id, is_up, *most)) return;
  }
  queue(id);
}

std::optional<std::size_t> TcpFlows::may_move(Instant now, FlowId id, bool is_up) {
  const Flow& flow = *table_.get(id);
  const HalfStream& half = flow.stream.half(is_up);
  if (half.is_done) return std::nullopt;
  const bool is_judged = is_up ? !flow.flight.is_opaque() : flow.flight.watches_answer();
  if (!is_judged && !context_.budgets.is_limited()) return kPumpBudget;
  // What was taken before goes on first: it was judged, and counted, when it was taken.
  if (half.hold.octets > 0) return 0;
  const std::optional<std::size_t> most = is_judged ? judged_octets(now, id, is_up) : kPumpBudget;
  if (!most || !flow.is_counted || !context_.budgets.is_limited()) return most;
  return budget_octets(now, id, is_up, *most);
}

// True where all of `most` has moved and what is behind it is to be judged.
bool TcpFlows::pump_piece(Instant now, FlowId id, bool is_up, std::size_t most) {
  Flow& flow = *table_.get(id);
  const Transfer transfer = move_half(context_.streams, flow.stream, is_up, most);
  HalfStream& half = flow.stream.half(is_up);
  half.judged -= std::min(half.judged, transfer.taken);
  if (flow.is_counted) {
    context_.budgets.spend(flow.account, is_up ? Way::kUp : Way::kDown, transfer.taken);
  }
  return after_transfer(now, id, is_up, transfer) && most < kPumpBudget;
}

// True where the half may go on at once.
bool TcpFlows::after_transfer(Instant now, FlowId id, bool is_up, const Transfer& transfer) {
  const Flow& flow = *table_.get(id);
  switch (transfer.stop) {
    case Transfer::Stop::kSourceEmpty:
    case Transfer::Stop::kSinkFull:
      break;
    case Transfer::Stop::kBudget:
      if (transfer.taken >= kPumpBudget) queue(id);
      break;
    case Transfer::Stop::kEnd:
      half_ended(now, id, is_up);
      return false;
    case Transfer::Stop::kSourceError:
    case Transfer::Stop::kSinkError:
      end(id, FlowEnd::kReset);
      return false;
  }
  if (transfer.octets > 0 && flow.is_settled && flow.state == State::kStream &&
      now - table_.used_at(id) >= kTouchInterval) {
    table_.touch(id, flow.stream.is_half_closed() ? kListHalfClosed : kListStream, now);
  }
  return transfer.stop == Transfer::Stop::kBudget;
}

void TcpFlows::half_ended(Instant now, FlowId id, bool is_up) {
  Flow& flow = *table_.get(id);
  // The server has answered what it was asked before the request that was refused.
  if (flow.state == State::kRefused) return send_answer(now, id);
  if (finish_half(context_.streams, flow.stream, is_up)) return end(id, FlowEnd::kClosed);
  if (flow.is_settled) table_.touch(id, kListHalfClosed, now);
}

void TcpFlows::queue(FlowId id) {
  Flow& flow = *table_.get(id);
  if (flow.is_queued) return;
  flow.is_queued = true;
  ready_.push_back(id);
}

void TcpFlows::pump_queued(Instant now) {
  pumping_.swap(ready_);
  for (const FlowId id : pumping_) {
    Flow* const flow = table_.get(id);
    if (flow == nullptr) continue;
    flow->is_queued = false;
    if (flow->state == State::kRelayed) continue;
    if (flow->stream.octets() >= bulk_ && hand_over(now, id, false, Readiness{})) continue;
    if (!flow->stream.down.is_blocked) pump(now, id, false);
    if (table_.get(id) != nullptr && !table_.get(id)->stream.up.is_blocked) pump(now, id, true);
    if (table_.get(id) != nullptr && table_.get(id)->state == State::kRefused) discard(id);
  }
  pumping_.clear();
  if (paced_until_ <= now) wake_paced();
}

void TcpFlows::wake_paced() {
  paced_until_ = kNever;
  pumping_.swap(paced_);
  // Whoever comes first may take all that there is: a different one every time.
  if (!pumping_.empty()) {
    const auto first = static_cast<std::ptrdiff_t>(context_.entropy.next() % pumping_.size());
    std::rotate(pumping_.begin(), pumping_.begin() + first, pumping_.end());
  }
  for (const FlowId id : pumping_) {
    Flow* const flow = table_.get(id);
    if (flow == nullptr) continue;
    flow->is_paced = false;
    queue(id);
  }
  pumping_.clear();
}

void TcpFlows::end(FlowId id, FlowEnd how) {
  Flow& flow = *table_.get(id);
  if (flow.state == State::kDialling) context_.load.dial_ended(table_.key_of(id).remote.address);
  if (flow.state == State::kRelayed) end_relayed(id);
  if (flow.is_returning) --returning_;
  if (flow.state == State::kStream || flow.state == State::kRelayed) report(id, how);
  if (flow.is_named) named_.cancel(id);
  if (flow.answer != 0) {
    answers_[flow.answer - 1U] = {};
    --answers_used_;
  }
  if (flow.dns >= 0) dns_.give(flow.dns);
  leave_budget(id);
  reset_stream(context_.streams, flow.stream);
  table_.erase(id);
}

FlowReport TcpFlows::describe(FlowId id) {
  const Flow& flow = *table_.get(id);
  FlowReport report{
      .id = flow.id, .request = flow.destination->request(), .rule = flow.destination->rule()};
  report.bytes_up = flow.stream.up.octets;
  report.bytes_down = flow.stream.down.octets;
  return report;
}

void TcpFlows::report(FlowId id, std::optional<FlowEnd> end) {
  if (!context_.config.reports_flows) return;
  FlowReport report = describe(id);
  report.end = end;
  context_.events.flow(report);
}

std::optional<std::uint32_t> TcpFlows::list(std::uint32_t cursor, std::size_t budget) {
  for (; budget > 0; --budget) {
    const std::optional<FlowId> id = table_.next_from(cursor);
    if (!id) return std::nullopt;
    if (table_.get(*id)->state == State::kRelayed) count_relayed(*id);
    const bool is_known = table_.get(*id)->destination.has_value();
    if (is_known && !context_.events.listed(describe(*id))) break;
    cursor = id->index + 1;
  }
  return cursor;
}

void TcpFlows::revoke(Instant now, FlowId id, const Judgement& judgement) {
  const Flow& flow = *table_.get(id);
  if (flow.state == State::kStream) return refuse_stream(now, id, judgement);
  const bool awaits_answer = flow.state == State::kDialling || flow.state == State::kConnected;
  const FlowKey key = table_.key_of(id);
  const Seq irs = flow.syn.irs;
  end(id, FlowEnd::kRevoked);
  if (awaits_answer) return refuse(now, key, irs, judgement);
  context_.refusals.refuse(now, judgement, {});
}

Judgement TcpFlows::rejudge_one(Instant now, FlowId id) const {
  const Flow& flow = *table_.get(id);
  const FlowKey& key = table_.key_of(id);
  if (flow.direction == Direction::kInbound) {
    return context_.admission.judge_inbound(Protocol::kTcp, key.guest,
                                            flow.destination->endpoint());
  }
  // While its name is looked up and dialled a flow has no address; each one is judged when it is.
  if (flow.is_named) {
    return context_.admission.judge_name_again(Protocol::kTcp, key.guest, key.remote,
                                               flow.is_answered);
  }
  return context_.admission.rejudge(now, flow.destination->request());
}

std::optional<std::uint32_t> TcpFlows::rejudge(Instant now, std::uint32_t cursor,
                                               std::size_t budget, bool is_address_lost) {
  for (; budget > 0; --budget) {
    const std::optional<FlowId> id = table_.next_from(cursor);
    if (!id) return std::nullopt;
    cursor = id->index + 1;
    const Flow& flow = *table_.get(*id);
    if (flow.dns >= 0 || flow.state == State::kRefused) continue;
    const Judgement judgement = rejudge_one(now, *id);
    const bool is_allowed = flow.is_named ? context_.admission.may_resolve(judgement.verdict)
                                          : judgement.allowed.has_value();
    if (is_allowed && !flow.is_named) renew(*id, *judgement.allowed);
    if (is_allowed && is_time_over(flow)) {
      revoke(now, *id,
             limit_reached(context_, *flow.destination, context_.budgets.used_up(flow.account)));
    } else if (!is_allowed) {
      revoke(now, *id, judgement);
    } else if (is_address_lost && context_.admission.is_local_address_lost(local_of(flow))) {
      end(*id, FlowEnd::kUnreachable);
    } else if (flow.state == State::kRelayed && context_.budgets.bounds_octets(flow.account)) {
      take_back(now, *id);
    }
  }
  return cursor;
}

}  // namespace cordon
