// Making, naming and entering namespaces (namespaces(7)).
#pragma once

#include <cstdint>
#include <sys/types.h>

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

/// All that translator and guest get fresh besides user and network: mount, pid, ipc, uts, cgroup.
[[nodiscard]] std::uint64_t common_namespace_flags();

/// clone(2) in the manner of fork(2): both sides return from here, the child with 0 and a copy of
/// the memory. `flags` are CLONE_NEW… and CLONE_PARENT; the exit signal is SIGCHLD. The process
/// must have one thread. fork(2) cannot be used: a new pid namespace would hold its child only, one
/// process later.
[[nodiscard]] Result<pid_t> clone_process(std::uint64_t flags);

/// unshare(2) for the calling thread.
[[nodiscard]] Status leave_namespaces(int flags);

/// setns(2) for the calling thread; `type` is the CLONE_NEW… flag that the descriptor must be of.
[[nodiscard]] Status enter_namespace(int fd, int type);

/// The calling thread's own namespace: "net", "user".
[[nodiscard]] Result<UniqueFd> open_own_namespace(const char* name);

/// The kernel sends the calling process SIGKILL when the thread that made it ends. Whoever calls
/// must check afterwards that the maker still lives: the signal is not sent for what is already
/// over.
[[nodiscard]] Status die_with_parent();

}  // namespace cordon
