// What a person and a log reader are told about the sandbox's flows: the sink of events.
//
// On stderr the lines of event_text.h, one for each denial, and at the end a summary if something
// was denied. At most ten lines a second of each kind, then "N more". The A and AAAA questions for
// one name are one line. In the --log FILE, and to those who listen (`cordon events`), the objects
// of event_json.h, one a line.
//
// Nothing here stops or delays the run: a line that stderr or the file does not take at once is
// lost, and the loss is told at the end. No line of stderr is longer than 1 KiB.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/events/event_json.h"
#include "launcher/events/event_text.h"
#include "launcher/run_options.h"
#include "netstack/base/result.h"
#include "netstack/base/time.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

inline constexpr std::size_t kMaxLineOctets = 1024;

/// Opens --log FILE to append to. A fifo must have a reader. The error names option and remedy.
[[nodiscard]] Result<UniqueFd> open_log(const std::string& path);

class EventLog {
 public:
  using Listener = std::function<void(std::string_view json)>;

  /// What the log holds.
  struct Choice {
    bool is_text = false;  // the lines of stderr with their time, instead of objects
    bool has_flows = true;
    bool has_denied = true;
  };

  /// `stderr_fd` stays the caller's. `log` may be closed: no log.
  EventLog(Verbosity verbosity, int stderr_fd, UniqueFd log);
  void set_choice(const Choice& choice) { choice_ = choice; }

  /// Whether lines on stderr would stand in somebody's picture; then they wait, in their order.
  /// `on_held` is called as the first of them begins to wait; who listens calls release() until it
  /// is true.
  void set_screen(std::function<bool()> is_taken, std::function<void()> on_held) {
    is_screen_taken_ = std::move(is_taken);
    on_held_ = std::move(on_held);
  }
  /// Writes what waits, if it may be written by now; true: nothing waits any more.
  bool release();

  /// Gets every object that the log gets; an empty one ends that.
  void set_listener(Listener listener) { listener_ = std::move(listener); }
  /// Whether anybody reads objects.
  [[nodiscard]] bool is_read() const { return log_.is_open() || listener_ != nullptr; }

  /// `policy`: the one that decided.
  void denied(const Denial& denial, const Policy& policy,
              const std::optional<GuestProcess>& process);
  void flow(const FlowReport& report, const Policy& policy,
            const std::optional<GuestProcess>& process);
  void notice(Notice notice, int code);
  /// Trouble of our own; told even with --quiet.
  void trouble(std::string_view words);
  /// A line that is no event: something is to be done. `words` are escaped already. Not with
  /// --quiet.
  void say_to_person(std::string_view words);
  /// A line for --verbose only.
  void remark(std::string_view words);
  /// An event of the launcher's own, made with begin_event(), and its line of stderr.
  void tell(const Json& event, std::string_view words);
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

  [[nodiscard]] bool is_twin_of_last_query(const Denial& denial);
  void say_limited(Kind kind, const std::string& words);
  void tell_left_out(Kind kind, std::uint64_t count);
  void log_left_out(std::uint64_t count);
  void say(std::string_view words);
  void write_line(std::string line) const;
  /// `text`: the words of stderr; `is_chosen`: the log is to have it.
  void log_limited(const std::string& json, const std::string& text, bool is_chosen = true);
  void log(const std::string& json, const std::string& text, bool is_chosen);

  Verbosity verbosity_;
  Choice choice_;
  int stderr_fd_;
  UniqueFd log_;
  Listener listener_;
  std::function<bool()> is_screen_taken_;
  std::function<void()> on_held_;
  std::vector<std::string> held_;
  std::uint64_t held_out_ = 0;  // more of them than are kept
  std::array<Window, kKinds> windows_{Window{10}, Window{10}, Window{10}};
  Window log_window_{1000};
  std::uint64_t log_lost_ = 0;
  int log_error_ = 0;  // the first one
  bool is_log_torn_ = false;
  std::uint64_t denied_flows_ = 0;
  std::uint64_t denied_names_ = 0;
  bool is_only_reporting_ = true;  // every denial so far
  std::string last_query_;
  Instant last_query_at_{};
  struct Told {
    unsigned times = 0;
    Instant last{};
  };
  std::map<Notice, Told> notices_;
};

}  // namespace cordon
