// The prober: what runs inside the sandbox and tries every way out.
//
// It is this program with a hidden verb and the plan as its only word. It opens nothing before it
// is told to, uses plain system calls, changes nothing that lasts (powers are found out by asking
// for the removal of what is not there), and says on standard output what came of each attempt.
// What was *heard* is for the servers outside to say. Attempts that a filter may answer with a
// signal are made in children, so that one such answer ends one attempt.
//
//     probe_walls.cc    descriptors, unix sockets, terminal, kernel
//     probe_processes.cc  outside processes
//     probe_packets.cc  echo, raw, packet and vsock sockets, multicast, broadcast
//     probe_streams.cc  everything that is dialled: TCP, UDP, UDP-Lite, SCTP, DNS
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "launcher/audit/plan.h"
#include "launcher/audit/probe_report.h"

namespace cordon::audit {

inline constexpr const char* kProberVerb = "audit-prober";

/// The hidden verb; `word` is encode_plan()'s. The status to exit with.
[[nodiscard]] int probe(const std::string& word);

/// Writes the prober's lines.
class Teller {
 public:
  explicit Teller(std::string nonce) : nonce_(std::move(nonce)) {}
  void report(Leak leak, Outcome outcome, const std::string& words) const {
    write(ProbeReport{leak, outcome, words});
  }
  void notice(ProberNotice::Kind kind, bool is_good = true, const std::string& words = {}) const {
    write(ProberNotice{kind, is_good, words});
  }
  /// An attempt that failed with `code`.
  void refused(Leak leak, const std::string& what, int code) const;

 private:
  void write(const ProberLine& line) const;
  std::string nonce_;
};

/// "Connection refused".
[[nodiscard]] std::string error_words(int code);

/// Makes the attempt in a child. Tells of the child's death by a signal, or of its being ended
/// after `milliseconds`.
void in_child(const Teller& teller, Leak leak, int milliseconds,
              const std::function<void()>& attempt);

/// The entries of a folder that are numbers; nullopt where it cannot be read. The folder's own
/// descriptor, which /proc/self/fd would show, is left out.
[[nodiscard]] std::optional<std::vector<int>> numbers_in(const char* path);

/// Descriptors above 2 that are open now.
[[nodiscard]] std::vector<int> open_descriptors();

void probe_descriptors(const ProbePlan& plan, const Teller& teller,
                       const std::vector<int>& inherited);
void probe_unix_sockets(const ProbePlan& plan, const Teller& teller);
void probe_terminal(const ProbePlan& plan, const Teller& teller);
void probe_kernel(const Teller& teller);
void probe_processes(const ProbePlan& plan, const Teller& teller);
void probe_packets(const ProbePlan& plan, const Teller& teller);
void probe_streams(const ProbePlan& plan, const Teller& teller);
void probe_names(const ProbePlan& plan, const Teller& teller);
void probe_added_address(const ProbePlan& plan, const Teller& teller);

/// What the servers outside send over lo all the time, for a packet socket to find.
[[nodiscard]] std::string lo_mark(std::string_view nonce);

}  // namespace cordon::audit
