#include "launcher/event_log.h"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cordon {
namespace {

// The same trouble again and again says nothing new.
constexpr unsigned kMaxSameNotice = 3;
constexpr Duration kSameNoticePause = std::chrono::seconds(10);
constexpr std::string_view kCut = " [cut]";

std::string_view error_text(int code) {
  const char* const text = strerrordesc_np(code);
  return text != nullptr ? text : "unknown error";
}

std::string peer_text(const Request& request) {
  if (request.is_host_door) return fmt::format("host:{}", request.dialled.port);
  if (request.protocol == Protocol::kIcmp) return request.dialled.address.to_string();
  return request.dialled.to_string();
}

std::string guest_text(const Request& request) {
  return request.protocol == Protocol::kIcmp ? request.guest.address.to_string()
                                             : request.guest.to_string();
}

/// "tcp 198.51.100.7:443", "tcp from 198.51.100.7:4000 to 10.77.0.2:80".
std::string way_text(const Request& request) {
  if (request.direction == Direction::kOutbound) {
    return fmt::format("{} {}", protocol_name(request.protocol), peer_text(request));
  }
  return fmt::format("{} from {} to {}", protocol_name(request.protocol), peer_text(request),
                     guest_text(request));
}

std::string rule_text(const Verdict& verdict, const Policy& policy) {
  const bool names_rule =
      verdict.reason == Reason::kRule && verdict.rule && *verdict.rule < policy.rules().size();
  if (!names_rule) return std::string(reason_name(verdict.reason));
  const Rule& rule = policy.rules()[*verdict.rule];
  return rule.origin.starts_with("--") ? fmt::format("{}={}", rule.origin, rule.text) : rule.origin;
}

/// An --allow takes the default with it, so where that was to allow the public internet, the remedy
/// says so: what worked before is to go on working.
std::string remedy_text(const Denial& denial, const Policy& policy) {
  std::string remedy = policy.remedy(denial.request, denial.verdict);
  if (!remedy.empty() && policy.default_action() == DefaultAction::kAllowPublic) {
    remedy = "--allow @public " + remedy;
  }
  return remedy;
}

std::string_view end_name(FlowEnd end) {
  switch (end) {
    case FlowEnd::kClosed:
      return "closed";
    case FlowEnd::kReset:
      return "reset";
    case FlowEnd::kRefused:
      return "refused";
    case FlowEnd::kUnreachable:
      return "unreachable";
    case FlowEnd::kTimedOut:
      return "timed_out";
    case FlowEnd::kRevoked:
      return "revoked";
  }
  return "closed";
}

std::string_view notice_name(Notice notice) {
  switch (notice) {
    case Notice::kNoHostResource:
      return "no_host_resource";
    case Notice::kPingNotPermitted:
      return "ping_not_permitted";
    case Notice::kAdoptionFailed:
      return "adoption_failed";
    case Notice::kSteeringLost:
      return "steering_lost";
    case Notice::kFlowLimit:
      return "flow_limit";
    case Notice::kUpstreamSilent:
      return "upstream_silent";
  }
  return "unknown";
}

std::string resource_text(int code) {
  switch (code) {
    case EMFILE:
      return "descriptors ran out, new flows wait; raise the hard limit (ulimit -Hn)";
    case ENFILE:
      return "this host's descriptors ran out, new flows wait; raise fs.file-max";
    case EADDRNOTAVAIL:
      return "this host's local ports ran out, new flows wait; widen net.ipv4.ip_local_port_range";
    default:
      return fmt::format("this host refused a socket ({}), new flows wait", error_text(code));
  }
}

using Json = nlohmann::ordered_json;

Json begin_json(std::int64_t unix_milliseconds, std::string_view event) {
  Json json;
  json["time"] = rfc3339(unix_milliseconds);
  json["event"] = event;
  return json;
}

void put_request(Json& json, std::uint32_t id, const Request& request) {
  json["id"] = id;
  json["direction"] = request.direction == Direction::kOutbound ? "outbound" : "inbound";
  json["protocol"] = protocol_name(request.protocol);
  json["guest"] = guest_text(request);
  json["destination"] = request.protocol == Protocol::kIcmp ? request.dialled.address.to_string()
                                                            : request.dialled.to_string();
  if (request.is_host_door) json["host_door"] = true;
  json["class"] = class_name(request.address_class);
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::int64_t unix_milliseconds_now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return std::int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

Instant monotonic_now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return Instant(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

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

}  // namespace

std::string escape_text(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    if (octet >= 0x20 && octet < 0x7f && c != '\\') {
      escaped += c;
    } else {
      escaped += fmt::format("\\x{:02x}", octet);
    }
  }
  return escaped;
}

std::string rfc3339(std::int64_t unix_milliseconds) {
  const std::time_t seconds = unix_milliseconds / 1000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     unix_milliseconds % 1000);
}

