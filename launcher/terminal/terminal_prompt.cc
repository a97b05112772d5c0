#include "launcher/terminal/terminal_prompt.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "launcher/clock.h"

namespace cordon {
namespace {

constexpr Duration kRetry = std::chrono::milliseconds(500);
// A question that waits for a better moment is told of after this long.
constexpr Duration kTellAfter = std::chrono::seconds(2);
// Nobody has read a question before this, so what comes was meant for somebody else.
constexpr Duration kReadingTime = std::chrono::milliseconds(400);
constexpr std::size_t kLongestLine = 256;
constexpr std::string_view kChoices = "[o]nce, this [r]un, [t]en minutes, [a]lways, [n]o, never? ";

// In lines, as the terminal counts while it reads them.
bool has_typed_ahead(int tty) {
  int octets = 0;
  return ::ioctl(tty, FIONREAD, &octets) == 0 && octets > 0;
}

dev_t device_of(int tty) {
  unsigned device = 0;
  return ::ioctl(tty, TIOCGDEV, &device) == 0 ? device : 0;
}

}  // namespace

UniqueFd TerminalPrompt::open_terminal() {
  return UniqueFd(::open("/dev/tty", O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

TerminalPrompt::TerminalPrompt(UniqueFd tty, SideLoop& loop, Questions& questions,
                               const GuestScreen& screen)
    : tty_(std::move(tty)), loop_(loop), questions_(questions), screen_(screen) {
  if (tty_.is_open()) device_ = device_of(tty_.get());
}

TerminalPrompt::~TerminalPrompt() {
  if (shown_ && own_terminal_ == nullptr) loop_.forget(tty_.get());
  if (retry_) loop_.cancel(*retry_);
}

bool TerminalPrompt::is_there() const {
  if (reads_lines() || has_relay()) return true;
  return tty_.is_open() && !sandbox_.empty() && screen_.has_foreground(tty_.get());
}

bool TerminalPrompt::has_relay() const {
  return own_terminal_ != nullptr && own_terminal_->has_input() && tty_.is_open() &&
         ::tcgetpgrp(tty_.get()) == ::getpgrp();
}

bool TerminalPrompt::reads_lines() const {
  if (own_terminal_ != nullptr || !tty_.is_open()) return false;
  if (::tcgetpgrp(tty_.get()) != ::getpgrp()) return false;
  termios mode{};
  if (::tcgetattr(tty_.get(), &mode) != 0) return false;
  return (mode.c_lflag & ICANON) != 0 && (mode.c_lflag & ECHO) != 0;
}

bool TerminalPrompt::is_awaited() const {
  const dev_t device = own_terminal_ != nullptr ? own_terminal_->commands_device() : device_;
  return is_terminal_awaited(guest_init_, device);
}

bool TerminalPrompt::may_show() const {
  if (withdrawn_ == questions_.pending().begin()->first) return false;
  if (has_relay()) return !screen_.is_taken(tty_.get()) && !is_awaited();
  return reads_lines() && !has_typed_ahead(tty_.get()) && !is_awaited();
}

void TerminalPrompt::on_change() {
  if (shown_ && !questions_.pending().contains(*shown_)) withdraw();
  if (questions_.pending().empty()) hidden_since_.reset();
  if (questions_.pending().empty() || !tty_.is_open()) return;
  if (!shown_ && may_show()) {
    hidden_since_.reset();
    show(questions_.pending().begin()->second);
  }
  if (!shown_) tell_elsewhere();
  if (retry_) return;
  retry_ = loop_.at(monotonic_now() + kRetry, [this] {
    retry_.reset();
    look_again();
  });
}

void TerminalPrompt::look_again() {
  // What is typed through our hands nobody can take from us.
  if (shown_ && !has_relay() && (is_awaited() || !reads_lines())) step_aside();
  on_change();
}

void TerminalPrompt::tell_elsewhere() {
  if (sandbox_.empty()) return;
  const Instant now = monotonic_now();
  if (!hidden_since_) hidden_since_ = now;
  const bool may_still_show = (reads_lines() || (has_relay() && !screen_.is_taken(tty_.get()))) &&
                              withdrawn_ != questions_.pending().begin()->first;
  if (may_still_show && now - *hidden_since_ < kTellAfter) return;
  if (questions_.tell_pending(sandbox_) && screen_.is_taken(tty_.get())) say("\a");
}

void TerminalPrompt::show(const PendingQuestion& question) {
  line_.clear();
  if (has_relay()) {
    own_terminal_->divert([this](std::string_view typed) { on_typed(typed); });
  } else {
    // What was typed so far was meant for somebody else, or for nobody.
    ::tcflush(tty_.get(), TCIFLUSH);
    const Status watched = loop_.watch(tty_.get(), EPOLLIN, [this](std::uint32_t) { read(); });
    if (!watched) return;
  }
  shown_ = question.id;
  shown_at_ = monotonic_now();
  say(fmt::format("cordon: {}. Allow {}", wish_text(question), kChoices));
}

void TerminalPrompt::let_go() {
  shown_.reset();
  if (own_terminal_ != nullptr) return own_terminal_->divert(nullptr);
  loop_.forget(tty_.get());
}

void TerminalPrompt::withdraw() {
  let_go();
  say("\ncordon: that question is over\n");
}

void TerminalPrompt::step_aside() {
  withdrawn_ = shown_;
  let_go();
  say("\ncordon: the command has the terminal now\n");
}

void TerminalPrompt::read() {
  std::array<char, kLongestLine> piece{};
  const ssize_t size = ::read(tty_.get(), piece.data(), piece.size());
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {
    // In the background, or hung up: somebody else may answer.
    let_go();
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

// The user's terminal is raw: it echoes nothing and ends no lines, so that is done here.
void TerminalPrompt::on_typed(std::string_view typed) {
  constexpr std::string_view kSignals = "\x03\x1a\x1c";  // ^C ^Z ^\ .
  for (const char key : typed) {
    if (!shown_) return own_terminal_->pass_on(key);
    if (kSignals.find(key) != std::string_view::npos) {
      own_terminal_->pass_on(key);
    } else if (key == '\r' || key == '\n') {
      say("\n");
      on_line(std::exchange(line_, {}));
    } else if ((key == '\x7f' || key == '\b') && !line_.empty()) {
      line_.pop_back();
      say("\b \b");
    } else if (key >= ' ' && key <= '~' && line_.size() < kLongestLine) {
      line_.push_back(key);
      say(std::string_view(&key, 1));
    }
  }
}

void TerminalPrompt::on_line(std::string_view line) {
  const bool is_too_soon = monotonic_now() - shown_at_ < kReadingTime;
  const std::optional<Answer> answer = is_too_soon ? std::nullopt : parse_answer(line);
  if (!answer) return say(fmt::format("cordon: {}", kChoices));
  const std::uint32_t id = *shown_;
  let_go();
  // Calls on_change(), and with it shows the next one.
  (void)questions_.answer(id, *answer, "terminal");
}

void TerminalPrompt::say(std::string_view text) const {
  std::string lines;
  for (const char letter : text) {
    if (letter == '\n' && own_terminal_ != nullptr) lines += '\r';
    lines += letter;
  }
  // A terminal that takes nothing right now has nobody before it.
  (void)!::write(tty_.get(), lines.data(), lines.size());
}

}  // namespace cordon
