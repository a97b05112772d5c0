// Processes outside: seen, read, signalled, traced, robbed, and followed into their network.
//
// Everything is tried on the one process that the audit made for it (witness.h), found by its name:
// its number outside means nothing in another pid namespace, where it may be somebody else's.
#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <netinet/in.h>
#include <optional>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/audit/prober.h"
#include "launcher/audit/socket_address.h"
#include "launcher/text_file.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon::audit {
namespace {

// The longest that an attempt on another process may take.
constexpr int kTraceMilliseconds = 1500;

struct Sight {
  std::optional<pid_t> witness;
  std::size_t processes = 0;
};

Sight look_around(const std::string& name) {
  const std::vector<int> processes = numbers_in("/proc").value_or(std::vector<int>{});
  Sight sight{.processes = processes.size()};
  for (const int pid : processes) {
    if (read_text_file(fmt::format("/proc/{}/comm", pid)) == name + "\n") sight.witness = pid;
  }
  return sight;
}

void read_environment(const Teller& teller, pid_t pid) {
  constexpr std::string_view kVariable = "CORDON_AUDIT_SECRET=";
  const Leak leak = Leak::kProcessSecrets;
  const std::string path = fmt::format("/proc/{}/environ", pid);
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) return teller.refused(leak, path, errno);
  const std::string text = read_text_file(path);
  const auto at = text.find(kVariable);
  if (at == std::string::npos) return teller.report(leak, Outcome::kRefused, path + ": empty");
  const auto begin = at + kVariable.size();
  // Variables end in a NUL.
  teller.report(leak, Outcome::kObtained, text.substr(begin, text.find('\0', begin) - begin));
}

void send_signal(const Teller& teller, pid_t pid) {
  if (::kill(pid, SIGUSR1) != 0) return teller.refused(Leak::kSignals, "kill", errno);
  teller.report(Leak::kSignals, Outcome::kSent, "kill: taken");
}

void trace(const Teller& teller, pid_t pid) {
  // Long enough for somebody outside to look twice.
  constexpr timespec kHold{.tv_sec = 0, .tv_nsec = 200'000'000};
  if (::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) != 0) {
    return teller.refused(Leak::kPtrace, "PTRACE_SEIZE", errno);
  }
  ::nanosleep(&kHold, nullptr);
  teller.report(Leak::kPtrace, Outcome::kSent, "PTRACE_SEIZE: taken");
}

void steal_descriptor(const ProbePlan& plan, const Teller& teller, pid_t pid) {
  const Leak leak = Leak::kStolenDescriptor;
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process.is_open()) return teller.refused(leak, "pidfd_open", errno);
  const UniqueFd stolen(
      static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), plan.witness_descriptor, 0)));
  if (!stolen.is_open()) return teller.refused(leak, "pidfd_getfd", errno);
  const std::string token = write_token(plan.nonce, {leak, "a stolen descriptor"});
  (void)::send(stolen.get(), token.data(), token.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  teller.report(leak, Outcome::kSent, "pidfd_getfd: taken");
}

void enter_network(const ProbePlan& plan, const Teller& teller, pid_t pid) {
  const Leak leak = Leak::kEnterNetwork;
  const UniqueFd network(::open(fmt::format("/proc/{}/ns/net", pid).c_str(), O_RDONLY | O_CLOEXEC));
  if (!network.is_open()) return teller.refused(leak, "/proc/PID/ns/net", errno);
  if (::setns(network.get(), CLONE_NEWNET) != 0) return teller.refused(leak, "setns", errno);
  for (const Endpoint& server : plan.loopback) {
    const UniqueFd socket(::socket(family_of(server.address), SOCK_STREAM | SOCK_CLOEXEC, 0));
    const SocketAddress address = socket_address(server);
    if (!socket.is_open() || ::connect(socket.get(), address.get(), address.size) != 0) continue;
    const std::string token =
        write_token(plan.nonce, {leak, fmt::format("setns, then tcp {}", server.to_string())});
    (void)::send(socket.get(), token.data(), token.size(), MSG_NOSIGNAL);
  }
  teller.report(leak, Outcome::kSent, "setns: taken");
}

}  // namespace

void probe_processes(const ProbePlan& plan, const Teller& teller) {
  const Sight sight = look_around(plan.witness_name);
  if (!sight.witness) {
    const std::string words = fmt::format("not among the {} processes in /proc", sight.processes);
    for (const Leak leak : {Leak::kProcesses, Leak::kProcessSecrets, Leak::kSignals, Leak::kPtrace,
                            Leak::kStolenDescriptor, Leak::kEnterNetwork}) {
      teller.report(leak, Outcome::kRefused, words);
    }
    return;
  }
  const pid_t pid = *sight.witness;
  teller.report(Leak::kProcesses, Outcome::kObtained,
                fmt::format("{} processes in /proc, an outside one among them", sight.processes));
  const auto attempt = [&](Leak leak, const std::function<void()>& action) {
    in_child(teller, leak, kTraceMilliseconds, action);
  };
  attempt(Leak::kProcessSecrets, [&] { read_environment(teller, pid); });
  attempt(Leak::kSignals, [&] { send_signal(teller, pid); });
  attempt(Leak::kPtrace, [&] { trace(teller, pid); });
  attempt(Leak::kStolenDescriptor, [&] { steal_descriptor(plan, teller, pid); });
  attempt(Leak::kEnterNetwork, [&] { enter_network(plan, teller, pid); });
}

}  // namespace cordon::audit
