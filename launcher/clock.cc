#include "launcher/clock.h"

#include <ctime>

namespace cordon {
namespace {

std::int64_t milliseconds_of(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return std::int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

}  // namespace

std::int64_t unix_milliseconds_now() { return milliseconds_of(CLOCK_REALTIME); }

std::int64_t monotonic_milliseconds_now() { return milliseconds_of(CLOCK_MONOTONIC); }

}  // namespace cordon
