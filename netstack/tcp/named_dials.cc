#include "netstack/tcp/named_dials.h"

#include <algorithm>
#include <cerrno>

#include "netstack/flow/timeouts.h"

namespace cordon {
namespace {

// A refusal says that somebody is there; running out of descriptors here says nothing of anybody.
int rank(int error) {
  if (error == 0) return 0;
  if (error == ECONNREFUSED || error == ECONNRESET) return 3;
  return is_out_of_resources(error) ? 1 : 2;
}

// Which of two errors says more of the remote.
int telling(int one, int other) { return rank(other) > rank(one) ? other : one; }

SocketOwner owner_of(FlowId id, std::size_t attempt) {
  return SocketOwner{.kind = OwnerKind::kTcpAttempt,
                     .generation = id.generation,
                     .index = static_cast<std::uint32_t>(id.index * kMaxAttempts + attempt)};
}

}  // namespace

NamedDials::NamedDials(const FlowContext& context, NameLookups& lookups, std::size_t capacity)
    : context_(context),
      lookups_(lookups),
      dials_(capacity, SipKey{context.entropy.next(), context.entropy.next()}) {}

bool NamedDials::begin(Instant now, FlowId flow, const Request& by_name) {
  const std::optional<FlowId> id = dials_.insert(DialKey{.flow = flow}, kListQuiet, now);
  if (!id) return false;
  dials_.get(*id)->by_name = by_name;
  if (lookups_.begin(now, Waits::kTcp, flow, *by_name.name, by_name.guest.address.family())) {
    return true;
  }
  dials_.erase(*id);
  return false;
}

void NamedDials::cancel(FlowId flow) {
  const std::optional<FlowId> id = dials_.find(DialKey{.flow = flow});
  if (!id) return;
  lookups_.cancel(Waits::kTcp, flow);
  Dial& dial = *dials_.get(*id);
  for (std::size_t i = 0; i < kMaxAttempts; ++i) close_attempt(dial, i);
  if (dial.winner.is_open()) context_.streams.reset(dial.winner);
  if (dial.denial) context_.refusals.report(*dial.denial);
  dials_.erase(*id);
}

void NamedDials::on_lookup(Instant now, FlowId flow, const LookupAnswer& answer) {
  const std::optional<FlowId> id = dials_.find(DialKey{.flow = flow});
  if (!id) return;
  Dial& dial = *dials_.get(*id);
  const bool is_preferred = answer.family == dial.by_name.guest.address.family();
  Candidates& candidates = dial.candidates[is_preferred ? 0 : 1];
  candidates.is_answered = true;
  candidates.count = std::min(answer.found.count, candidates.addresses.size());
  std::ranges::copy(answer.found.all().first(candidates.count), candidates.addresses.begin());
  if (dial.winner.is_open()) return;
  // The stagger of an attempt that is under way goes on; the first one begins now.
  if (live_attempts(dial) == 0) {
    go_on(now, *id);
  } else {
    dials_.touch(*id, kListStagger, now);
  }
}

std::size_t NamedDials::live_attempts(const Dial& dial) {
  return static_cast<std::size_t>(
      std::ranges::count_if(dial.attempts, [](const Attempt& a) { return a.socket.is_open(); }));
}

std::optional<IpAddress> NamedDials::next_candidate(Dial& dial) {
  for (int i = 0; i < 2; ++i) {
    Candidates& candidates = dial.candidates[dial.is_second_next ? 1 : 0];
    dial.is_second_next = !dial.is_second_next;
    if (candidates.has_more()) return candidates.addresses[candidates.used++];
  }
  return std::nullopt;
}

bool NamedDials::may_attempt(const Dial& dial) const {
  return live_attempts(dial) == 0 || extra_attempts_ < kMaxExtraAttempts;
}

// Begins the next attempt that can begin, and decides when to come again.
void NamedDials::go_on(Instant now, FlowId id) {
  Dial& dial = *dials_.get(id);
  while (may_attempt(dial)) {
    const std::optional<IpAddress> address = next_candidate(dial);
    if (!address) break;
    const Judgement judgement = context_.admission.judge_resolved(dial.by_name, *address);
    if (!judgement.allowed) {
      if (!dial.denial) dial.denial = judgement;
    } else if (attempt(id, *judgement.allowed)) {
      break;
    }
  }
  const bool has_more = dial.candidates[0].has_more() || dial.candidates[1].has_more();
  const bool awaits_answer = !dial.candidates[0].is_answered || !dial.candidates[1].is_answered;
  if (has_more) return dials_.touch(id, kListStagger, now);
  const bool is_over = live_attempts(dial) == 0 && !awaits_answer;
  dials_.touch(id, is_over ? kListFinished : kListQuiet, now);
}

bool NamedDials::attempt(FlowId id, const AllowedDestination& destination) {
  Dial& dial = *dials_.get(id);
  const std::size_t index = dial.attempts_made++ % kMaxAttempts;
  close_attempt(dial, index);
  const IoResult<SocketHandle> socket = context_.host.dial(destination, owner_of(id, index));
  if (!socket) {
    dial.error = telling(dial.error, socket.error().value);
    return false;
  }
  if (live_attempts(dial) > 0) ++extra_attempts_;
  dial.attempts[index] = {.socket = *socket, .address = destination.endpoint().address};
  return true;
}

void NamedDials::on_socket(Instant now, const SocketOwner& owner, const Readiness& readiness) {
  const FlowId id{.index = static_cast<std::uint32_t>(owner.index / kMaxAttempts),
                  .generation = owner.generation};
  Dial* const dial = dials_.get(id);
  if (dial == nullptr || dial->winner.is_open()) return;
  const std::size_t index = owner.index % kMaxAttempts;
  const Attempt& made = dial->attempts[index];
  if (!made.socket.is_open()) return;
  const IoStatus result = context_.host.dial_result(made.socket, readiness);
  if (result) return won(now, id, index);
  if (result.error().value == EINPROGRESS) return;
  close_attempt(*dial, index);
  dial->error = telling(dial->error, result.error().value);
  go_on(now, id);
}

void NamedDials::won(Instant now, FlowId id, std::size_t index) {
  Dial& dial = *dials_.get(id);
  // The FIB again: an address that became the host's own while the dial was under way counts.
  const Judgement judgement =
      context_.admission.judge_resolved(dial.by_name, dial.attempts[index].address);
  if (!judgement.allowed) {
    close_attempt(dial, index);
    if (!dial.denial) dial.denial = judgement;
    return go_on(now, id);
  }
  dial.winner = dial.attempts[index].socket;
  dial.winner_judgement = judgement;
  if (live_attempts(dial) > 1) --extra_attempts_;
  dial.attempts[index] = {};
  for (std::size_t i = 0; i < kMaxAttempts; ++i) close_attempt(dial, i);
  dials_.touch(id, kListFinished, now);
}

void NamedDials::close_attempt(Dial& dial, std::size_t index) {
  Attempt& attempt = dial.attempts[index];
  if (!attempt.socket.is_open()) return;
  if (live_attempts(dial) > 1) --extra_attempts_;
  context_.host.close(attempt.socket);
  attempt = {};
}

Instant NamedDials::next_deadline() const {
  return std::min(dials_.deadline(kListStagger, kConnectionAttemptDelay),
                  dials_.deadline(kListFinished, Duration{}));
}

void NamedDials::on_deadline(Instant now) {
  for (std::size_t i = 0;
       i < dials_.capacity() && dials_.deadline(kListStagger, kConnectionAttemptDelay) <= now;
       ++i) {
    go_on(now, *dials_.oldest(kListStagger));
  }
}

std::optional<FinishedDial> NamedDials::take_finished() {
  const std::optional<FlowId> id = dials_.oldest(kListFinished);
  if (!id) return std::nullopt;
  const Dial& dial = *dials_.get(*id);
  FinishedDial finished{.flow = dials_.key_of(*id).flow, .socket = dial.winner};
  // A denial is the answer only where nothing could be dialled; else it is told beside it.
  if (dial.winner.is_open()) {
    finished.judgement = dial.winner_judgement;
  } else if (dial.error != 0 || !dial.denial) {
    finished.error = dial.error != 0 ? dial.error : EHOSTUNREACH;
  } else {
    finished.judgement = dial.denial;
  }
  const bool is_told = finished.judgement && !finished.socket.is_open();
  if (dial.denial && !is_told) context_.refusals.report(*dial.denial);
  lookups_.cancel(Waits::kTcp, finished.flow);
  dials_.erase(*id);
  return finished;
}

}  // namespace cordon
