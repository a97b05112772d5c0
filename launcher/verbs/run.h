// cordon run: a command in a network of its own.
#pragma once

#include "launcher/command_line.h"
#include "launcher/control/sandbox_watch.h"

namespace cordon {

/// Runs the command to its end. Returns the status to exit with. `given`: without what policy files
/// say.
[[nodiscard]] int run(const RunOptions& given, FlowRecorder* recorder = nullptr);

}  // namespace cordon
