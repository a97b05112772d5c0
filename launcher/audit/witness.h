// A process outside that a prober may try to see, to signal, to trace and to rob. It stands for
// every process of the user who runs the sandbox, and is there to be harmed so that no other is.
//
// It is the same program with a hidden verb, so that /proc shows an environment of its own with a
// secret in it. Descriptor 3 is the line to the audit, 4 a connected socket worth stealing.
#pragma once

#include <cstdint>
#include <string>
#include <sys/types.h>

#include "launcher/audit/evidence.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon::audit {

/// The hidden verb's words: `cordon audit-witness NAME`. Never returns.
inline constexpr const char* kWitnessVerb = "audit-witness";
inline constexpr int kWitnessLine = 3;
inline constexpr int kWitnessStream = 4;
[[noreturn]] void live_as_witness(const std::string& name);

class Witness {
 public:
  /// `name`: at most 15 octets, as /proc/PID/comm shows it.
  [[nodiscard]] static Result<Witness> start(const std::string& program, const std::string& name,
                                             const std::string& secret);
  Witness(Witness&&) noexcept = default;
  Witness& operator=(Witness&&) = delete;
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
  ~Witness();

  /// The other end of its socket; a token that arrives here was sent by a thief.
  [[nodiscard]] UniqueFd take_stream() { return std::move(stream_); }
  /// Writes down what has befallen it since the last look.
  void look(Evidence& evidence) const;

 private:
  Witness(pid_t pid, UniqueFd line, UniqueFd stream)
      : pid_(pid), line_(std::move(line)), stream_(std::move(stream)) {}

  pid_t pid_;
  UniqueFd line_;
  UniqueFd stream_;
};

}  // namespace cordon::audit
