#include "launcher/terminal_prompt.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/clock.h"

namespace cordon {
namespace {

constexpr Duration kRetry = std::chrono::milliseconds(500);
// The kernel moves a terminal's times in steps of eight seconds.
constexpr std::time_t kIdleSeconds = 8;
constexpr std::size_t kLongestLine = 256;
constexpr std::string_view kChoices = "[o]nce, this [r]un, [t]en minutes, [a]lways, [n]o, never? ";

bool is_same_terminal(int tty, int stream) {
  return ::isatty(stream) == 1 && ::tcgetsid(stream) == ::tcgetsid(tty);
}

bool has_been_idle(int stream) {
  struct stat status {};
  timespec now{};
  if (::fstat(stream, &status) != 0 || ::clock_gettime(CLOCK_REALTIME, &now) != 0) return false;
  const std::time_t last = std::max(status.st_atim.tv_sec, status.st_mtim.tv_sec);
  return now.tv_sec - last >= kIdleSeconds;
}

}  // namespace

UniqueFd TerminalPrompt::open_terminal() {
  return UniqueFd(::open("/dev/tty", O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

TerminalPrompt::~TerminalPrompt() {
  if (shown_) loop_.forget(tty_.get());
  if (retry_) loop_.cancel(*retry_);
}

bool TerminalPrompt::is_there() const {
  if (reads_lines()) return true;
  return tty_.is_open() && !sandbox_.empty() && screen_.has_foreground(tty_.get());
}

bool TerminalPrompt::reads_lines() const {
  if (!tty_.is_open() || ::tcgetpgrp(tty_.get()) != ::getpgrp()) return false;
  termios mode{};
  if (::tcgetattr(tty_.get(), &mode) != 0) return false;
  return (mode.c_lflag & ICANON) != 0 && (mode.c_lflag & ECHO) != 0;
}

bool TerminalPrompt::may_show() const {
  if (!reads_lines()) return false;
  if (!is_same_terminal(tty_.get(), STDIN_FILENO)) return true;
  struct stat status {};
  if (::fstat(STDIN_FILENO, &status) != 0 || !has_been_idle(STDIN_FILENO)) return false;
  return !is_terminal_awaited(guest_init_, status.st_rdev);
}

void TerminalPrompt::on_change() {
  if (shown_ && !questions_.pending().contains(*shown_)) withdraw();
  if (shown_ || questions_.pending().empty() || !tty_.is_open()) return;
  if (may_show()) return show(questions_.pending().begin()->second);
  if (!reads_lines() && !sandbox_.empty() && questions_.tell_pending(sandbox_) &&
      screen_.is_taken(tty_.get())) {
    say("\a");
  }
  if (retry_) return;
  retry_ = loop_.at(monotonic_now() + kRetry, [this] {
    retry_.reset();
    on_change();
  });
}

void TerminalPrompt::show(const PendingQuestion& question) {
  // What was typed so far was meant for somebody else, or for nobody.
  ::tcflush(tty_.get(), TCIFLUSH);
  line_.clear();
  const Status watched = loop_.watch(tty_.get(), EPOLLIN, [this](std::uint32_t) { read(); });
  if (!watched) return;
  shown_ = question.id;
  say(fmt::format("cordon: {}. Allow {}", wish_text(question), kChoices));
}

void TerminalPrompt::withdraw() {
  loop_.forget(tty_.get());
  shown_.reset();
  say("\ncordon: that question is over\n");
}

void TerminalPrompt::read() {
  std::array<char, kLongestLine> piece{};
  const ssize_t size = ::read(tty_.get(), piece.data(), piece.size());
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {
    // In the background, or hung up: somebody else may answer.
    loop_.forget(tty_.get());
    shown_.reset();
    tty_.reset();
    return;
  }
  line_.append(piece.data(), static_cast<std::size_t>(size));
  if (line_.size() > kLongestLine) line_.clear();
  const std::size_t end = line_.find('\n');
  if (end == std::string::npos) return;
  const std::string line = line_.substr(0, end);
  line_.clear();
  on_line(line);
}

void TerminalPrompt::on_line(std::string_view line) {
  const std::optional<Answer> answer = parse_answer(line);
  if (!answer) return say(fmt::format("cordon: {}", kChoices));
  const std::uint32_t id = *shown_;
  loop_.forget(tty_.get());
  shown_.reset();
  // Calls on_change(), and with it shows the next one.
  (void)questions_.answer(id, *answer, "terminal");
}

void TerminalPrompt::say(std::string_view text) const {
  // A terminal that takes nothing right now has nobody before it.
  (void)!::write(tty_.get(), text.data(), text.size());
}

}  // namespace cordon
