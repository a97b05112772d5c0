// The launcher's clocks: monotonic_now() is the translator's own.
#pragma once

#include <cstdint>

#include "netstack/host/event_loop.h"

namespace cordon {

/// Milliseconds since 1970-01-01 UTC.
[[nodiscard]] std::int64_t unix_milliseconds_now();

}  // namespace cordon
