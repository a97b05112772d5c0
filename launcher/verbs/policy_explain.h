// cordon policy explain: a destination's way through the policy, by the evaluator that decides for
// real. Addresses are classified by the host's routes of this moment; names are not looked up.
#pragma once

#include <string>

#include "launcher/policy/policy_set.h"
#include "netstack/seams/host_sockets.h"

namespace cordon {

struct PolicyAnswer {
  std::string text;         // as it is printed
  bool is_allowed = false;  // asked is not allowed
};

/// `destination` as in a rule, but one flow: an address or a single name. Without a port tcp/443 is
/// meant, and tcp/80 besides where the answer differs.
[[nodiscard]] Result<PolicyAnswer> explain_destination(const PolicySet& set,
                                                       const std::string& destination,
                                                       RouteQuery& routes);

}  // namespace cordon
