// How the descriptors of the process are shared out. A TCP flow takes two, one for each side; all
// others (UDP, echo, DNS, dials by name, full pipes, sockets made ahead) have bounds of their own
// and together a share that TCP leaves alone, so that names are still resolved when it has all it
// may have.
#pragma once

#include <algorithm>
#include <cstddef>

#include "netstack/flow/limits.h"

namespace cordon {

/// What TCP leaves to the others: room for the DNS questions of kMaxDnsQueries guests' ports and as
/// many sockets and pipes besides. Of a small limit it is a quarter.
inline constexpr std::size_t kDescriptorsForOthers = 2 * kMaxDnsQueries;
/// However small the limit is.
inline constexpr std::size_t kFewestTcpFlows = 16;

/// TCP flows at once in a process that may have so many descriptors.
[[nodiscard]] constexpr std::size_t tcp_flows_within(std::size_t descriptors) {
  const std::size_t left = descriptors - std::min(descriptors / 2, kReservedDescriptors);
  const std::size_t for_tcp = left - std::min(left / 4, kDescriptorsForOthers);
  return std::clamp(for_tcp / 2, kFewestTcpFlows, kMaxFlows);
}

}  // namespace cordon
