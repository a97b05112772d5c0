// What is wrong with a policy file although each of its values is well written: rules that
// contradict each other, and rules that grant more than anybody means.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launcher/policy/policy_file.h"

namespace cordon {

/// - The same destination is allowed and denied or asked, or an allow lies within a deny: it could
///   never work, because a deny beats every allow.
/// - The same destination twice with different budgets.
/// - An allow for a public suffix: everybody's names (*.github.io, .co.uk), or for a prefix that
/// holds
///   everything (0.0.0.0/0), the host's own loopback included.
/// - Names are allowed, but `dns.mode` answers none or enforces none.
[[nodiscard]] std::vector<Problem> check_policy_file(const PolicyFile& file);

/// The same for rules of the command line, which contradict a file's on purpose: the first that
/// allows too much, in words.
[[nodiscard]] std::optional<std::string> find_too_wide(std::span<const Rule> rules);

}  // namespace cordon
