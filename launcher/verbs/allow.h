// cordon allow, cordon deny: a rule for a sandbox that runs.
#pragma once

#include <span>
#include <string>

#include "launcher/command_line.h"

namespace cordon {

[[nodiscard]] Result<CommandLine> parse_allow(std::span<const std::string> arguments);
[[nodiscard]] Result<CommandLine> parse_deny(std::span<const std::string> arguments);

}  // namespace cordon
