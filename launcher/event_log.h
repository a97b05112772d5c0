// What a person and a log reader are told about the sandbox's flows.
//
// On stderr, one stable line for each denial, and at the end a summary if something was denied:
//
//     cordon: denied tcp 198.51.100.7:443 rule=default id=17 by pid 4711 (node)
//                                                       ; to allow it: --allow 198.51.100.7:443
//     cordon: 1 flow was denied
//
// `rule=` is `default`, `floor` (with ` class=lan` or the like), `scope`, or the option that
// denied, as it is written: `rule=--deny=198.51.100.7`. At most ten lines a second of each kind,
// then "N more".
//
// In the --log FILE, one JSON object a line. Keys, always with these names and types; a key whose
// value is not known is left out:
//     time         string   RFC 3339, UTC, milliseconds
//     event        string   "denied", "flow_opened", "flow_closed", "notice", "suppressed"
//     id           number   of the denial or flow; the same as on stderr
//     direction    string   "outbound", "inbound"
//     protocol     string   "tcp", "udp", "icmp"
//     guest        string   address:port inside; for icmp the address alone
//     destination  string   what was or would have been dialled; inbound: the remote client
//     host_door    boolean  present and true where the guest dialled host.cordon.internal
//     class        string   of the destination (policy)
//     rule         string   denied: as on stderr
//     reason       string   denied: "rule", "floor", "default", "scope"
//     remedy       string   denied: the option that would allow it
//     pid, program number, string   denied: the guest's process, as the host numbers it
//     end          string   flow_closed: "closed", "reset", "refused", "unreachable", "timed_out",
//     "revoked" bytes_up, bytes_down  number  flow_closed: from the guest, to the guest notice,
//     text string   notice: its stable name, and the words of stderr errno        number   notice:
//     where there is one count        number   suppressed: events that were left out since the last
//     line (1,000 a second pass)
//
// Nothing here stops or delays the run: a line that stderr or the file does not take at once is
// lost, and the loss is told at the end. Bytes that come from the guest (program names) are
// escaped, and no line is longer than 1 KiB.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "launcher/command_line.h"
#include "launcher/process_lookup.h"
#include "netstack/base/result.h"
#include "netstack/base/time.h"
#include "netstack/base/unique_fd.h"
#include "netstack/policy/policy.h"
#include "netstack/seams/events.h"

namespace cordon {

inline constexpr std::size_t kMaxLineOctets = 1024;

/// Printable ASCII stays; everything else, and the backslash, becomes \xNN, so that no program's
/// name can move a cursor or end a line.
[[nodiscard]] std::string escape_text(std::string_view text);

/// "2026-01-31T23:59:59.123Z" for milliseconds since the epoch.
[[nodiscard]] std::string rfc3339(std::int64_t unix_milliseconds);

/// The lines of stderr, without "cordon: " and without the line's end.
[[nodiscard]] std::string denial_text(const Denial& denial, const Policy& policy,
                                      const std::optional<GuestProcess>& process);
[[nodiscard]] std::string flow_text(const FlowReport& report);
[[nodiscard]] std::string notice_text(Notice notice, int code);

/// The lines of the log, without the line's end.
[[nodiscard]] std::string denial_json(std::int64_t unix_milliseconds, const Denial& denial,
                                      const Policy& policy,
                                      const std::optional<GuestProcess>& process);
[[nodiscard]] std::string flow_json(std::int64_t unix_milliseconds, const FlowReport& report);
[[nodiscard]] std::string notice_json(std::int64_t unix_milliseconds, Notice notice, int code);

/// Opens --log FILE to append to. A fifo must have a reader. The error names option and remedy.
[[nodiscard]] Result<UniqueFd> open_log(const std::string& path);

class EventLog {
 public:
  /// `stderr_fd` stays the caller's. `log` may be closed: no log. `policy` outlives this.
  EventLog(Verbosity verbosity, int stderr_fd, UniqueFd log, const Policy& policy);

  void denied(const Denial& denial, const std::optional<GuestProcess>& process);
  void flow(const FlowReport& report);
  void notice(Notice notice, int code);
  /// Trouble of our own; told even with --quiet.
  void trouble(std::string_view words);
  /// A line for --verbose only.
  void remark(std::string_view words);
  /// The summary, once.
  void finish();

 private:
  enum class Kind : std::uint8_t { kDenied, kFlow, kNotice };
  static constexpr std::size_t kKinds = 3;
  /// So many lines in a second; what comes on top is counted and told when the second is over.
  struct Window {
    unsigned limit = 0;
    Instant start{};
    unsigned used = 0;
    std::uint64_t left_out = 0;

    /// Begins a new second where the last one is over; how many were left out in that.
    std::uint64_t turn(Instant now);
    bool take();
  };

  void say_limited(Kind kind, const std::string& words);
  void tell_left_out(Kind kind, std::uint64_t count);
  void log_left_out(std::uint64_t count);
  void say(std::string_view words) const;
  void log_limited(const std::string& json);
  void log(const std::string& json);

  Verbosity verbosity_;
  int stderr_fd_;
  UniqueFd log_;
  const Policy& policy_;
  std::array<Window, kKinds> windows_{Window{10}, Window{10}, Window{10}};
  Window log_window_{1000};
  std::uint64_t log_lost_ = 0;
  int log_error_ = 0;  // the first one
  bool is_log_torn_ = false;
  std::uint64_t denials_ = 0;
  struct Told {
    unsigned times = 0;
    Instant last{};
  };
  std::map<Notice, Told> notices_;
};

}  // namespace cordon
