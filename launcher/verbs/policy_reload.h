// cordon policy reload: another policy for a sandbox that runs.
#pragma once

#include <span>
#include <string>

#include "launcher/command_line.h"

namespace cordon {

[[nodiscard]] Result<CommandLine> parse_policy_reload(std::span<const std::string> arguments);

}  // namespace cordon
