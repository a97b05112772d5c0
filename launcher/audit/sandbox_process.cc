#include "launcher/audit/sandbox_process.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/path_error.h"

namespace cordon::audit {
namespace {

constexpr int kEndAttempts = 100;
constexpr timespec kEndPause{.tv_sec = 0, .tv_nsec = 20'000'000};

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

Result<Pipe> open_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errno_error("pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

struct Terminal {
  UniqueFd master;
  UniqueFd inside;
};

Result<Terminal> open_terminal() {
  Terminal terminal;
  terminal.master.reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.master.is_open() || ::grantpt(terminal.master.get()) != 0 ||
      ::unlockpt(terminal.master.get()) != 0) {
    return errno_error("open a terminal");
  }
  std::array<char, 64> path{};
  if (::ptsname_r(terminal.master.get(), path.data(), path.size()) != 0) {
    return errno_error("name of the terminal");
  }
  terminal.inside.reset(::open(path.data(), O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (!terminal.inside.is_open()) return errno_error(path.data());
  termios settings{};
  if (::tcgetattr(terminal.inside.get(), &settings) != 0) return errno_error("terminal settings");
  ::cfmakeraw(&settings);
  if (::tcsetattr(terminal.inside.get(), TCSANOW, &settings) != 0) {
    return errno_error("terminal settings");
  }
  return terminal;
}

/// A descriptor of its own for the terminal: O_NONBLOCK is the open file's, and is not for the
/// sandbox.
bool take_terminal(int inside) {
  const std::string path = fmt::format("/proc/self/fd/{}", inside);
  const int own = ::open(path.c_str(), O_RDWR | O_NOCTTY);
  return own >= 0 && ::ioctl(own, TIOCSCTTY, 0) == 0 && ::dup2(own, STDIN_FILENO) >= 0 &&
         (own == STDIN_FILENO || ::close(own) == 0);
}

[[noreturn]] void execute(const std::vector<std::string>& words, const std::vector<int>& left_open,
                          int inside, int output, int errors, int failure) {
  ::setsid();
  const bool has_streams = take_terminal(inside) && ::dup2(output, STDOUT_FILENO) >= 0 &&
                           ::dup2(errors, STDERR_FILENO) >= 0;
  if (has_streams) {
    for (const int fd : left_open) ::fcntl(fd, F_SETFD, 0);
    (void)::signal(SIGPIPE, SIG_DFL);
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    // execvp(3) takes pointers to what it does not change; the process's own copy is given away.
    for (const std::string& word : words) arguments.push_back(::strdup(word.c_str()));
    arguments.push_back(nullptr);
    ::execvp(arguments.front(), arguments.data());
  }
  const int code = errno;
  // Where this fails nobody is left to be told.
  [[maybe_unused]] const ssize_t told = ::write(failure, &code, sizeof(code));
  ::_exit(127);
}

}  // namespace

Result<SandboxProcess> SandboxProcess::start(const std::vector<std::string>& words,
                                             const std::vector<int>& left_open) {
  SandboxProcess process;
  CORDON_TRY(Terminal terminal, open_terminal());
  CORDON_TRY(Pipe output, open_pipe());
  CORDON_TRY(Pipe errors, open_pipe());
  CORDON_TRY(Pipe failure, open_pipe());
  process.pid_ = ::fork();
  if (process.pid_ < 0) return errno_error("fork");
  if (process.pid_ == 0) {
    execute(words, left_open, terminal.inside.get(), output.write_end.get(), errors.write_end.get(),
            failure.write_end.get());
  }
  failure.write_end.reset();
  int code = 0;
  if (::read(failure.read_end.get(), &code, sizeof(code)) == ssize_t{sizeof(code)}) {
    return plain_error(command_words(code, words.front()));
  }
  ::fcntl(output.read_end.get(), F_SETFL, O_NONBLOCK);
  ::fcntl(errors.read_end.get(), F_SETFL, O_NONBLOCK);
  process.terminal_ = std::move(terminal.master);
  process.terminal_inside_ = std::move(terminal.inside);
  process.output_ = std::move(output.read_end);
  process.errors_ = std::move(errors.read_end);
  return process;
}

SandboxProcess::~SandboxProcess() {
  if (pid_ <= 0 || !output_.is_open()) return;  // moved from, or never started
  // Not reaped before the last signal: until then the group's number is nobody else's.
  ::kill(-pid_, SIGTERM);
  for (int i = 0; i < kEndAttempts && !status(); ++i) ::nanosleep(&kEndPause, nullptr);
  ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

std::string SandboxProcess::typed() {
  std::array<char, 256> buffer;
  for (;;) {
    const ssize_t size = ::read(terminal_inside_.get(), buffer.data(), buffer.size());
    if (size <= 0) return typed_;
    typed_.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

std::optional<int> SandboxProcess::status() const {
  siginfo_t info{};
  const auto id = static_cast<id_t>(pid_);
  if (::waitid(P_PID, id, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != pid_) {
    return std::nullopt;
  }
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

}  // namespace cordon::audit
