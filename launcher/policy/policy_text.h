// A policy that was put together, as text for people: as one file, or compared with another.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/policy/policy_set.h"

namespace cordon {

/// The whole policy as a file that says the same, each rule with where it comes from; `heading` is
/// its first comment.
[[nodiscard]] std::string policy_as_file(const PolicySet& set, std::string_view heading);

/// What is another, line by line: "- allow pypi.org (old.toml:3)", "+ default deny". Empty where
/// both mean the same.
[[nodiscard]] std::vector<std::string> policy_differences(const RunOptions& before,
                                                          const RunOptions& after);

/// "npm.toml:11", and the folder's path where the file is one of `files`.
[[nodiscard]] std::string origin_with_path(const Rule& rule, std::span<const FoundPolicy> files);

}  // namespace cordon
