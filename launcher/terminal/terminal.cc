#include "launcher/terminal/terminal.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cordon {
namespace {

// What one side may have written before the other has taken it.
constexpr std::size_t kRoom = 16384;

int first_terminal(std::initializer_list<int> streams) {
  for (const int stream : streams) {
    if (::isatty(stream) != 0) return stream;
  }
  return -1;
}

void take_over_size(int from, int to) {
  winsize size{};
  if (::ioctl(from, TIOCGWINSZ, &size) == 0) ::ioctl(to, TIOCSWINSZ, &size);
}

void take_over_settings(int from, int to) {
  termios settings{};
  if (::tcgetattr(from, &settings) == 0) ::tcsetattr(to, TCSANOW, &settings);
}

// Appends what is there; false at the end or on an error that is one.
bool read_into(int fd, std::string& text) {
  std::array<char, kRoom> piece{};
  const ssize_t got = ::read(fd, piece.data(), kRoom - std::min(kRoom, text.size()));
  if (got > 0) text.append(piece.data(), static_cast<std::size_t>(got));
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

void write_from(int fd, std::string& text) {
  const ssize_t gone = ::write(fd, text.data(), text.size());
  if (gone > 0) text.erase(0, static_cast<std::size_t>(gone));
  if (gone < 0 && errno != EAGAIN && errno != EINTR) text.clear();
}

}  // namespace

Result<std::unique_ptr<Terminal>> Terminal::open() {
  const int user = first_terminal({STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO});
  if (user < 0) return nullptr;
  UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (!master.is_open()) return errno_error("new terminal");
  if (::grantpt(master.get()) != 0 || ::unlockpt(master.get()) != 0) {
    return errno_error("new terminal");
  }
  // By the master and not by name: /dev/pts may be another instance than the master's.
  UniqueFd slave(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!slave.is_open()) return errno_error("new terminal");
  take_over_settings(user, slave.get());
  take_over_size(user, master.get());
  return std::unique_ptr<Terminal>(new Terminal(std::move(master), std::move(slave), user));
}

Terminal::Terminal(UniqueFd master, UniqueFd slave, int user)
    : master_(std::move(master)),
      slave_(std::move(slave)),
      user_(user),
      input_(::isatty(STDIN_FILENO) != 0 ? STDIN_FILENO : -1),
      output_(first_terminal({STDOUT_FILENO, STDERR_FILENO, STDIN_FILENO})) {
  struct stat status {};
  if (::fstat(slave_.get(), &status) == 0) commands_device_ = status.st_rdev;
}

Terminal::~Terminal() { restore(); }

void Terminal::restore() {
  if (saved_) ::tcsetattr(user_, TCSADRAIN, &*saved_);
  saved_.reset();
}

void Terminal::start() {
  termios settings{};
  if (::tcgetattr(user_, &settings) != 0) return;
  saved_ = settings;
  ::cfmakeraw(&settings);
  ::tcsetattr(user_, TCSADRAIN, &settings);
}

void Terminal::resize() { take_over_size(user_, master_.get()); }

void Terminal::add_waits(std::vector<pollfd>& waits) const {
  if (input_ >= 0 && to_command_.size() < kRoom) waits.push_back({.fd = input_, .events = POLLIN});
  if (!to_user_.empty()) waits.push_back({.fd = output_, .events = POLLOUT});
  short master_events = 0;
  if (to_user_.size() < kRoom) master_events |= POLLIN;
  if (!to_command_.empty()) master_events |= POLLOUT;
  if (master_events != 0) waits.push_back({.fd = master_.get(), .events = master_events});
}

void Terminal::on_ready(const pollfd& ready) {
  const bool may_read = (ready.revents & (POLLIN | POLLHUP | POLLERR)) != 0;
  const bool may_write = (ready.revents & POLLOUT) != 0;
  if (ready.fd == master_.get()) {
    if (may_write) write_from(master_.get(), to_command_);
    if (may_read) (void)read_into(master_.get(), to_user_);  // its end is guest init's to tell
    return;
  }
  if (ready.fd == output_ && may_write) write_from(output_, to_user_);
  if (ready.fd != input_ || !may_read) return;
  if (taker_) return take_typed();
  if (!read_into(input_, to_command_)) input_ = -1;
}

void Terminal::take_typed() {
  std::string typed;
  if (!read_into(input_, typed)) input_ = -1;
  const Taker taker = taker_;  // it may end its own job
  if (!typed.empty()) taker(typed);
}

void Terminal::finish() {
  do {
    while (!to_user_.empty()) write_from(output_, to_user_);
  } while (read_into(master_.get(), to_user_) && !to_user_.empty());
  restore();
  input_ = -1;
  taker_ = nullptr;
}

}  // namespace cordon
