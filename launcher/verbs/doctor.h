// cordon doctor: what this host lacks for `cordon run`, and the remedy for each.
#pragma once

#include <span>
#include <string>

#include "launcher/host/host_probe.h"

namespace cordon {

/// The report as it is printed. `has_colour`: for a terminal.
[[nodiscard]] std::string doctor_report(std::span<const Finding> findings, bool has_colour);

/// Probes, prints on stdout. 0 where `cordon run` can work, 1 where it cannot.
[[nodiscard]] int doctor();

}  // namespace cordon
