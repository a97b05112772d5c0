// What the translator tells the supervisor: denials, flows, trouble. The core calls this seam; the
// real one writes fixed-layout messages to the control channel (host/messages.h), tests collect
// values.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "netstack/policy/policy.h"
#include "netstack/policy/request.h"

namespace cordon {

struct Denial {
  std::uint32_t id = 0;  // counts from 1; the same on stderr and in the log
  Request request;
  Verdict verdict;
};

/// Trouble that a person may want to hear of; each is told at most a few times (the supervisor
/// limits).
enum class Notice : std::uint8_t {
  kNoHostResource,    // code: the errno (EMFILE, EADDRNOTAVAIL, …)
  kPingNotPermitted,  // ping_group_range of the host shuts this user out
  kAdoptionFailed,    // code: the errno of the TCP_REPAIR step
  kSteeringLost,      // the guest's rules were flushed; they are being put back
  kFlowLimit,         // the table is full
  kUpstreamSilent,    // no DNS upstream answered
};

enum class FlowEnd : std::uint8_t { kClosed, kReset, kRefused, kUnreachable, kTimedOut, kRevoked };

struct FlowReport {
  std::uint32_t id = 0;
  Request request;
  std::optional<FlowEnd> end;  // none: the flow has just been opened
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
};

class Events {
 public:
  virtual ~Events() = default;
  /// True where the supervisor will call back (Translator::on_denial_told) once it has looked the
  /// process up; the refusal to the guest then waits for that, or for a short deadline.
  virtual bool denied(const Denial& denial) = 0;
  virtual void flow(const FlowReport& report) = 0;
  virtual void notice(Notice notice, int code) = 0;
};

}  // namespace cordon
