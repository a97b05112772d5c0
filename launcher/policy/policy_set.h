// Everything that says what may be reached, put together: the files of --policy, the presets of
// --use and of the files' own `use`, ./cordon.toml where --trust says so, and the options
// themselves.
//
// How they merge, so that their order never matters:
//   rules, classes, published ports   all of them count together; the evaluator's precedence
//   decides settings                          an option beats the files; two files that set the
//   same key to
//                                     different values contradict each other, which is an error
//   the default                       the strictest that a file states; where none states one: deny
//                                     if there is a policy file, or anything is allowed or asked,
//                                     or the mode is ask; else allow-public
//
// Files are read once, by their path. Nothing is changed and nothing starts where one has a
// problem.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launcher/policy/presets.h"
#include "launcher/run_options.h"

namespace cordon {

/// A policy of the folder that cordon is started in; used with --trust only, because the folder may
/// be somebody else's.
inline constexpr std::string_view kFolderPolicy = "cordon.toml";

struct PolicySet {
  RunOptions options;              // as given, and what the files say
  std::vector<FoundPolicy> files;  // all that were read, in order
};

/// Reads what `given` names. Errors are one line: the option or the place in a file, and the
/// remedy.
[[nodiscard]] Result<PolicySet> read_policy_set(const RunOptions& given,
                                                std::span<const std::string> folders);

/// read_policy_set() with the folders of this user, without the list of files. To be called again
/// for a reload, with the options as they were given.
[[nodiscard]] Result<RunOptions> with_policies(const RunOptions& given);

/// What a person is to know where there is a policy in this folder, and `given` does not use it.
[[nodiscard]] std::optional<std::string> unread_folder_policy(const RunOptions& given);

}  // namespace cordon
