// What the guest's command may not ask of the kernel. A deny list: the command is any program, and
// what is unknown here must work. It shuts three doors: new namespaces and mounts (with which a
// program gets powers that an ordinary user does not have), parts of the kernel that have been ways
// out before, and the two ioctls that type into the user's terminal.
//
// Most refused calls return EPERM; those with a replacement that programs fall back from return
// ENOSYS (clone3, the new mount API). Calls of another architecture's numbering kill the process:
// they would be a second door beside the first.
#pragma once

#include "netstack/base/result.h"

namespace cordon {

struct GuestFilterPlan {
  bool may_nest =
      false;  // namespaces and mounts are permitted, for programs that sandbox themselves
  bool may_ptrace = false;  // debuggers
};

/// Puts the filter on the calling thread and everything that it starts. Needs no_new_privs.
[[nodiscard]] Status seal_guest(const GuestFilterPlan& plan);

}  // namespace cordon