std::string denial_text(const Denial& denial, const Policy& policy,
                        const std::optional<GuestProcess>& process) {
  const Request& request = denial.request;
  std::string text =
      fmt::format("denied {} rule={}", way_text(request), rule_text(denial.verdict, policy));
  if (denial.verdict.reason == Reason::kFloor) {
    text += fmt::format(" class={}", class_name(request.address_class));
  }
  text += fmt::format(" id={}", denial.id);
  if (process) text += fmt::format(" by pid {} ({})", process->pid, escape_text(process->program));
  const std::string remedy = remedy_text(denial, policy);
  if (!remedy.empty()) text += fmt::format("; to allow it: {}", remedy);
  return text;
}

std::string flow_text(const FlowReport& report) {
  const std::string way = way_text(report.request);
  if (!report.end) return fmt::format("opened {} flow={}", way, report.id);
  return fmt::format("{} {} flow={} up={} down={}", end_name(*report.end), way, report.id,
                     report.bytes_up, report.bytes_down);
}

std::string notice_text(Notice notice, int code) {
  switch (notice) {
    case Notice::kNoHostResource:
      return resource_text(code);
    case Notice::kPingNotPermitted:
      return "ping is not permitted to this user's group; to permit it: sysctl -w "
             "net.ipv4.ping_group_range=\"0 2147483647\"";
    case Notice::kAdoptionFailed:
      return fmt::format("a connection could not be handed to the guest: {}", error_text(code));
    case Notice::kSteeringLost:
      return "the guest's steering rules were flushed; they are put back";
    case Notice::kFlowLimit:
      return "the table of flows is full; new flows wait until old ones end";
    case Notice::kUpstreamSilent:
      return "no DNS server of this host answers; names cannot be resolved now (--dns ADDRESS asks "
             "another one)";
  }
  return "unknown notice";
}

std::string denial_json(std::int64_t unix_milliseconds, const Denial& denial, const Policy& policy,
                        const std::optional<GuestProcess>& process) {
  Json json = begin_json(unix_milliseconds, "denied");
  put_request(json, denial.id, denial.request);
  json["rule"] = rule_text(denial.verdict, policy);
  json["reason"] = reason_name(denial.verdict.reason);
  if (const std::string remedy = remedy_text(denial, policy); !remedy.empty()) {
    json["remedy"] = remedy;
  }
  if (process) {
    json["pid"] = process->pid;
    json["program"] = escape_text(process->program);
  }
  return dump(json);
}

std::string flow_json(std::int64_t unix_milliseconds, const FlowReport& report) {
  Json json = begin_json(unix_milliseconds, report.end ? "flow_closed" : "flow_opened");
  put_request(json, report.id, report.request);
  if (report.end) {
    json["end"] = end_name(*report.end);
    json["bytes_up"] = report.bytes_up;
    json["bytes_down"] = report.bytes_down;
  }
  return dump(json);
}

