// What every protocol's flows need: the configuration, the seams, and the parts of the translator
// that are shared. References only; the translator owns it all and outlives them.
#pragma once

#include "netstack/flow/admission.h"
#include "netstack/flow/budgets.h"
#include "netstack/flow/destination_load.h"
#include "netstack/flow/introductions.h"
#include "netstack/flow/refusals.h"
#include "netstack/flow/table.h"
#include "netstack/link/guest_link.h"
#include "netstack/seams/events.h"
#include "netstack/seams/guest_sockets.h"
#include "netstack/seams/host_sockets.h"
#include "netstack/seams/relays.h"

namespace cordon {

/// DNS; whatever address a guest sends it to, names/ and the host's upstreams answer.
inline constexpr std::uint16_t kDnsPort = 53;

struct FlowContext {
  const TranslatorConfig& config;
  Admission& admission;
  NamePool& pool;
  NamePins& pins;
  Budgets& budgets;
  Refusals& refusals;
  Introductions& introductions;
  DestinationLoad& load;
  GuestLink& link;
  HostSockets& host;
  GuestSockets& guest;
  Streams& streams;
  Relays* relays;  // none: every stream stays with us
  Entropy& entropy;
  Events& events;
  DropCounters& drops;
};

/// Whose a socket is: one flow's, as long as that flow lives.
[[nodiscard]] inline SocketOwner owner_of(OwnerKind kind, FlowId id) {
  return SocketOwner{.kind = kind, .generation = id.generation, .index = id.index};
}

/// How an errno of the host looks to a guest that asked for a flow: the ICMP error, or none where
/// nothing is sent (the guest tries again, or a reset says it).
[[nodiscard]] std::optional<IcmpError> icmp_for_errno(int error);

/// The host is out of descriptors, ports or memory: the flow is dropped silently and the guest
/// retries.
[[nodiscard]] bool is_out_of_resources(int error);

}  // namespace cordon
