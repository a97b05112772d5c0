// cordon flows: what a sandbox is connected to at this moment.
#pragma once

#include <span>
#include <string>

#include "launcher/command_line.h"
#include "launcher/control/control_client.h"

namespace cordon {

[[nodiscard]] Result<CommandLine> parse_flows(std::span<const std::string> arguments);

/// The table as it is printed. `flows`: the "flow" members of the answer.
[[nodiscard]] std::string flows_table(std::span<const Json> flows);

}  // namespace cordon
