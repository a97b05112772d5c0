// Every system call that a sealed translator may make, with the reason, in one table.
//
// Whatever is not here kills the process at once, both threads of it; so does a call of another
// architecture's numbering (i386, x32). Arguments are compared where the kernel lets a filter see
// them: never what a pointer points to.
#pragma once

#include <cstdint>
#include <span>

#include "netstack/base/result.h"

namespace cordon {

/// A comparison of one argument: (argument & mask) == value.
struct ArgumentRule {
  unsigned index = 0;
  std::uint64_t mask = 0;
  std::uint64_t value = 0;
};

/// The mask of an argument that the kernel reads as an int.
inline constexpr std::uint64_t kIntArgument = 0xffffffff;

/// One permitted call. Several entries of one number are alternatives; the rules of one entry must
/// all hold.
struct PermittedCall {
  int number = 0;
  const char* name = nullptr;
  const char* reason = nullptr;
  unsigned rule_count = 0;
  ArgumentRule rules[3] = {};
};

[[nodiscard]] std::span<const PermittedCall> permitted_translator_calls();

enum class FilterMode : std::uint8_t {
  kKill,     // the product
  kExplain,  // developers and tests: SIGSYS, whose handler writes the call's number and ends the
             // process
};

/// Puts the filter on all threads of the process. Nothing takes it off again. Needs no_new_privs.
[[nodiscard]] Status seal_translator(FilterMode mode);

}  // namespace cordon