std::string notice_json(std::int64_t unix_milliseconds, Notice notice, int code) {
  Json json = begin_json(unix_milliseconds, "notice");
  json["notice"] = notice_name(notice);
  json["text"] = notice_text(notice, code);
  if (code != 0) json["errno"] = code;
  return dump(json);
}

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
  return errno_error(code, fmt::format("--log {}", path));
}

EventLog::EventLog(Verbosity verbosity, int stderr_fd, UniqueFd log, const Policy& policy)
    : verbosity_(verbosity), stderr_fd_(stderr_fd), log_(std::move(log)), policy_(policy) {}

void EventLog::denied(const Denial& denial, const std::optional<GuestProcess>& process) {
  ++denials_;
  if (verbosity_ != Verbosity::kQuiet) {
    say_limited(Kind::kDenied, denial_text(denial, policy_, process));
  }
  if (log_.is_open()) log_limited(denial_json(unix_milliseconds_now(), denial, policy_, process));
}

void EventLog::flow(const FlowReport& report) {
  if (verbosity_ == Verbosity::kVerbose) say_limited(Kind::kFlow, flow_text(report));
  if (log_.is_open()) log_limited(flow_json(unix_milliseconds_now(), report));
}

void EventLog::notice(Notice notice, int code) {
  if (log_.is_open()) log_limited(notice_json(unix_milliseconds_now(), notice, code));
  if (verbosity_ == Verbosity::kQuiet) return;
  Told& told = notices_[notice];
  const Instant now = monotonic_now();
  const bool is_old = told.times > 0 && now - told.last < kSameNoticePause;
  if (is_old || told.times == kMaxSameNotice) return;
  told = Told{.times = told.times + 1, .last = now};
  say_limited(Kind::kNotice, notice_text(notice, code));
}

void EventLog::trouble(std::string_view words) { say(escape_text(words)); }

void EventLog::remark(std::string_view words) {
  if (verbosity_ == Verbosity::kVerbose) say(escape_text(words));
}

void EventLog::finish() {
  for (const Kind kind : {Kind::kDenied, Kind::kFlow, Kind::kNotice}) {
    tell_left_out(kind, windows_[static_cast<std::size_t>(kind)].left_out);
  }
  log_left_out(log_window_.left_out);
  if (log_lost_ > 0) {
    say(fmt::format("--log: {} lost: {}",
                    log_lost_ == 1 ? "1 line was" : fmt::format("{} lines were", log_lost_),
                    error_text(log_error_)));
  }
  if (verbosity_ == Verbosity::kQuiet || denials_ == 0) return;
  say(denials_ == 1 ? "1 flow was denied" : fmt::format("{} flows were denied", denials_));
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

void EventLog::say(std::string_view words) const {
  std::string line = fmt::format("cordon: {}", words);
  const std::string_view end = line_end(stderr_fd_);
  if (line.size() + end.size() > kMaxLineOctets) {
    line.resize(kMaxLineOctets - end.size() - kCut.size());
    line += kCut;
  }
  line += end;
  // A stderr that takes nothing has nobody who could be told.
  (void)write_at_once(stderr_fd_, line);
}

void EventLog::log_limited(const std::string& json) {
  log_left_out(log_window_.turn(monotonic_now()));
  if (log_window_.take()) log(json);
}

void EventLog::log_left_out(std::uint64_t count) {
  if (count == 0) return;
  Json json = begin_json(unix_milliseconds_now(), "suppressed");
  json["count"] = count;
  log(dump(json));
}

void EventLog::log(const std::string& json) {
  if (!log_.is_open()) return;
  // After a failure the last line may be a torn one: it is ended first, so that only it is
  // unreadable.
  const std::string line = (is_log_torn_ ? "\n" : "") + json + "\n";
  const int code = write_at_once(log_.get(), line);
  is_log_torn_ = code == ENOSPC;
  if (code != 0 && log_lost_++ == 0) log_error_ = code;
}

}  // namespace cordon
