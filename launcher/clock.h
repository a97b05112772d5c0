// The launcher's clocks: monotonic_now() is the translator's own.
#pragma once

#include <cstdint>

#include "netstack/host/event_loop.h"

namespace cordon {

/// Milliseconds since 1970-01-01 UTC.
[[nodiscard]] std::int64_t unix_milliseconds_now();
/// Milliseconds of a clock that nobody sets, and that stands still in suspend.
[[nodiscard]] std::int64_t monotonic_milliseconds_now();

}  // namespace cordon
