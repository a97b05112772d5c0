#include "netstack/flow/named_trials.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace cordon {

bool is_out_of_reach(int error, Family family) {
  // A host without IPv6 says EADDRNOTAVAIL: it has no address to send from (not: no port left).
  if (error == EADDRNOTAVAIL) return family == Family::kIpv6;
  return error != EMSGSIZE && icmp_for_errno(error).has_value();
}

NamedTrials::NamedTrials(const FlowContext& context, TrialFlows& flows)
    : context_(context), flows_(flows), trials_(std::make_unique<Trials>()) {}

NamedTrials::Trial* NamedTrials::at(Place place, FlowId flow) const {
  if (place.is_none()) return nullptr;
  Trial& trial = (*trials_)[static_cast<std::size_t>(place.index)];
  return trial.order != 0 && trial.flow == flow ? &trial : nullptr;
}

NamedTrials::Place NamedTrials::begin(FlowId flow, const Request& by_name, const IpAddress& chosen,
                                      std::span<const IpAddress> addresses, bool awaits_other) {
  if (addresses.size() < 2 && !awaits_other) return {};
  // A free one before the oldest.
  Trial& trial = *std::ranges::min_element(*trials_, {}, &Trial::order);
  trial =
      Trial{.order = ++last_order_, .flow = flow, .by_name = by_name, .awaits_other = awaits_other};
  Candidates& same = trial.candidates[0];
  for (const IpAddress& address : addresses) {
    if (address == chosen || same.count == same.addresses.size()) continue;
    same.addresses[same.count++] = address;
  }
  return Place{static_cast<std::int16_t>(&trial - trials_->data())};
}

void NamedTrials::add_other(Instant now, Place place, FlowId flow,
                            std::span<const IpAddress> addresses) {
  Trial* const trial = at(place, flow);
  if (trial == nullptr) return;
  Candidates& other = trial->candidates[1];
  other.count = std::min(addresses.size(), other.addresses.size());
  std::ranges::copy(addresses.first(other.count), other.addresses.begin());
  trial->awaits_other = false;
  if (std::exchange(trial->is_waiting, false)) go_on(now, place, flow, trial->failure);
}

bool NamedTrials::awaits_other(Place place, FlowId flow) const {
  const Trial* const trial = at(place, flow);
  return trial != nullptr && trial->awaits_other;
}

bool NamedTrials::is_waiting(Place place, FlowId flow) const {
  const Trial* const trial = at(place, flow);
  return trial != nullptr && trial->is_waiting;
}

std::optional<Judgement> NamedTrials::next(Trial& trial) const {
  for (;;) {
    Candidates* from = &trial.candidates[trial.is_other_next ? 1 : 0];
    if (from->used == from->count) from = &trial.candidates[trial.is_other_next ? 0 : 1];
    if (from->used == from->count) return std::nullopt;
    trial.is_other_next = from == trial.candidates.data();
    const Judgement judgement =
        context_.admission.judge_resolved(trial.by_name, from->addresses[from->used++]);
    if (judgement.allowed) return judgement;
  }
}

int NamedTrials::send_held(Instant now, Place place, FlowId flow) {
  while (HeldDatagrams::Datagram* const datagram = held_.first_unsent(flow)) {
    const int error = flows_.send_held(now, flow, *datagram);
    Trial* const trial = at(place, flow);
    if (trial == nullptr) {
      HeldDatagrams::drop(*datagram);
    } else {
      datagram->is_sent = true;
    }
    const int earlier = trial == nullptr ? 0 : std::exchange(trial->failure, 0);
    if (error != 0 || earlier != 0) return error != 0 ? error : earlier;
  }
  return 0;
}

void NamedTrials::go_on(Instant now, Place place, FlowId flow, int error) {
  for (;;) {
    if (error == 0) error = send_held(now, place, flow);
    if (error == 0) return;
    Trial* const trial = at(place, flow);
    if (trial == nullptr) break;
    trial->failure = 0;
    const std::optional<Judgement> judgement = next(*trial);
    if (!judgement && !trial->awaits_other) break;
    held_.rewind(flow);
    if (!judgement) {
      trial->is_waiting = true;
      trial->failure = error;
      return;
    }
    error = flows_.turn_to(now, flow, *judgement->allowed);
    if (!flows_.is_alive(flow)) return;
  }
  flows_.give_up(now, flow, error);
}

bool NamedTrials::take_error(Place place, FlowId flow, const DatagramError& error) {
  Trial* const trial = at(place, flow);
  const bool is_taken = trial != nullptr && !error.is_ttl_exceeded &&
                        is_out_of_reach(error.error, error.destination.address.family());
  // While it waits it has a failure already, the one that counts.
  if (is_taken && !trial->is_waiting) trial->failure = error.error;
  return is_taken;
}

void NamedTrials::settle(Instant now, Place place, FlowId flow) {
  Trial* const trial = at(place, flow);
  if (trial == nullptr || trial->is_waiting || trial->failure == 0) return;
  go_on(now, place, flow, std::exchange(trial->failure, 0));
}

void NamedTrials::end(Place place, FlowId flow) {
  held_.drop_all(flow);
  if (Trial* const trial = at(place, flow)) trial->order = 0;
}

}  // namespace cordon
