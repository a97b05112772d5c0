#include "netstack/base/invariant.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace cordon {
namespace {

// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): it counts for the process
std::atomic<std::uint64_t> failures{0};

}  // namespace

std::uint64_t failed_invariants() { return failures.load(std::memory_order_relaxed); }

bool invariant_failed(const char* claim, const char* file, int line) {
  // The first one is told; a failure that repeats must not fill anybody's log.
  if (failures.fetch_add(1, std::memory_order_relaxed) == 0) {
    // Without a stderr there is nobody to tell.
    (void)std::fprintf(stderr, "cordon: invariant failed at %s:%d: %s\n", file, line, claim);
  }
#ifndef NDEBUG
  std::abort();
#endif
  return false;
}

}  // namespace cordon
