#include "netstack/flow/meter.h"

#include <utility>

namespace cordon {

Judgement limit_reached(const FlowContext& context, const AllowedDestination& destination,
                        const UsedUp& used_up) {
  Judgement denied{.request = destination.request(),
                   .verdict = {.action = Action::kDeny,
                               .reason = Reason::kLimit,
                               .rule = used_up.is_of_rule ? destination.rule() : std::nullopt,
                               .limit = used_up.limit}};
  if (context.config.policy.mode() == PolicyMode::kReport) denied.allowed = destination;
  return denied;
}

std::optional<Judgement> one_too_many(const FlowContext& context,
                                      const AllowedDestination& destination) {
  const BudgetAccount account = context.budgets.account_of(destination.rule());
  if (context.budgets.may_open(account)) return std::nullopt;
  return limit_reached(context, destination, context.budgets.used_up(account));
}

void join(const FlowContext& context, const AllowedDestination& destination, Meter& meter) {
  meter.account = context.budgets.account_of(destination.rule());
  context.budgets.join(meter.account);
  meter.is_counted = true;
}

void leave(const FlowContext& context, Meter& meter) {
  if (meter.is_counted) context.budgets.leave(meter.account);
  meter.is_counted = false;
}

void renew(const FlowContext& context, const AllowedDestination& destination, Meter& meter) {
  const BudgetAccount account = context.budgets.account_of(destination.rule());
  if (!meter.is_counted || account == meter.account) return;
  context.budgets.leave(meter.account);
  context.budgets.join(account);
  meter.account = account;
}

std::optional<Judgement> time_over(const FlowContext& context,
                                   const AllowedDestination& destination, const Meter& meter) {
  const bool may_go_on = !meter.is_counted || context.budgets.may_go_on(meter.account) ||
                         context.config.policy.mode() == PolicyMode::kReport;
  if (may_go_on) return std::nullopt;
  return limit_reached(context, destination, context.budgets.used_up(meter.account));
}

Measured measure(Instant now, const FlowContext& context, const AllowedDestination& destination,
                 Meter& meter, Way way, std::size_t octets, std::size_t segment) {
  Measured measured{.octets = octets};
  if (!meter.is_counted || !context.budgets.is_limited()) return measured;
  const Taken taken = context.budgets.take(now, meter.account, way, octets, segment);
  const bool is_used_up = taken.used_up.limit != Limit::kNone;
  const bool is_only_reported = is_used_up && context.config.policy.mode() == PolicyMode::kReport;
  if (!is_only_reported) {
    measured.passes = taken.passes;
    measured.octets = taken.octets;
  }
  if (is_used_up && !std::exchange(meter.is_limit_told, true)) {
    measured.denied = limit_reached(context, destination, taken.used_up);
  }
  return measured;
}

}  // namespace cordon
