// cordon ps: this user's sandboxes that run.
#pragma once

#include <span>
#include <string>

#include "launcher/command_line.h"
#include "launcher/control/control_client.h"

namespace cordon {

[[nodiscard]] Result<CommandLine> parse_ps(std::span<const std::string> arguments);

/// The table as it is printed. `answers`: to the request "status".
[[nodiscard]] std::string ps_table(std::span<const Json> answers);

}  // namespace cordon
