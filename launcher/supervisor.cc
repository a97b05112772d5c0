#include "launcher/supervisor.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "launcher/clock.h"
#include "launcher/guest_process.h"
#include "launcher/path_error.h"
#include "launcher/setup_channel.h"
#include "launcher/terminal/terminal.h"
#include "launcher/translator_process.h"

namespace cordon {
namespace {

// Passed on to the command when they were sent to the supervisor. The rest of what is blocked is
// read so that a stop of the command can be followed by one of ours.
constexpr std::array kForwarded{SIGINT,  SIGTERM,  SIGHUP,  SIGQUIT, SIGUSR1,
                                SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT};
constexpr std::array kReadOnly{SIGTTIN, SIGTTOU};

// How long a guest without its network may tidy up before it is killed.
constexpr int kGuestGraceMilliseconds = 500;
// How long the translator may take to report the last flows when the command has ended.
constexpr int kTranslatorGraceMilliseconds = 300;

constexpr std::size_t kMaxMessage = 65536;

UniqueFd open_pid(pid_t pid) {
  // By number, because the C library has it from 2.36 on only. Close-on-exec by itself.
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

std::string end_of(int status) {
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
    return "killed by its syscall filter (SIGSYS)";
  }
  if (WIFSIGNALED(status)) {
    return std::string("killed by SIG") + ::sigabbrev_np(WTERMSIG(status));
  }
  return "ended with status " + std::to_string(WEXITSTATUS(status));
}

// Whoever started us may have SIGCHLD ignored; then no child could be waited for, here and in guest
// init.
InheritedSignals take_over_signals() {
  InheritedSignals inherited;
  ::sigprocmask(SIG_BLOCK, nullptr, &inherited.mask);
  ::sigaction(SIGPIPE, nullptr, &inherited.pipe);
  ::sigaction(SIGCHLD, nullptr, &inherited.child);
  (void)::signal(SIGCHLD, SIG_DFL);  // Fails for what is no signal only.
  return inherited;
}

Result<UniqueFd> block_signals() {
  sigset_t blocked{};
  ::sigemptyset(&blocked);
  for (const int number : kForwarded) ::sigaddset(&blocked, number);
  for (const int number : kReadOnly) ::sigaddset(&blocked, number);
  if (::sigprocmask(SIG_BLOCK, &blocked, nullptr) != 0) return errno_error("sigprocmask");
  UniqueFd fd(::signalfd(-1, &blocked, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!fd.is_open()) return errno_error("signalfd");
  return fd;
}

// Stops this process by the signal that stopped the command, so that the shell which waits for us
// sees what it would have seen. Returns when we are continued.
void stop_like(int number) {
  sigset_t one{};
  ::sigemptyset(&one);
  ::sigaddset(&one, number);
  ::kill(::getpid(), number);
  ::sigprocmask(SIG_UNBLOCK, &one, nullptr);
  ::sigprocmask(SIG_BLOCK, &one, nullptr);
}

class Supervisor {
 public:
  Supervisor(SandboxPlan& plan, TranslatorListener& listener, std::vector<Watched>& watched)
      : plan_(plan), listener_(listener), watched_(watched) {}

  [[nodiscard]] Status start();
  [[nodiscard]] int run();
  /// What start() had made when it failed.
  void abandon();

 private:
  struct Waits {
    std::vector<pollfd> fds;
    std::size_t first_terminal = 0;
  };

  [[nodiscard]] Result<GuestNetworkHandles> start_network();
  [[nodiscard]] Result<SetupMessage> await_translator(SetupStep step);
  [[nodiscard]] Status open_gate();
  static void shed_powers();

  [[nodiscard]] Waits waits() const;
  void on_ready(const Waits& ready);
  [[nodiscard]] int timeout() const;

  void read_signals();
  void read_guest();
  void read_control();
  void read_words();
  void on_translator_end();
  void end_guest_when_due();
  [[nodiscard]] int finish();
  void end_translator();

  SandboxPlan& plan_;
  TranslatorListener& listener_;
  std::vector<Watched>& watched_;
  std::optional<TranslatorProcess> translator_;
  UniqueFd translator_pid_;
  UniqueFd sock_diag_;
  UniqueFd network_namespace_;
  StartedGuest guest_;
  UniqueFd guest_pid_;
  UniqueFd signals_;
  std::unique_ptr<Terminal> terminal_;
  std::optional<std::int64_t> kill_guest_at_;
  bool has_lost_translator_ = false;
  bool was_told_not_executable_ = false;
};

Result<SetupMessage> Supervisor::await_translator(SetupStep step) {
  Result<SetupMessage> message = receive_setup(translator_->setup.get());
  if (!message && message.error().code == EPIPE) {
    int status = 0;
    ::waitpid(std::exchange(translator_->pid, -1), &status, 0);
    read_words();
    return plain_error("translator " + end_of(status) + " while it was set up");
  }
  if (!message) return message;
  if (message->step == SetupStep::kFailed) {
    return errno_error(message->number, std::move(message->text));
  }
  if (message->step != step) return errno_error(EPROTO, "translator");
  return message;
}

Result<GuestNetworkHandles> Supervisor::start_network() {
  Result<TranslatorProcess> started = start_translator(plan_);
  if (!started) return wrap("translator", std::move(started).error());
  translator_ = *std::move(started);
  translator_pid_ = open_pid(translator_->pid);
  if (!translator_pid_.is_open()) return errno_error("pidfd_open");
  CORDON_TRY(SetupMessage network, await_translator(SetupStep::kNetworkReady));
  if (network.descriptors.size() != 3) return errno_error(EPROTO, "translator");
  network_namespace_ = UniqueFd(::dup(network.descriptors[1].get()));
  sock_diag_ = std::move(network.descriptors[2]);
  return GuestNetworkHandles{.user_namespace = std::move(network.descriptors[0]),
                             .network_namespace = std::move(network.descriptors[1])};
}

Status Supervisor::start() {
  const InheritedSignals inherited = take_over_signals();
  GuestNetworkHandles network;
  if (plan_.has_new_session) {
    CORDON_TRY(terminal_, Terminal::open());
  }
  if (!plan_.is_offline) {
    CORDON_TRY(network, start_network());
  }
  const int commands_end = terminal_ ? terminal_->commands_end() : -1;
  CORDON_TRY(guest_, start_guest(plan_, network, inherited, commands_end));
  if (terminal_) terminal_->close_commands_end();
  guest_pid_ = open_pid(guest_.init);
  if (!guest_pid_.is_open()) return errno_error("pidfd_open");
  if (translator_) CORDON_TRY_STATUS(await_translator(SetupStep::kSealed));
  return open_gate();
}

Status Supervisor::open_gate() {
  CORDON_TRY(signals_, block_signals());
  (void)::signal(SIGPIPE, SIG_IGN);  // Fails for what is no signal only.
  shed_powers();
  RunningSandbox running{.guest_init = guest_.init, .terminal = terminal_.get()};
  if (translator_) {
    running.control = translator_->control.get();
    running.sock_diag = sock_diag_.get();
    running.network_namespace = network_namespace_.get();
    running.translator = translator_->pid;
  }
  listener_.on_started(running);
  if (terminal_) terminal_->start();
  return send_order(guest_.channel.get(), kOpenGate);
}

// Reading hostile messages needs no powers, and nobody has to look into this process's memory.
void Supervisor::shed_powers() {
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

Supervisor::Waits Supervisor::waits() const {
  Waits waits;
  waits.fds = {{.fd = signals_.get(), .events = POLLIN},
               {.fd = guest_pid_.get(), .events = POLLIN},
               {.fd = guest_.channel.get(), .events = POLLIN},
               {.fd = translator_pid_.get(), .events = POLLIN},
               {.fd = translator_ ? translator_->control.get() : -1, .events = POLLIN},
               {.fd = translator_ ? translator_->words.get() : -1, .events = POLLIN}};
  for (const Watched& watched : watched_) {
    waits.fds.push_back({.fd = watched.fd, .events = POLLIN});
  }
  waits.first_terminal = waits.fds.size();
  if (terminal_) terminal_->add_waits(waits.fds);
  return waits;
}

int Supervisor::timeout() const {
  if (!kill_guest_at_) return -1;
  return static_cast<int>(
      std::max<std::int64_t>(0, *kill_guest_at_ - monotonic_milliseconds_now()));
}

int Supervisor::run() {
  for (;;) {
    Waits ready = waits();
    const int count = ::poll(ready.fds.data(), ready.fds.size(), timeout());
    if (count < 0 && errno != EINTR) {
      listener_.on_trouble("poll failed; ending the command");
      ::syscall(SYS_pidfd_send_signal, guest_pid_.get(), SIGKILL, nullptr, 0);
      return finish();
    }
    end_guest_when_due();
    if (count > 0) on_ready(ready);
    if (ready.fds[1].revents != 0) return finish();
  }
}

void Supervisor::on_ready(const Waits& ready) {
  const auto is_ready = [&](std::size_t i) { return ready.fds[i].revents != 0; };
  if (is_ready(0)) read_signals();
  if (is_ready(2)) read_guest();
  if (is_ready(4)) read_control();
  if (is_ready(5)) read_words();
  if (is_ready(3)) on_translator_end();
  for (std::size_t i = 6; i < ready.first_terminal; ++i) {
    if (is_ready(i)) watched_[i - 6].on_readable();
  }
  for (std::size_t i = ready.first_terminal; i < ready.fds.size(); ++i) {
    if (is_ready(i)) terminal_->on_ready(ready.fds[i]);
  }
}

void Supervisor::read_signals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof(info)) == ssize_t{sizeof(info)}) {
    const auto number = static_cast<int>(info.ssi_signo);
    if (number == SIGWINCH && terminal_) terminal_->resize();
    // The terminal's own (SI_KERNEL) has reached the command already: it stands in the same group.
    const bool was_sent_by_process = info.ssi_code <= 0;
    const bool is_forwarded =
        std::find(kForwarded.begin(), kForwarded.end(), number) != kForwarded.end();
    if (is_forwarded && (was_sent_by_process || number == SIGCONT)) {
      (void)send_order(guest_.channel.get(), number);  // a guest that is gone needs none
    }
  }
}

void Supervisor::read_guest() {
  const Result<SetupMessage> message = receive_setup(guest_.channel.get());
  if (!message) return guest_.channel.reset();
  if (message->step == SetupStep::kStopped && !terminal_) stop_like(message->number);
  if (message->step == SetupStep::kCannotExecute) {
    was_told_not_executable_ = true;
    listener_.on_trouble(command_words(message->number, plan_.command.front()));
  }
}

void Supervisor::read_control() {
  std::array<std::uint8_t, kMaxMessage> packet;
  for (;;) {
    const ssize_t size =
        ::recv(translator_->control.get(), packet.data(), packet.size(), MSG_DONTWAIT);
    if (size <= 0) {
      const bool is_over = size == 0 || (errno != EAGAIN && errno != EINTR);
      if (is_over) translator_->control.reset();
      return;
    }
    listener_.on_message(Bytes(packet).first(static_cast<std::size_t>(size)));
  }
}

// What the translator writes to its standard error: an invariant that failed, the C library's last
// words.
void Supervisor::read_words() {
  std::array<char, 1024> piece{};
  const ssize_t size = ::read(translator_->words.get(), piece.data(), piece.size());
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) return translator_->words.reset();
  std::string line = "translator: ";
  for (const char letter : std::string_view(piece.data(), static_cast<std::size_t>(size))) {
    line.push_back(letter >= ' ' && letter <= '~' ? letter : ' ');
  }
  line.erase(line.find_last_not_of(' ') + 1);
  listener_.on_trouble(line);
}

