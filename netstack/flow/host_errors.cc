#include "netstack/flow/host_errors.h"

namespace cordon {

void show_host_error(Instant now, const FlowContext& context, const IpAddress& guest,
                     const DatagramError& error, Bytes offending) {
  const std::optional<IcmpError> icmp =
      error.is_ttl_exceeded ? IcmpError::kTtlExceeded : icmp_for_errno(error.error);
  if (!icmp) return;
  IpAddress reporter = context.admission.link(guest.family()).gateway;
  if (error.offender && error.offender->family() == guest.family() &&
      !error.offender->is_loopback() && !error.offender->is_unspecified() &&
      !error.offender->is_link_local()) {
    reporter = *error.offender;
  }
  context.link.send_icmp_error(
      now,
      IcmpErrorFields{.source = reporter, .destination = guest, .error = *icmp, .mtu = error.mtu},
      offending);
}

}  // namespace cordon
