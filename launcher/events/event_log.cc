#include "launcher/events/event_log.h"

#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/clock.h"
#include "launcher/path_error.h"

namespace cordon {
namespace {

// The same trouble again and again says nothing new.
constexpr unsigned kMaxSameNotice = 3;
constexpr Duration kSameNoticePause = std::chrono::seconds(10);
// Resolvers ask for both families at once, and once more where there is no answer.
constexpr Duration kSameQueryPause = std::chrono::seconds(2);
constexpr std::string_view kCut = " [cut]";
// Lines that wait for a full-screen program's end: what a person may want to read then.
constexpr std::size_t kMostHeld = 200;

/// A terminal that a full-screen program has in raw mode does not turn \n into a new line's start.
std::string_view line_end(int fd) {
  termios mode{};
  const bool is_raw = ::tcgetattr(fd, &mode) == 0 && (mode.c_oflag & OPOST) == 0;
  return is_raw ? "\r\n" : "\n";
}

/// One write that never waits: EAGAIN where a pipe or terminal is full, ENOSPC where only a part
/// fitted.
int write_at_once(int fd, std::string_view text) {
  pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
  if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) return EAGAIN;
  for (;;) {
    const ssize_t size = ::write(fd, text.data(), text.size());
    if (size >= 0) return static_cast<std::size_t>(size) == text.size() ? 0 : ENOSPC;
    if (errno != EINTR) return errno;
  }
}

std::string count_text(std::uint64_t count, std::string_view what) {
  return count == 1 ? fmt::format("1 {}", what) : fmt::format("{} {}s", count, what);
}

}  // namespace

Result<UniqueFd> open_log(const std::string& path) {
  constexpr mode_t kMode = 0600;  // who was reached is nobody else's business
  UniqueFd fd(::open(path.c_str(),
                     O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, kMode));
  if (fd.is_open()) return fd;
  const int code = errno;
  if (code == ENXIO) {
    return plain_error(
        fmt::format("--log {}: a fifo that nobody reads; start its reader first", path));
  }
  return path_error(code, path, PathUse::kWrite, fmt::format("--log {}", path));
}

EventLog::EventLog(Verbosity verbosity, int stderr_fd, UniqueFd log)
    : verbosity_(verbosity), stderr_fd_(stderr_fd), log_(std::move(log)) {}

bool EventLog::is_twin_of_last_query(const Denial& denial) {
  if (denial.kind != Denial::Kind::kQuery || denial.request.name == nullptr) return false;
  std::string name = denial.request.name->lower_case().to_string();
  // A name that is refused is refused whatever is asked of it; of types one after another is told.
  if (denial.verdict.reason == Reason::kType) name += " " + query_type_text(denial.query_type);
  const Instant now = monotonic_now();
  const bool is_twin = name == last_query_ && now - last_query_at_ < kSameQueryPause;
  last_query_ = name;
  last_query_at_ = now;
  return is_twin;
}

void EventLog::denied(const Denial& denial, const Policy& policy,
                      const std::optional<GuestProcess>& process) {
  const std::string words = denial_text(denial, policy, process);
  if (is_read()) {
    log_limited(denial_json(unix_milliseconds_now(), denial, policy, process), words,
                choice_.has_denied);
  }
  if (is_twin_of_last_query(denial)) return;
  ++(denial.kind == Denial::Kind::kQuery ? denied_names_ : denied_flows_);
  is_only_reporting_ = is_only_reporting_ && denial.is_only_reported;
  if (verbosity_ == Verbosity::kQuiet) return;
  say_limited(Kind::kDenied, words);
}

void EventLog::flow(const FlowReport& report, const Policy& policy,
                    const std::optional<GuestProcess>& process) {
  if (verbosity_ == Verbosity::kVerbose) say_limited(Kind::kFlow, flow_text(report));
  if (is_read()) {
    log_limited(flow_json(unix_milliseconds_now(), report, policy, process), flow_text(report),
                choice_.has_flows);
  }
}

void EventLog::tell(const Json& event, std::string_view words) {
  if (is_read())
    log_limited(dump_line(event), escape_text(words), !words.empty() || !choice_.is_text);
  if (verbosity_ != Verbosity::kQuiet && !words.empty()) {
    say_limited(Kind::kNotice, escape_text(words));
  }
}

void EventLog::notice(Notice notice, int code) {
  if (is_read()) {
    log_limited(notice_json(unix_milliseconds_now(), notice, code), notice_text(notice, code));
  }
  if (verbosity_ == Verbosity::kQuiet) return;
  Told& told = notices_[notice];
  const Instant now = monotonic_now();
  const bool is_old = told.times > 0 && now - told.last < kSameNoticePause;
  if (is_old || told.times == kMaxSameNotice) return;
  told = Told{.times = told.times + 1, .last = now};
  say_limited(Kind::kNotice, notice_text(notice, code));
}

