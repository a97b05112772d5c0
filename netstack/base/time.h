// Monotonic time as an argument. An Instant cannot be made from the wall clock by accident: its
// clock is a tag without now(), and only host/ reads a real clock (CLOCK_MONOTONIC, which stops in
// suspend).
#pragma once

#include <chrono>
#include <cstdint>

namespace cordon {

using Duration = std::chrono::nanoseconds;

struct MonotonicTag {
  using rep = Duration::rep;
  using period = Duration::period;
  using duration = Duration;
  using time_point = std::chrono::time_point<MonotonicTag>;
  static constexpr bool is_steady = true;
};

using Instant = MonotonicTag::time_point;

/// Later than every instant that will ever be reached.
inline constexpr Instant kNever = Instant::max();

}  // namespace cordon
