// cordon run: a command in a network of its own.
#pragma once

#include "launcher/command_line.h"

namespace cordon {

/// Runs the command to its end. Returns the status to exit with.
[[nodiscard]] int run(const RunOptions& options);

}  // namespace cordon
