// ICMP errors of the host's network, shown to the guest: which error, from whom. Shared by UDP and
// echo.
#pragma once

#include "netstack/flow/context.h"

namespace cordon {

/// Sends the guest the error that `error` stands for, quoting `offending`, the guest's packet as it
/// was (as far as it is known). The reporter is the router that the host heard of; the gateway
/// where that is the host itself or an address that would be nobody's inside.
void show_host_error(Instant now, const FlowContext& context, const IpAddress& guest,
                     const DatagramError& error, Bytes offending);

}  // namespace cordon
