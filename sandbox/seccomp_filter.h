// A syscall filter under construction (seccomp(2), by libseccomp).
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "netstack/base/result.h"
#include "sandbox/translator_syscalls.h"

namespace cordon {

/// What happens to a call, in libseccomp's numbers.
class FilterAction {
 public:
  [[nodiscard]] static FilterAction allow();
  [[nodiscard]] static FilterAction kill_process();
  /// SIGSYS to the calling thread.
  [[nodiscard]] static FilterAction trap();
  /// The call returns that errno.
  [[nodiscard]] static FilterAction refuse(int code);
  [[nodiscard]] std::uint32_t value() const { return value_; }

 private:
  explicit FilterAction(std::uint32_t value) : value_(value) {}
  std::uint32_t value_;
};

class SeccompFilter {
 public:
  /// `otherwise` is for calls that no rule names; a call of a foreign architecture kills.
  [[nodiscard]] static Result<SeccompFilter> create(FilterAction otherwise);

  /// `number` as SCMP_SYS() has it: a call that this architecture lacks is left out, and so is what
  /// is equal to the filter's own default.
  [[nodiscard]] Status add(FilterAction action, int number,
                           std::span<const ArgumentRule> rules = {});

  /// The calling thread and its children.
  [[nodiscard]] Status load();
  /// Every thread of the process, or none where one cannot be reached.
  [[nodiscard]] Status load_on_all_threads();

 private:
  struct Release {
    void operator()(void* context) const;
  };
  explicit SeccompFilter(void* context) : context_(context) {}
  std::unique_ptr<void, Release> context_;
};

/// Developers' aid: SIGSYS writes "refused system call N" to standard error, then ends the process.
[[nodiscard]] Status explain_refused_calls();

}  // namespace cordon
