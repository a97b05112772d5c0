// One audit: opens what is needed outside, starts the sandbox with the prober in it, listens, ends
// the sandbox, judges.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/audit/report.h"
#include "netstack/address/ip_address.h"
#include "netstack/base/result.h"

namespace cordon::audit {

struct AuditPlan {
  std::vector<std::string> sandbox;  // its words; the prober's are put behind them
  std::string name;                  // for comparisons
  std::optional<IpAddress> added_address;
  std::optional<Endpoint> allowed;
  bool lets_public_out = false;
  unsigned seconds = 30;  // what takes longer is ended
};

/// The error tells why there is no result at all: the sandbox cannot be started, or the prober was
/// never heard of.
[[nodiscard]] Result<Report> run_audit(const AuditPlan& plan);

}  // namespace cordon::audit
