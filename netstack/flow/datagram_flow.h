// What a flow of datagrams is whatever its protocol, and what is done with it: UDP (udp/) and echo
// (icmp/) differ in sockets and headers, and in nothing that is here.
//
// A flow by name has no destination until its name has been looked up and an address chosen
// (flow/named_choice.h); until somebody answers it may turn to another (flow/named_trials.h). A
// refusal is an ICMP error "prohibited" from the gateway that quotes the guest's own packet,
// `offending`; an empty one is refused in silence.
#pragma once

#include "netstack/flow/context.h"
#include "netstack/flow/key.h"
#include "netstack/flow/meter.h"
#include "netstack/flow/named_choice.h"
#include "netstack/flow/named_trials.h"

namespace cordon {

struct DatagramFlow {
  std::optional<AllowedDestination> destination;  // none while the name is looked up
  NamedChoice choice;
  NamedTrials::Place trial;
  Meter meter;
  bool is_answered = false;  // by name, and a person has said yes
};

/// Tells the denial, and the guest (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1), within the
/// rate of ICMP errors.
void refuse_datagram(Instant now, const FlowContext& context, const Judgement& judgement,
                     Bytes offending);

/// False, and the denial is out, where a flow to `destination` would be one too many.
[[nodiscard]] bool may_open(Instant now, const FlowContext& context,
                            const AllowedDestination& destination, Bytes offending);

/// meter.h's measure(), with what it denies told and what it cuts counted.
[[nodiscard]] Measured count_datagram(Instant now, const FlowContext& context, DatagramFlow& flow,
                                      Way way, std::size_t octets, std::size_t segment,
                                      Bytes offending);

/// What a look-up's answer means for a flow that has no destination.
struct NamedOutcome {
  NamedChoice::State state = NamedChoice::State::kDenied;
  Request by_name;
  Judgement judgement;  // of the address that was chosen, or why there is none
};
/// Judges the name again, since the policy may be another one than when the look-up began, then its
/// addresses, which are of one family.
[[nodiscard]] NamedOutcome choose_address(const FlowContext& context, Protocol protocol,
                                          const FlowKey& key, DatagramFlow& flow,
                                          std::span<const IpAddress> addresses);

/// A flow that has a destination is judged again: true, and the rule that allows it is taken over,
/// where it may live on. Else the denial is out.
[[nodiscard]] bool may_live_on(Instant now, const FlowContext& context, const Judgement& judgement,
                               DatagramFlow& flow);

}  // namespace cordon
