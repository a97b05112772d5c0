// The translator as a process: forked off, isolated, two threads and its relays, then the worker's
// loop until the supervisor closes the control channel.
#pragma once

#include <sys/types.h>

#include "launcher/supervisor.h"
#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

/// What the supervisor holds of a translator that is being set up.
struct TranslatorProcess {
  pid_t pid = -1;
  UniqueFd setup;    // kNetworkReady, kSealed or kFailed come here
  UniqueFd control;  // non-blocking, host/messages.h
  UniqueFd words;    // what it writes to its standard error
};

/// Starts it. The plan's published sockets are the translator's from here on and closed on our
/// side. Errors: a user namespace that may not be made (EPERM, ENOSPC), no processes.
[[nodiscard]] Result<TranslatorProcess> start_translator(SandboxPlan& plan);

}  // namespace cordon
