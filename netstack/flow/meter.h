// A flow of datagrams and its budgets (flow/budgets.h): one place among the flows that live, the
// octets of its datagrams, the time of its rule. UDP and echo have the same needs here.
//
// A datagram past a budget is lost, and the flow stays: the first such one is a denial, the others
// are counted (Drop::kBudget). One that comes too early for a rate is counted and nothing else:
// loss is how datagrams are told to slow down. In report mode a budget holds nobody up, and what it
// would have denied is told once.
#pragma once

#include "netstack/flow/context.h"

namespace cordon {

/// Every flow's own part.
struct Meter {
  BudgetAccount account;
  bool is_counted = false;
  bool is_limit_told = false;
};

/// The denial of a flow for what is used up; in report mode it has a witness.
[[nodiscard]] Judgement limit_reached(const FlowContext& context,
                                      const AllowedDestination& destination, const UsedUp& used_up);

/// Why one more flow to `destination` may not begin; nullopt: it may.
[[nodiscard]] std::optional<Judgement> one_too_many(const FlowContext& context,
                                                    const AllowedDestination& destination);
/// A flow that may begin has begun; leave() when it ends.
void join(const FlowContext& context, const AllowedDestination& destination, Meter& meter);
void leave(const FlowContext& context, Meter& meter);
/// The rule that allows the flow may be another one by now.
void renew(const FlowContext& context, const AllowedDestination& destination, Meter& meter);
/// Why a flow that lives may not go on: its time is over. Never in report mode.
[[nodiscard]] std::optional<Judgement> time_over(const FlowContext& context,
                                                 const AllowedDestination& destination,
                                                 const Meter& meter);

struct Measured {
  bool passes = true;               // false: not even an empty datagram
  std::size_t octets = 0;           // the first whole datagrams of a train, or all
  std::optional<Judgement> denied;  // to be told, now and not again
};
/// Counts a datagram of `octets`, or a train of `segment` octets each (not 0).
[[nodiscard]] Measured measure(Instant now, const FlowContext& context,
                               const AllowedDestination& destination, Meter& meter, Way way,
                               std::size_t octets, std::size_t segment);

}  // namespace cordon
