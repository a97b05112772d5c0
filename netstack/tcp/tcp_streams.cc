// The stream's life: octets between the two sockets, and the ends. The rules of the close:
//
//   source ended, all passed on   -> FIN to the sink; the other half goes on for as long as it
//   likes both halves ended             -> both sockets close in good order (the kernel finishes)
//   either socket broken          -> what it still had to say is passed on first, then RST to the
//   other
#include <algorithm>

#include "netstack/tcp/tcp_flows.h"

namespace cordon {
namespace {

// Below this a stream is copied, not spliced: a short exchange costs fewer system calls that way.
constexpr std::uint64_t kSmallStream = std::uint64_t{16} * 1024;
// What one flow may move before the others have their turn.
constexpr std::size_t kPumpBudget = std::size_t{4} * 1024 * 1024;
// The order of idle flows need not be finer than this.
constexpr Duration kTouchInterval = std::chrono::seconds(1);

}  // namespace

void TcpFlows::begin_stream(Instant now, FlowId id) {
  table_.get(id)->state = State::kStream;
  table_.touch(id, kListStream, now);
  report(id, std::nullopt);
  // The host's socket may have spoken already; its event came while the flow was not a stream yet.
  pump(now, id, false);
  if (table_.get(id) != nullptr) pump(now, id, true);
}

void TcpFlows::on_stream(Instant now, FlowId id, bool is_host, const Readiness& readiness) {
  const auto read_half = [&]() -> Half* {
    Flow* const flow = table_.get(id);
    return flow == nullptr ? nullptr : (is_host ? &flow->down : &flow->up);
  };
  const auto write_half = [&]() -> Half* {
    Flow* const flow = table_.get(id);
    return flow == nullptr ? nullptr : (is_host ? &flow->up : &flow->down);
  };
  if (readiness.is_readable || readiness.has_error) {
    const Half* const half = read_half();
    if (half != nullptr && !half->is_done && !half->is_blocked) pump(now, id, !is_host);
  }
  if (readiness.is_writable) {
    const Half* const half = write_half();
    if (half != nullptr && half->is_blocked) pump(now, id, is_host);
  }
  // A reset is an error even where nobody reads or writes: pass it on.
  if (readiness.has_error && table_.get(id) != nullptr) end(id, FlowEnd::kReset);
}

void TcpFlows::pump(Instant now, FlowId id, bool is_up) {
  Flow& flow = *table_.get(id);
  Half& half = is_up ? flow.up : flow.down;
  if (half.is_done) return;
  const SocketHandle from = is_up ? flow.guest : flow.host;
  const SocketHandle to = is_up ? flow.host : flow.guest;
  const Transfer transfer = context_.streams.move(
      from, to, half.hold, flow.up.octets + flow.down.octets < kSmallStream, kPumpBudget);
  half.octets += transfer.octets;
  half.is_blocked = transfer.stop == Transfer::Stop::kSinkFull;
  after_transfer(now, id, is_up, transfer);
}

void TcpFlows::after_transfer(Instant now, FlowId id, bool is_up, const Transfer& transfer) {
  Flow& flow = *table_.get(id);
  switch (transfer.stop) {
    case Transfer::Stop::kSourceEmpty:
    case Transfer::Stop::kSinkFull:
      break;
    case Transfer::Stop::kBudget:
      queue(id);
      break;
    case Transfer::Stop::kEnd:
      (is_up ? flow.up : flow.down).is_done = true;
      if (flow.up.is_done && flow.down.is_done) return close_orderly(id);
      context_.streams.shutdown_write(is_up ? flow.host : flow.guest);
      return table_.touch(id, kListHalfClosed, now);
    case Transfer::Stop::kSourceError:
    case Transfer::Stop::kSinkError:
      return end(id, FlowEnd::kReset);
  }
  if (transfer.octets > 0 && now - table_.used_at(id) >= kTouchInterval) {
    table_.touch(id, flow.up.is_done || flow.down.is_done ? kListHalfClosed : kListStream, now);
  }
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
    if (!flow->down.is_blocked) pump(now, id, false);
    if (table_.get(id) != nullptr && !table_.get(id)->up.is_blocked) pump(now, id, true);
  }
  pumping_.clear();
}

void TcpFlows::close_orderly(FlowId id) {
  Flow& flow = *table_.get(id);
  // close() sends the last FIN, on the side that has not had one.
  context_.streams.close(flow.guest);
  context_.streams.close(flow.host);
  flow.guest = {};
  flow.host = {};
  end(id, FlowEnd::kClosed);
}

void TcpFlows::end(FlowId id, FlowEnd how) {
  Flow& flow = *table_.get(id);
  if (flow.state == State::kDialling) context_.load.dial_ended(table_.key_of(id).remote.address);
  if (flow.state == State::kStream) report(id, how);
  if (flow.is_named) named_.cancel(id);
  for (Half* const half : {&flow.up, &flow.down}) context_.streams.drop_hold(half->hold);
  if (flow.guest.is_open()) context_.streams.reset(flow.guest);
  if (flow.host.is_open()) context_.streams.reset(flow.host);
  table_.erase(id);
}

void TcpFlows::report(FlowId id, std::optional<FlowEnd> end) {
  if (!context_.config.reports_flows) return;
  const Flow& flow = *table_.get(id);
  FlowReport report{.id = flow.id, .request = flow.destination->request(), .end = end};
  report.bytes_up = flow.up.octets;
  report.bytes_down = flow.down.octets;
  context_.events.flow(report);
}

void TcpFlows::revoke(Instant now, FlowId id, const Judgement& judgement) {
  const Flow& flow = *table_.get(id);
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
  if (flow.is_named) return context_.admission.judge_name(Protocol::kTcp, key.guest, key.remote);
  return context_.admission.rejudge(now, flow.destination->request());
}

std::optional<std::uint32_t> TcpFlows::rejudge(Instant now, std::uint32_t cursor,
                                               std::size_t budget, bool is_address_lost) {
  for (; budget > 0; --budget) {
    const std::optional<FlowId> id = table_.next_from(cursor);
    if (!id) return std::nullopt;
    cursor = id->index + 1;
    const Flow& flow = *table_.get(*id);
    if (flow.is_dns) continue;
    const Judgement judgement = rejudge_one(now, *id);
    const bool is_allowed = flow.is_named ? context_.admission.may_resolve(judgement.verdict)
                                          : judgement.allowed.has_value();
    if (!is_allowed) {
      revoke(now, *id, judgement);
    } else if (is_address_lost &&
               context_.admission.is_local_address_lost(context_.host.local_endpoint(flow.host))) {
      end(*id, FlowEnd::kUnreachable);
    }
  }
  return cursor;
}

}  // namespace cordon
