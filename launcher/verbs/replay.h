// cordon replay: what a policy would have denied in a recorded run.
#pragma once

#include <span>
#include <string>

#include "launcher/command_line.h"

namespace cordon {

[[nodiscard]] Result<CommandLine> parse_replay(std::span<const std::string> arguments);

}  // namespace cordon
