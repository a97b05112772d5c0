// Resource limits (setrlimit(2)), only ever downwards.
#pragma once

#include <cstdint>

#include "netstack/base/result.h"

namespace cordon {

/// Soft and hard limit of `resource` (RLIMIT_…) become `value`, or the present hard limit where
/// that is lower.
[[nodiscard]] Status lower_limit(int resource, std::uint64_t value);

/// What lower_limit() would make of it.
[[nodiscard]] Result<std::uint64_t> limit_below(int resource, std::uint64_t value);

}  // namespace cordon
