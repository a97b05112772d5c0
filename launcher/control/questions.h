// Flows that wait for a person: what was asked, who is asked, what was said.
//
// A flow that an ask rule (or --ask) holds comes as a Question. Flows that want the same (protocol,
// name or address, port) are one question, however many wait. What a person has said before answers
// at once: "run" and "always" for the rest of the run, "minutes" for that long, "no" for a minute,
// so that a program that tries again does not ask again, "never" for the rest of the run. An answer
// says which flows may begin; those that have begun live on when its time is over.
//
// Nobody there to ask, or nobody answers in time: no.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/events/event_log.h"
#include "launcher/events/process_lookup.h"
#include "launcher/policy/live_policy.h"
#include "launcher/side_loop.h"
#include "launcher/translator_link.h"

namespace cordon {

/// The translator's own patience is kAskPatience (flow/timeouts.h); ours is a little shorter, so
/// that a denial says why.
inline constexpr Duration kPersonPatience = std::chrono::milliseconds(29'500);

struct Answer {
  enum class Kind : std::uint8_t { kOnce, kRun, kMinutes, kAlways, kNo, kNeverInRun };
  Kind kind = Kind::kNo;
  unsigned minutes = 10;  // kMinutes
};
/// "once", "run", "minutes", "always", "no", "never".
[[nodiscard]] std::string_view answer_name(Answer::Kind kind);
/// What a person may write, by its name or first letter: "o", "once", "y"; "r", "run"; "t", "10";
/// "a", "always"; "n", "no"; "never". nullopt: none of these.
[[nodiscard]] std::optional<Answer> parse_answer(std::string_view text);

/// The narrowest destination that lets the request pass, as a rule is written: "evil.example:443",
/// "udp/198.51.100.7:123".
[[nodiscard]] std::optional<Destination> destination_of(const Request& request);

struct PendingQuestion {
  std::uint32_t id = 0;
  std::string what;  // "tcp evil.example:443"
  std::string rule;  // what asks, as on stderr
  std::string to;    // as a rule's destination
  Request request;   // its name is `name`
  DnsName name;
  bool is_asked_by_rule = false;
  std::optional<GuestProcess> process;
  std::vector<std::uint32_t> flows;  // the translator's numbers
  bool is_told = false;              // a person was told how to answer it elsewhere
  SideLoop::Timer timer;
};

/// "python3 (pid 4711) wants tcp evil.example:443, id=3"
[[nodiscard]] std::string wish_text(const PendingQuestion& question);

class Questions {
 public:
  /// Writes "always" down; what to tell the person (where it was written, or why not).
  using WriteDown = std::function<std::string(const std::string& destination)>;
  /// Called when there is a new question, and when one is gone.
  using OnChange = std::function<void()>;

  /// All outlive this.
  Questions(SideLoop& loop, TranslatorLink& link, EventLog& log, LivePolicy& live)
      : loop_(loop), link_(link), log_(log), live_(live) {}

  void set_write_down(WriteDown write_down) { write_down_ = std::move(write_down); }
  void set_is_anybody_there(std::function<bool()> is_there) {
    is_anybody_there_ = std::move(is_there);
  }
  void set_on_change(OnChange on_change) { on_change_ = std::move(on_change); }

  void ask(const Question& question, const std::optional<GuestProcess>& process);
  /// False where no such question waits any more. `by`: "terminal", "control".
  bool answer(std::uint32_t id, const Answer& answer, std::string_view by);
  /// A person's rule of this moment (`cordon allow`, `cordon deny`) answers what it is about.
  void answer_matching(const Policy& rules, std::string_view by);

  [[nodiscard]] const std::map<std::uint32_t, PendingQuestion>& pending() const { return pending_; }
  /// A line on stderr for each question that none was written for yet: who wants what, and that
  /// `cordon ask SANDBOX` answers it. Whether there was one.
  bool tell_pending(std::string_view sandbox);
  [[nodiscard]] static Json asked_event(const PendingQuestion& question);

 private:
  struct Remembered {
    Rule rule;
    Instant until;
  };
  [[nodiscard]] std::optional<Action> remembered(const Request& request, Instant now);
  void remember(const PendingQuestion& question, const Answer& answer);
  /// The policy of what is remembered, made anew.
  void recall();
  void settle(std::uint32_t id, const Answer& answer, std::string_view by);
  void send(std::uint32_t flow, Action action);
  void tell_answer(const PendingQuestion& question, const Answer& answer, std::string_view by,
                   const std::string& words);

  SideLoop& loop_;
  TranslatorLink& link_;
  EventLog& log_;
  LivePolicy& live_;
  WriteDown write_down_;
  std::function<bool()> is_anybody_there_;
  OnChange on_change_;
  std::map<std::uint32_t, PendingQuestion> pending_;
  std::vector<Remembered> remembered_;
  Policy memory_;  // of remembered_
};

}  // namespace cordon
