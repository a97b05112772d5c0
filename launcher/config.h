// From options and the host's facts to the plan of one sandbox. Pure: what the host's facts are is
// asked in verbs/run.cc.
#pragma once

#include <vector>

#include "launcher/command_line.h"
#include "launcher/host/resolv_conf.h"
#include "launcher/host/subnet_choice.h"
#include "launcher/supervisor.h"
#include "netstack/base/result.h"

namespace cordon {

struct HostFacts {
  ResolvConf resolv_conf;
  std::vector<HostNetwork> networks;
  unsigned processors = 1;  // that we may use
};

/// The name by which the guest reaches the host's loopback, where the policy allows a port of it.
inline constexpr std::string_view kHostDoorName = "host.cordon.internal";

/// Threads that move streams where nobody says how many.
[[nodiscard]] unsigned default_workers(unsigned processors);

/// fe80::/64 and the modified EUI-64 of `mac` (RFC 4291 appendix A).
[[nodiscard]] IpAddress link_local_of(const MacAddress& mac);

/// Everything but SandboxPlan::published, which needs sockets. Errors: a --subnet that cannot be,
/// or no subnet free.
[[nodiscard]] Result<SandboxPlan> plan_sandbox(const RunOptions& options, const HostFacts& host);

}  // namespace cordon