void Supervisor::on_translator_end() {
  int status = 0;
  ::waitpid(translator_->pid, &status, 0);
  translator_pid_.reset();
  has_lost_translator_ = true;
  listener_.on_trouble("translator " + end_of(status) +
                       "; the command has no network any more and is ended");
  (void)send_order(guest_.channel.get(), SIGTERM);
  kill_guest_at_ = monotonic_milliseconds_now() + kGuestGraceMilliseconds;
}

void Supervisor::end_guest_when_due() {
  if (!kill_guest_at_ || monotonic_milliseconds_now() < *kill_guest_at_) return;
  ::syscall(SYS_pidfd_send_signal, guest_pid_.get(), SIGKILL, nullptr, 0);
  kill_guest_at_.reset();
}

int Supervisor::finish() {
  int status = 0;
  ::waitpid(guest_.init, &status, 0);
  while (guest_.channel.is_open() && !was_told_not_executable_) {
    // Its last message may still lie in the channel.
    pollfd wait{.fd = guest_.channel.get(), .events = POLLIN};
    if (::poll(&wait, 1, 0) <= 0) break;
    read_guest();
  }
  if (terminal_) terminal_->finish();
  if (translator_pid_.is_open()) end_translator();
  if (has_lost_translator_) return kExitOwnFailure;
  // The command's own death by a signal is an exit status of guest init.
  if (WIFSIGNALED(status)) listener_.on_trouble("guest init " + end_of(status));
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// The translator is told by the half-closed channel, says what it has still to say, and closes its
// end. Its corpse is not waited for: the kernel takes the tap down in tens of milliseconds, and
// init reaps it.
void Supervisor::end_translator() {
  if (translator_->control.is_open()) ::shutdown(translator_->control.get(), SHUT_WR);
  const std::int64_t deadline = monotonic_milliseconds_now() + kTranslatorGraceMilliseconds;
  while (translator_->control.is_open()) {
    const std::int64_t left = deadline - monotonic_milliseconds_now();
    pollfd ready{.fd = translator_->control.get(), .events = POLLIN};
    if (left <= 0 || ::poll(&ready, 1, static_cast<int>(left)) == 0) {
      ::syscall(SYS_pidfd_send_signal, translator_pid_.get(), SIGKILL, nullptr, 0);
      return;
    }
    read_control();
  }
}

void Supervisor::abandon() {
  for (const pid_t pid : {translator_ ? translator_->pid : pid_t{-1}, guest_.init}) {
    if (pid <= 0) continue;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
}

}  // namespace

int supervise(SandboxPlan plan, TranslatorListener& listener, std::vector<Watched> watched) {
  Supervisor supervisor(plan, listener, watched);
  if (const Status started = supervisor.start(); !started) {
    supervisor.abandon();
    listener.on_trouble(started.error().message());
    return kExitOwnFailure;
  }
  return supervisor.run();
}

}  // namespace cordon
