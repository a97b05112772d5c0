// Capabilities of the calling thread (capabilities(7)). They are a thread's, not a process's: a
// process of two threads calls this in both.
#pragma once

#include "netstack/base/result.h"

namespace cordon {

enum class KeptCapabilities : unsigned char {
  kNone,
  kNetAdmin,  // in U: power over N, nothing on the host
};

/// Securebits that make uid 0 an ordinary id, locked; then bounding, inheritable and ambient sets
/// empty, permitted and effective as kept. Needs CAP_SETPCAP, and is not to be undone.
[[nodiscard]] Status restrict_capabilities(KeptCapabilities kept);

/// Whether the thread has exactly that and nothing more, asked from the kernel.
[[nodiscard]] Status check_capabilities(KeptCapabilities kept);

[[nodiscard]] Status set_no_new_privileges();

}  // namespace cordon
