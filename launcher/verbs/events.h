// cordon events: what happens in a sandbox, as it happens.
#pragma once

#include <span>
#include <string>

#include "launcher/command_line.h"

namespace cordon {

[[nodiscard]] Result<CommandLine> parse_events(std::span<const std::string> arguments);

}  // namespace cordon
