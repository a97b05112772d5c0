// The address that a flow of datagrams by name uses first: the first that may be dialled and that
// the host has a route to, of the family that the guest chose if it has one. Where that one turns
// out to be out of reach flow/named_trials.h goes on with the others.
//
// The families' addresses come one after the other (names/name_lookups.h). Where the first family
// has none that will do, the best of what it had is kept until the second has come.
#pragma once

#include <span>

#include "netstack/flow/admission.h"

namespace cordon {

class NamedChoice {
 public:
  enum class State : std::uint8_t {
    kOpen,     // the other family's addresses may be better
    kChosen,   // judgement() has a witness
    kDenied,   // nothing may be dialled, and judgement() says why
    kNowhere,  // the name has no address
  };

  /// One family's addresses. `by_name` is Admission::judge_name()'s.
  State add(const Admission& admission, const Request& by_name,
            std::span<const IpAddress> addresses, Judgement& judgement);
  /// The other family's addresses have not come.
  [[nodiscard]] bool awaits_other() const { return families_ < 2; }

 private:
  IpAddress kept_;
  bool has_kept_ = false;
  bool is_kept_allowed_ = false;
  std::uint8_t families_ = 0;
};

}  // namespace cordon
