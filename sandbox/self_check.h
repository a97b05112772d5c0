// The last look before the seal: is the process what the steps were to make it? Asked from the
// kernel, not from what the steps returned.
#pragma once

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

/// Directories opened while they could be opened, to be read when nothing can be opened any more.
struct SelfCheckHandles {
  UniqueFd descriptors;  // /proc/self/fd
  UniqueFd threads;      // /proc/self/task
  UniqueFd root;         // /, once it is the empty one
};

/// The first two; while /proc is there.
[[nodiscard]] Result<SelfCheckHandles> open_self_check();
/// The third; after enter_empty_root().
[[nodiscard]] Status open_checked_root(SelfCheckHandles& handles);

/// Capabilities exactly CAP_NET_ADMIN, no_new_privs, `threads` threads, an empty root, not
/// dumpable, and no descriptor but sockets, pipes, the tap, /dev/null and the kernel's anonymous
/// event files.
[[nodiscard]] Status self_check(SelfCheckHandles handles, unsigned threads);

}  // namespace cordon
