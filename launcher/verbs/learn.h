// cordon learn: runs a command with the public internet open, and writes the policy that it needs.
#pragma once

#include <span>
#include <string>

#include "launcher/command_line.h"

namespace cordon {

[[nodiscard]] Result<CommandLine> parse_learn(std::span<const std::string> arguments);

}  // namespace cordon
