// What translator and guest tell the supervisor while they are set up, and guest init afterwards.
// One SOCK_SEQPACKET pair each, fixed layout; descriptors travel along (unix(7), SCM_RIGHTS).
//
// The other way, to guest init only, goes one number a packet: kOpenGate, or a signal to pass on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

enum class SetupStep : std::uint32_t {
  kNetworkReady,   // translator: descriptors of U, N and the NETLINK_SOCK_DIAG socket
  kSealed,         // translator: number is 1 where the old root could only be hidden, not left
  kForked,         // helper: number is guest init's pid
  kIsolated,       // guest init: waits at the gate
  kCannotExecute,  // the command's process: number is the errno
  kStopped,        // guest init: the command was stopped by the signal `number`
  kFailed,         // anyone, then ends: number is the errno or 0, text the chain
};

struct SetupMessage {
  SetupStep step = SetupStep::kFailed;
  std::int32_t number = 0;
  std::string text;
  std::vector<UniqueFd> descriptors;
};

inline constexpr std::int32_t kOpenGate = 0;

/// `text` is cut to what fits.
[[nodiscard]] Status send_setup(int channel, const SetupMessage& message);
/// Waits. EPIPE where the other side is gone, EPROTO where it sent something else.
[[nodiscard]] Result<SetupMessage> receive_setup(int channel);

[[nodiscard]] Status send_order(int channel, std::int32_t order);
/// Waits. EPIPE where the supervisor is gone.
[[nodiscard]] Result<std::int32_t> receive_order(int channel);

}  // namespace cordon
