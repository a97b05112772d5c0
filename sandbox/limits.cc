#include "sandbox/limits.h"

#include <algorithm>
#include <string>
#include <sys/resource.h>

namespace cordon {

Result<std::uint64_t> limit_below(int resource, std::uint64_t value) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) {
    return errno_error("getrlimit " + std::to_string(resource));
  }
  return std::min<std::uint64_t>(limit.rlim_max, value);
}

Status lower_limit(int resource, std::uint64_t value) {
  CORDON_TRY(const std::uint64_t lower, limit_below(resource, value));
  const rlimit limit{.rlim_cur = lower, .rlim_max = lower};
  if (::setrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) {
    return errno_error("setrlimit " + std::to_string(resource));
  }
  return {};
}

}  // namespace cordon
