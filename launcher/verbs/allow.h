// cordon allow, cordon deny: a rule for a sandbox that runs, which rules it was given, and how one
// is taken back.
#pragma once

#include <span>
#include <string>

#include "launcher/command_line.h"
#include "launcher/events/event_json.h"

namespace cordon {

/// The rules that were added to a sandbox, out of the answer to "status": a line each, with how
/// long it lasts and how it is taken back.
[[nodiscard]] std::string added_table(const Json& answer);

[[nodiscard]] Result<CommandLine> parse_allow(std::span<const std::string> arguments);
[[nodiscard]] Result<CommandLine> parse_deny(std::span<const std::string> arguments);

}  // namespace cordon
