// cordon ask: answers the questions of a sandbox from another terminal.
#pragma once

#include <span>
#include <string>

#include "launcher/command_line.h"
#include "launcher/control/control_client.h"

namespace cordon {

[[nodiscard]] Result<CommandLine> parse_ask(std::span<const std::string> arguments);

/// The question as it is shown, from an "asked" event.
[[nodiscard]] std::string question_text(const Json& event);

}  // namespace cordon
