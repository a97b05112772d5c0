// Guest init's life after isolation.
#pragma once

#include "launcher/guest_process.h"

namespace cordon {

/// Waits at the gate, starts the command, stays until it has ended. Never returns.
[[noreturn]] void live_as_guest_init(const SandboxPlan& plan, int channel,
                                     const InheritedSignals& inherited, int terminal);

}  // namespace cordon
