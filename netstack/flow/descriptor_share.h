// How the descriptors of the process are shared out. A TCP flow takes two, one for each side; all
// others (UDP, echo, DNS, dials by name, full pipes, sockets made ahead) have bounds of their own
// and together a share that TCP leaves alone, so that names are still resolved when it has all it
// may have.
//
// The limit (RLIMIT_NOFILE) is one of a table of descriptors. Each relay has a table of its own, so
// where the worker's is too small for kMaxFlows, relays are there to take over streams that rest.
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
/// What a relay needs besides its streams: its loop, its channel, and pipes that are full.
inline constexpr std::size_t kDescriptorsOfRelay = 384;

/// TCP flows at once whose sockets are in one table, the worker's, of so many descriptors.
[[nodiscard]] constexpr std::size_t tcp_flows_within(std::size_t descriptors) {
  const std::size_t left = descriptors - std::min(descriptors / 2, kReservedDescriptors);
  const std::size_t for_tcp = left - std::min(left / 4, kDescriptorsForOthers);
  return std::clamp(for_tcp / 2, kFewestTcpFlows, kMaxFlows);
}

/// Streams at once of a relay whose table has so many descriptors.
[[nodiscard]] constexpr std::size_t relayed_streams_within(std::size_t descriptors) {
  const std::size_t left = descriptors - std::min(descriptors, kDescriptorsOfRelay);
  return std::min(left / 2, kMaxRelayedStreams);
}

/// Relays that it takes to have kMaxFlows, or as many as are worth their threads.
[[nodiscard]] constexpr std::size_t relays_for_flows(std::size_t descriptors) {
  const std::size_t of_each = relayed_streams_within(descriptors);
  if (of_each == 0) return 0;
  const std::size_t missing = kMaxFlows - tcp_flows_within(descriptors);
  return std::min((missing + of_each - 1) / of_each, kMaxRelaysForFlows);
}

/// TCP flows at once, and how many of them may have their sockets with the worker.
struct TcpCapacity {
  std::size_t flows = 0;
  std::size_t held = 0;
};
[[nodiscard]] constexpr TcpCapacity tcp_capacity(std::size_t descriptors, std::size_t relays) {
  const std::size_t held = tcp_flows_within(descriptors);
  return {.flows = std::min(held + relays * relayed_streams_within(descriptors), kMaxFlows),
          .held = held};
}

}  // namespace cordon
