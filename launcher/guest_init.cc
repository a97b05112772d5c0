// A signal that somebody sends to the whole process group (the terminal's ^C, or kill(2) with a
// negative number) reaches the command by itself, and the supervisor too, which passes on what was
// sent to it. So that nothing arrives twice, guest init, which stands in the same group, watches: a
// signal that has reached it as well was the group's, and the supervisor's order for it is not
// carried out. Guest init itself acts on no signal: a pid 1 gets none whose disposition is the
// default one, and here all are blocked and only read.

#include "launcher/guest_init.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <vector>

#include "launcher/clock.h"
#include "launcher/setup_channel.h"
#include "sandbox/descriptors.h"
#include "sandbox/guest_isolation.h"

namespace cordon {
namespace {

constexpr int kSignals = 65;
// How far apart the two copies of one group signal can be: the kernel delivers them in one go, so
// this is room for a scheduler under load, and shorter than anybody sends a second one.
constexpr std::int64_t kSameSignalMilliseconds = 50;
constexpr int kGroupCopyWaitMilliseconds = 5;

void take_terminal(int terminal) {
  ::setsid();
  if (terminal < 0) return;
  ::ioctl(terminal, TIOCSCTTY, 0);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::isatty(stream) != 0) ::dup2(terminal, stream);
  }
  ::close(terminal);
}

// execvp(3) answers EACCES where a directory of PATH may not be entered, though the program may be
// nowhere: to a shell's user that is "not found".
bool is_in_path(const std::string& name) {
  const char* const path = ::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): one thread
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    std::string file(rest.substr(0, rest.find(':')));
    rest.remove_prefix(std::min(file.size() + 1, rest.size()));
    file.append("/").append(name);
    if (::access(file.c_str(), F_OK) == 0) return true;
  }
  return false;
}

int execution_error(const std::string& name, int code) {
  const bool is_searched = name.find('/') == std::string::npos;
  return code == EACCES && is_searched && !is_in_path(name) ? ENOENT : code;
}

[[noreturn]] void execute(const SandboxPlan& plan, int channel, const InheritedSignals& inherited,
                          int terminal) {
  if (plan.has_new_session) take_terminal(terminal);
  for (const int fd : plan.passed_fds) ::fcntl(fd, F_SETFD, 0);
  ::sigaction(SIGPIPE, &inherited.pipe, nullptr);
  ::sigaction(SIGCHLD, &inherited.child, nullptr);
  ::sigprocmask(SIG_SETMASK, &inherited.mask, nullptr);
  std::vector<char*> arguments;
  arguments.reserve(plan.command.size() + 1);
  // execvp(3) takes pointers to what it does not change; the process's own copy is given away.
  for (const std::string& argument : plan.command) arguments.push_back(::strdup(argument.c_str()));
  arguments.push_back(nullptr);
  ::execvp(arguments.front(), arguments.data());
  const int code = execution_error(plan.command.front(), errno);
  (void)send_setup(channel, {.step = SetupStep::kCannotExecute, .number = code});
  ::_exit(code == ENOENT ? kExitNotFound : kExitCannotExecute);
}

class GuestInit {
 public:
  GuestInit(pid_t command, int channel, UniqueFd signals, bool shares_group)
      : command_(command),
        channel_(channel),
        signals_(std::move(signals)),
        shares_group_(shares_group) {}

  [[noreturn]] void run() {
    for (;;) {
      std::array<pollfd, 2> waits{pollfd{.fd = signals_.get(), .events = POLLIN},
                                  pollfd{.fd = channel_, .events = POLLIN}};
      if (::poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) ::_exit(kExitOwnFailure);
      if (waits[0].revents != 0) read_signals();
      if (waits[1].revents != 0) carry_out_order();
    }
  }

 private:
  void read_signals() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof(info)) == ssize_t{sizeof(info)}) {
      const auto number = static_cast<int>(info.ssi_signo);
      if (number == SIGCHLD) reap();
      if (number < kSignals) seen_[static_cast<std::size_t>(number)] = monotonic_milliseconds_now();
    }
  }

  void reap() const {
    for (;;) {
      int status = 0;
      const pid_t pid = ::waitpid(-1, &status, WNOHANG | WUNTRACED);
      if (pid <= 0) return;
      if (pid != command_) continue;
      if (WIFEXITED(status)) ::_exit(WEXITSTATUS(status));
      if (WIFSIGNALED(status)) ::_exit(128 + WTERMSIG(status));
      if (WIFSTOPPED(status)) {
        (void)send_setup(channel_, {.step = SetupStep::kStopped, .number = WSTOPSIG(status)});
      }
    }
  }

  void carry_out_order() {
    const Result<std::int32_t> order = receive_order(channel_);
    if (!order) ::_exit(kExitOwnFailure);
    const int number = *order;
    if (number <= 0 || number >= kSignals) return;
    if (shares_group_ && number != SIGCONT && has_reached_group(number)) return;
    ::kill(command_, number);
  }

  bool has_reached_group(int number) {
    read_signals();
    std::int64_t& seen = seen_[static_cast<std::size_t>(number)];
    if (monotonic_milliseconds_now() - seen > kSameSignalMilliseconds) {
      pollfd wait{.fd = signals_.get(), .events = POLLIN};
      if (::poll(&wait, 1, kGroupCopyWaitMilliseconds) > 0) read_signals();
    }
    const bool was_seen = monotonic_milliseconds_now() - seen <= kSameSignalMilliseconds;
    seen = kNever;
    return was_seen;
  }

  static constexpr std::int64_t kNever = -1'000'000;
  static constexpr std::array<std::int64_t, kSignals> never_seen() {
    std::array<std::int64_t, kSignals> times{};
    times.fill(kNever);
    return times;
  }

  pid_t command_;
  int channel_;
  UniqueFd signals_;
  bool shares_group_;
  std::array<std::int64_t, kSignals> seen_ = never_seen();
};

}  // namespace

void live_as_guest_init(const SandboxPlan& plan, int channel, const InheritedSignals& inherited,
                        int terminal) {
  const Result<std::int32_t> gate = receive_order(channel);
  if (!gate || *gate != kOpenGate) ::_exit(kExitOwnFailure);
  sigset_t all{};
  ::sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  UniqueFd signals(::signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC));
  // Before the fork: the command must not find this process open for one moment. Its own execve(2)
  // makes it ordinary again.
  if (!signals.is_open() || !hide_guest_init()) ::_exit(kExitOwnFailure);
  const pid_t command = ::fork();
  if (command == 0) execute(plan, channel, inherited, terminal);
  if (command < 0) ::_exit(kExitOwnFailure);
  // What the command holds open must not be held open here too: a reader waits for the last writer.
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (!put_dev_null(stream, O_RDWR)) ::close(stream);
  }
  if (!close_all_but({channel, signals.get()})) ::_exit(kExitOwnFailure);
  GuestInit(command, channel, std::move(signals), !plan.has_new_session).run();
}

}  // namespace cordon
