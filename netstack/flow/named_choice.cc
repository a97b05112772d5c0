#include "netstack/flow/named_choice.h"

namespace cordon {

NamedChoice::State NamedChoice::add(const Admission& admission, const Request& by_name,
                                    std::span<const IpAddress> addresses, Judgement& judgement) {
  ++families_;
  for (const IpAddress& address : addresses) {
    judgement = admission.judge_resolved(by_name, address);
    const bool is_allowed = judgement.allowed.has_value();
    if (is_allowed && admission.has_route(address)) return State::kChosen;
    if (has_kept_ && (is_kept_allowed_ || !is_allowed)) continue;
    kept_ = address;
    has_kept_ = true;
    is_kept_allowed_ = is_allowed;
  }
  if (awaits_other()) return State::kOpen;
  if (!has_kept_) return State::kNowhere;
  judgement = admission.judge_resolved(by_name, kept_);
  return judgement.allowed ? State::kChosen : State::kDenied;
}

}  // namespace cordon