void EventLog::trouble(std::string_view words) { say(escape_text(words)); }

void EventLog::say_to_person(std::string_view words) {
  if (verbosity_ != Verbosity::kQuiet) say_limited(Kind::kNotice, std::string(words));
}

void EventLog::remark(std::string_view words) {
  if (verbosity_ == Verbosity::kVerbose) say(escape_text(words));
}

void EventLog::finish() {
  is_screen_taken_ = nullptr;
  (void)release();  // with nobody on the screen it succeeds
  for (const Kind kind : {Kind::kDenied, Kind::kFlow, Kind::kNotice}) {
    tell_left_out(kind, windows_[static_cast<std::size_t>(kind)].left_out);
  }
  log_left_out(log_window_.left_out);
  if (log_lost_ > 0) {
    say(fmt::format("--log: {} lost: {}",
                    log_lost_ == 1 ? "1 line was" : fmt::format("{} lines were", log_lost_),
                    error_text(log_error_)));
  }
  const std::uint64_t denials = denied_flows_ + denied_names_;
  if (verbosity_ == Verbosity::kQuiet || denials == 0) return;
  std::string what;
  if (denied_flows_ > 0) what = count_text(denied_flows_, "flow");
  if (denied_names_ > 0) what += (what.empty() ? "" : " and ") + count_text(denied_names_, "name");
  say(fmt::format("{} {} denied", what,
                  is_only_reporting_ ? "would have been"
                  : denials == 1     ? "was"
                                     : "were"));
}

std::uint64_t EventLog::Window::turn(Instant now) {
  if (now - start < std::chrono::seconds(1)) return 0;
  start = now;
  used = 0;
  return std::exchange(left_out, 0);
}

bool EventLog::Window::take() {
  if (used == limit) {
    ++left_out;
    return false;
  }
  ++used;
  return true;
}

void EventLog::say_limited(Kind kind, const std::string& words) {
  Window& window = windows_[static_cast<std::size_t>(kind)];
  tell_left_out(kind, window.turn(monotonic_now()));
  if (window.take()) say(words);
}

void EventLog::tell_left_out(Kind kind, std::uint64_t count) {
  constexpr std::array<std::string_view, kKinds> kWords{"denials", "flow lines", "notices"};
  if (count > 0) say(fmt::format("{} more {}", count, kWords[static_cast<std::size_t>(kind)]));
}

void EventLog::say(std::string_view words) {
  std::string line = fmt::format("cordon: {}", words);
  const bool is_free = release() && !(is_screen_taken_ && is_screen_taken_());
  if (is_free) return write_line(std::move(line));
  const bool is_first = held_.empty();
  if (held_.size() == kMostHeld) {
    ++held_out_;
  } else {
    held_.push_back(std::move(line));
  }
  if (is_first && on_held_) on_held_();
}

bool EventLog::release() {
  if (held_.empty()) return true;
  if (is_screen_taken_ && is_screen_taken_()) return false;
  for (std::string& line : held_) write_line(std::move(line));
  held_.clear();
  const std::uint64_t more = std::exchange(held_out_, 0);
  if (more > 0) write_line(fmt::format("cordon: {}", count_text(more, "more line")));
  return true;
}

void EventLog::write_line(std::string line) const {
  const std::string_view end = line_end(stderr_fd_);
  if (line.size() + end.size() > kMaxLineOctets) {
    line.resize(kMaxLineOctets - end.size() - kCut.size());
    line += kCut;
  }
  line += end;
  // A stderr that takes nothing has nobody who could be told.
  (void)write_at_once(stderr_fd_, line);
}

void EventLog::log_limited(const std::string& json, const std::string& text, bool is_chosen) {
  log_left_out(log_window_.turn(monotonic_now()));
  if (log_window_.take()) log(json, text, is_chosen);
}

void EventLog::log_left_out(std::uint64_t count) {
  if (count == 0) return;
  Json json = begin_event(unix_milliseconds_now(), "suppressed");
  json["count"] = count;
  log(dump_line(json), fmt::format("{} more events", count), true);
}

void EventLog::log(const std::string& json, const std::string& text, bool is_chosen) {
  if (listener_) listener_(json);
  if (!log_.is_open() || !is_chosen) return;
  const std::string words =
      choice_.is_text ? fmt::format("{} {}", rfc3339(unix_milliseconds_now()), text) : json;
  // After a failure the last line may be a torn one: it is ended first, so that only it is
  // unreadable.
  const std::string line = (is_log_torn_ ? "\n" : "") + words + "\n";
  const int code = write_at_once(log_.get(), line);
  is_log_torn_ = code == ENOSPC;
  if (code != 0 && log_lost_++ == 0) log_error_ = code;
}

}  // namespace cordon
