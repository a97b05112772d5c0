// The guest's walls, in their order. A helper of the supervisor enters U and N and clones guest
// init, which is born with fresh pid, mount, ipc, uts and cgroup namespaces:
//
//     enter_guest_network()      helper: U, N (or makes both, offline)
//     isolate_guest()            guest init, pid 1: everything below
//       die with the supervisor
//       while root in U: mount propagation, /sys, contents of ours, /proc, its settings read-only
//       inner user namespace U2, and its id map: from here on no power over N, its tap, its rules
//       no further namespaces may be made (unless nested)
//       limits, capabilities, no_new_privs, descriptors, filter
//     (waits for the gate, forks; the child executes the command)
//
// Mounts and sysctls come before U2 because they need U; everything else after it, so that what is
// dropped stays dropped. Pid 1 and the command have the same walls: both come after the last step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "netstack/base/result.h"
#include "sandbox/mounts.h"

namespace cordon {

struct GuestIsolationPlan {
  std::uint32_t callers_uid = 0;  // as they are outside
  std::uint32_t callers_gid = 0;
  bool maps_root = false;  // the command sees uid 0, gid 0 instead
  bool may_nest = false;
  bool may_ptrace = false;
  std::vector<int> kept_descriptors;  // besides 0, 1 and 2
  std::vector<std::string> hidden_directories;
  std::vector<MountedContent> contents;
  std::string failing_step;  // tests only
};

/// Single-threaded helper: into the namespaces of these descriptors.
[[nodiscard]] Status enter_guest_network(const GuestIsolationPlan& plan, int user_namespace,
                                         int network_namespace);
/// Single-threaded helper, where there is no translator: makes U, and N with lo alone.
[[nodiscard]] Status make_offline_network(const GuestIsolationPlan& plan);

/// Guest init. The caller checks that the supervisor still lives, by the gate that it waits at
/// next.
[[nodiscard]] Status isolate_guest(const GuestIsolationPlan& plan);

/// Guest init before its fork: nobody traces it or reads its memory. The command's execve(2) undoes
/// it for the command.
[[nodiscard]] Status hide_guest_init();

}  // namespace cordon
