// cordon policy: what a policy says, without running anything.
//
//     show      the whole policy as one file, presets written out, each rule with its place
//     check     every problem of a file
//     explain   what would happen to a destination, step by step
//     diff      what two policies say differently
//     fmt       a file in the common form
//     presets   those that there are
//     add       a rule into a file, everything else kept
#pragma once

#include <span>
#include <string>

#include "launcher/command_line.h"

namespace cordon {

/// Whether `cordon policy WORD` is a verb.
[[nodiscard]] bool is_policy_verb(std::string_view word);

[[nodiscard]] Result<CommandLine> parse_policy(std::span<const std::string> arguments);

}  // namespace cordon
