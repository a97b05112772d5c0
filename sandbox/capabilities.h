// Capabilities of the calling thread (capabilities(7)). They are a thread's, not a process's: a
// process of two threads calls this in both.
#pragma once

#include "netstack/base/result.h"

namespace cordon {

enum class KeptCapabilities : unsigned char {
  kNone,
  kNetAdmin,  // in U: power over N, nothing on the host
  // In U2, kept over execve(2): since Linux 5.12 whoever makes a user namespace needs it to map uid
  // 0 there (user_namespaces(7)). What else it may do, give files capabilities, it may do to the
  // caller's own files alone.
  kSetFileCapabilities,
};

/// Securebits that make uid 0 an ordinary id, locked; then the bounding set empty, permitted and
/// effective as kept, inheritable and ambient empty but for kSetFileCapabilities. Needs
/// CAP_SETPCAP, and is not to be undone.
[[nodiscard]] Status restrict_capabilities(KeptCapabilities kept);

/// Whether the thread has exactly that and nothing more, asked from the kernel.
[[nodiscard]] Status check_capabilities(KeptCapabilities kept);

[[nodiscard]] Status set_no_new_privileges();

}  // namespace cordon
