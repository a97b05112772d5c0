// The guest as processes: a helper that enters U and N and is gone, guest init (pid 1 of the
// guest's pid namespace, the supervisor's own child), and the command.
//
// Guest init is isolated, reports, waits at a gate, starts the command, and then does what a pid 1
// must: reaps whatever lost its parent, passes signals on, tells of a stop, and ends with the
// command's status. When it ends the kernel ends everything in the namespace.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include "launcher/supervisor.h"
#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

/// Where the guest's network is: entered through these, or made offline where there is no
/// translator.
struct GuestNetworkHandles {
  UniqueFd user_namespace;
  UniqueFd network_namespace;
};

/// How signals stood when cordon was started: so they stand for the command.
struct InheritedSignals {
  sigset_t mask{};
  struct sigaction pipe {};
  struct sigaction child {};
};

struct StartedGuest {
  pid_t init = -1;
  UniqueFd channel;  // both ways, setup_channel.h
};

/// Starts the helper and waits until guest init stands at the gate. `terminal` is the fresh
/// terminal's descriptor for the command, or −1.
[[nodiscard]] Result<StartedGuest> start_guest(const SandboxPlan& plan,
                                               const GuestNetworkHandles& network,
                                               const InheritedSignals& inherited, int terminal);

}  // namespace cordon
