// The system calls of a piece of work, by ptrace(2): the kernel's own word for them, whoever makes
// them and by whichever library.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace cordon::bench {

struct TracedCall {
  std::uint64_t number = 0;
  std::array<std::uint64_t, 6> arguments{};
};

/// Runs `work` in a forked child and returns its calls, in parts: a part ends where `work` calls
/// end_part(). What comes behind the last one is left out.
[[nodiscard]] std::vector<std::vector<TracedCall>> trace_calls(const std::function<void()>& work);
/// For `work` alone.
void end_part();

/// Whether the translator's filter (sandbox/translator_syscalls.cc) lets the call pass.
[[nodiscard]] bool is_permitted(const TracedCall& call);
/// "openat", "socket(1, 524290, 0)" where the filter looks at the arguments; by libseccomp.
[[nodiscard]] std::string name_of(const TracedCall& call);

}  // namespace cordon::bench
