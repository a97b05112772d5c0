// cordon audit: what gets out of a sandbox, ours or another's.
#pragma once

#include <span>
#include <string>

#include "launcher/command_line.h"

namespace cordon {

/// Reads the words behind the verb.
[[nodiscard]] Result<CommandLine> parse_audit(std::span<const std::string> arguments);
/// The hidden verbs of what runs inside and of what stands outside (launcher/audit).
[[nodiscard]] Result<CommandLine> parse_audit_prober(std::span<const std::string> arguments);
[[nodiscard]] Result<CommandLine> parse_audit_witness(std::span<const std::string> arguments);

}  // namespace cordon
