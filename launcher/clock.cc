#include "launcher/clock.h"

#include <ctime>

namespace cordon {

std::int64_t unix_milliseconds_now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return std::int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

}  // namespace cordon
