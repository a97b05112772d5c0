// A claim about our own state, never about what a guest or a host sent. Where it does not hold we
// are wrong. Debug builds, tests and fuzzers abort at the line; a release counts it, and the caller
// ends the one flow that is concerned:
//
//     if (!CORDON_INVARIANT(flow.has_socket())) return end_flow(flow);
#pragma once

#include <cstdint>

namespace cordon {

/// How many invariants failed in this process (a release build goes on).
[[nodiscard]] std::uint64_t failed_invariants();

/// Records a failure; aborts where NDEBUG is not defined. Always returns false.
bool invariant_failed(const char* claim, const char* file, int line);

}  // namespace cordon

#define CORDON_INVARIANT(claim) \
  ((claim) ? true : ::cordon::invariant_failed(#claim, __FILE__, __LINE__))
