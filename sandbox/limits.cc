#include "sandbox/limits.h"

#include <algorithm>
#include <string>
#include <sys/resource.h>

namespace cordon {

Status lower_limit(int resource, std::uint64_t value) {
  const auto which = static_cast<__rlimit_resource>(resource);
  rlimit limit{};
  if (::getrlimit(which, &limit) != 0) return errno_error("getrlimit " + std::to_string(resource));
  limit.rlim_max = std::min<rlim_t>(limit.rlim_max, value);
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(which, &limit) != 0) return errno_error("setrlimit " + std::to_string(resource));
  return {};
}

}  // namespace cordon
