#include "launcher/audit/witness.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string_view>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/text_file.h"

namespace cordon::audit {
namespace {

constexpr char kHit = 's';
constexpr char kReady = 'r';
constexpr int kStartMilliseconds = 5000;

// Above all descriptors that dup2() is to fill, so that neither overwrites the other.
int move_up(int fd) { return ::fcntl(fd, F_DUPFD_CLOEXEC, 10); }

[[noreturn]] void become_witness(const std::string& program, const std::string& name,
                                 const std::string& secret, int line, int stream) {
  line = move_up(line);
  stream = move_up(stream);
  ::dup2(line, kWitnessLine);
  ::dup2(stream, kWitnessStream);
  std::string verb = kWitnessVerb;
  std::string argument = name;
  std::string file = program;
  std::string variable = fmt::format("CORDON_AUDIT_SECRET={}", secret);
  std::array<char*, 4> arguments{file.data(), verb.data(), argument.data(), nullptr};
  std::array<char*, 2> environment{variable.data(), nullptr};
  ::execve(program.c_str(), arguments.data(), environment.data());
  ::_exit(127);
}

bool has_tracer(pid_t pid) {
  constexpr std::string_view kField = "TracerPid:\t";
  const std::string status = read_text_file(fmt::format("/proc/{}/status", pid));
  const auto at = status.find(kField);
  return at != std::string::npos && status.compare(at + kField.size(), 2, "0\n") != 0;
}

}  // namespace

void live_as_witness(const std::string& name) {
  ::prctl(PR_SET_NAME, name.c_str(), 0, 0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  sigset_t signals{};
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGUSR1);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  const UniqueFd arrived(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (::write(kWitnessLine, &kReady, 1) != 1) ::_exit(1);  // the audit has gone
  for (;;) {
    std::array<pollfd, 2> waits{pollfd{.fd = arrived.get(), .events = POLLIN},
                                pollfd{.fd = kWitnessLine, .events = POLLIN}};
    if (::poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) ::_exit(1);
    if (waits[1].revents != 0) ::_exit(0);  // the audit has gone
    signalfd_siginfo info{};
    if (::read(arrived.get(), &info, sizeof(info)) == ssize_t{sizeof(info)} &&
        ::write(kWitnessLine, &kHit, 1) != 1) {
      ::_exit(1);
    }
  }
}

Result<Witness> Witness::start(const std::string& program, const std::string& name,
                               const std::string& secret) {
  std::array<int, 2> line{};
  std::array<int, 2> stream{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line.data()) != 0) {
    return errno_error("socketpair");
  }
  const UniqueFd its_line(line[1]);
  UniqueFd our_line(line[0]);
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream.data()) != 0) {
    return errno_error("socketpair");
  }
  const UniqueFd its_stream(stream[1]);
  UniqueFd our_stream(stream[0]);
  const pid_t pid = ::fork();
  if (pid < 0) return errno_error("fork");
  if (pid == 0) become_witness(program, name, secret, its_line.get(), its_stream.get());
  Witness witness(pid, std::move(our_line), std::move(our_stream));
  pollfd wait{.fd = witness.line_.get(), .events = POLLIN};
  char word = 0;
  if (::poll(&wait, 1, kStartMilliseconds) <= 0 || ::read(wait.fd, &word, 1) != 1 ||
      word != kReady) {
    return plain_error("the process that stands for the host's could not be started");
  }
  ::fcntl(witness.line_.get(), F_SETFL, O_NONBLOCK);
  ::fcntl(witness.stream_.get(), F_SETFL, O_NONBLOCK);
  return witness;
}

Witness::~Witness() {
  if (!line_.is_open()) return;  // moved from
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Witness::look(Evidence& evidence) const {
  char word = 0;
  while (::read(line_.get(), &word, 1) == 1) {
    if (word == kHit) evidence.add(Leak::kSignals, {.words = "a process outside got SIGUSR1"});
  }
  if (has_tracer(pid_)) evidence.add(Leak::kPtrace, {.words = "a process outside had a tracer"});
}

}  // namespace cordon::audit
