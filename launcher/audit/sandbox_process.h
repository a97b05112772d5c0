// The sandbox, started as a person would start it: in a session of its own on a terminal, with
// descriptors open that it had better close.
//
// Standard input is the terminal, standard output and standard error are pipes. The terminal is
// raw: what is typed into it from inside stands on its input side as it was typed.
#pragma once

#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon::audit {

class SandboxProcess {
 public:
  /// `left_open`: given to the sandbox under their own numbers.
  [[nodiscard]] static Result<SandboxProcess> start(const std::vector<std::string>& words,
                                                    const std::vector<int>& left_open);
  SandboxProcess(SandboxProcess&&) noexcept = default;
  SandboxProcess& operator=(SandboxProcess&&) = delete;
  SandboxProcess(const SandboxProcess&) = delete;
  SandboxProcess& operator=(const SandboxProcess&) = delete;
  /// Ends it, and whatever is left of its session's first process group.
  ~SandboxProcess();

  [[nodiscard]] int output() const { return output_.get(); }
  [[nodiscard]] int errors() const { return errors_.get(); }
  /// What was typed into the terminal from inside.
  [[nodiscard]] std::string typed();
  /// Its status as a shell would say it, once it has ended.
  [[nodiscard]] std::optional<int> status() const;

 private:
  SandboxProcess() = default;

  pid_t pid_ = -1;
  UniqueFd terminal_;  // the master
  UniqueFd terminal_inside_;
  UniqueFd output_;
  UniqueFd errors_;
  std::string typed_;
};

}  // namespace cordon::audit
