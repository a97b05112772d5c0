#include "tests/bench/upstream/traced_calls.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <seccomp.h>

#include "sandbox/translator_syscalls.h"
#include "tests/bench/load/sockets.h"

namespace cordon::bench {
namespace {

// A call that neither library makes.
constexpr auto kMark = SYS_getpgid;

std::span<const ArgumentRule> rules_of(const PermittedCall& permitted) {
  return std::span(permitted.rules).first(permitted.rule_count);
}

[[noreturn]] void be_traced(const std::function<void()>& work) {
  must(static_cast<int>(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)), "PTRACE_TRACEME");
  must(raise(SIGSTOP), "raise");
  work();
  _exit(0);
}

}  // namespace

void end_part() { syscall(kMark, 0); }

std::vector<std::vector<TracedCall>> trace_calls(const std::function<void()>& work) {
  const pid_t child = must(fork(), "fork");
  if (child == 0) be_traced(work);
  int status = 0;
  must(waitpid(child, &status, 0), "waitpid");
  constexpr auto kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
  must(static_cast<int>(::ptrace(PTRACE_SETOPTIONS, child, nullptr, kOptions)), "ptrace");
  std::vector<std::vector<TracedCall>> parts;
  std::vector<TracedCall> calls;
  for (;;) {
    must(static_cast<int>(::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr)), "PTRACE_SYSCALL");
    must(waitpid(child, &status, 0), "waitpid");
    if (!WIFSTOPPED(status)) break;
    __ptrace_syscall_info info{};
    const long size = ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info);
    if (size <= 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY) continue;
    if (info.entry.nr == std::uint64_t{kMark}) {
      parts.push_back(std::exchange(calls, {}));
      continue;
    }
    TracedCall& call = calls.emplace_back(TracedCall{.number = info.entry.nr});
    std::copy_n(info.entry.args, call.arguments.size(), call.arguments.begin());
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) die_plainly("the traced child failed");
  return parts;
}

bool is_permitted(const TracedCall& call) {
  return std::ranges::any_of(permitted_translator_calls(), [&call](const PermittedCall& permitted) {
    return static_cast<std::uint64_t>(permitted.number) == call.number &&
           std::ranges::all_of(rules_of(permitted), [&call](const ArgumentRule& rule) {
             return (call.arguments.at(rule.index) & rule.mask) == rule.value;
           });
  });
}

std::string name_of(const TracedCall& call) {
  char* const found =
      seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, static_cast<int>(call.number));
  std::string name = found == nullptr ? fmt::format("{}", call.number) : found;
  std::free(found);  // NOLINT(cppcoreguidelines-no-malloc): it is libseccomp's
  switch (call.number) {
    case SYS_socket:
      return fmt::format("{}({}, {:#x}, {})", name, call.arguments[0], call.arguments[1],
                         call.arguments[2]);
    case SYS_setsockopt:
    case SYS_getsockopt:
      return fmt::format("{}({}, {})", name, call.arguments[1], call.arguments[2]);
    case SYS_fcntl:
      return fmt::format("{}({})", name, call.arguments[1]);
    default:
      return name;
  }
}

}  // namespace cordon::bench
