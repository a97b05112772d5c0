// Landlock (landlock(7)): a second wall behind the empty root and the syscall filter.
#pragma once

#include "netstack/base/result.h"

namespace cordon {

/// The calling thread may touch no file at all from now on, and, where the kernel's ABI has scopes
/// (6), reach no abstract unix socket and signal nobody outside. Goes well without doing anything
/// where the kernel has no Landlock or has it disabled. Needs no_new_privs.
[[nodiscard]] Status forbid_all_files();

}  // namespace cordon
