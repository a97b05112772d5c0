// A token bucket: at most `rate` events a second on average, at most `burst` at once. Time is an
// argument; nothing runs between calls.
#pragma once

#include <algorithm>
#include <cstdint>

#include "netstack/base/time.h"

namespace cordon {

class TokenBucket {
 public:
  /// `rate_per_second` and `burst` are events; both at least 1.
  constexpr TokenBucket(std::uint32_t rate_per_second, std::uint32_t burst)
      : interval_(Duration(std::chrono::seconds(1)) / rate_per_second),
        capacity_(interval_ * burst),
        credit_(capacity_) {}

  /// Takes one token if there is one.
  [[nodiscard]] bool take(Instant now) {
    if (now > last_) {
      // A long pause fills the bucket and no more; clamping first keeps the sum from overflowing.
      credit_ = std::min(capacity_, credit_ + std::min(capacity_, now - last_));
      last_ = now;
    }
    if (credit_ < interval_) return false;
    credit_ -= interval_;
    return true;
  }

 private:
  Duration interval_;
  Duration capacity_;
  Duration credit_;
  Instant last_{};
};

}  // namespace cordon
