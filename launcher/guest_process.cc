#include "launcher/guest_process.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <sched.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/guest_init.h"
#include "launcher/setup_channel.h"
#include "sandbox/descriptors.h"
#include "sandbox/guest_isolation.h"
#include "sandbox/namespaces.h"

namespace cordon {
namespace {

// Name services of the host that programs ask through a socket, past /etc/resolv.conf.
constexpr const char* kHiddenDirectories[] = {"/run/systemd/resolve", "/run/nscd"};

constexpr const char* kHosts = "/etc/hosts";

// Empty where there is none: a host without the file is a host without entries.
std::string read_text(const char* path) {
  std::string text;
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) return text;
  std::array<char, 4096> piece{};
  for (;;) {
    const ssize_t got = ::read(file.get(), piece.data(), piece.size());
    if (got <= 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
}

std::string with_line_end(std::string text) {
  if (!text.empty() && text.back() != '\n') text.push_back('\n');
  return text;
}

GuestIsolationPlan isolation_plan(const SandboxPlan& plan, int channel, int terminal) {
  GuestIsolationPlan isolation{.callers_uid = ::geteuid(),
                               .callers_gid = ::getegid(),
                               .maps_root = plan.maps_root,
                               .may_nest = plan.may_nest,
                               .may_ptrace = plan.may_ptrace,
                               .kept_descriptors = plan.passed_fds,
                               .failing_step = plan.failing_step};
  isolation.kept_descriptors.push_back(channel);
  if (terminal >= 0) isolation.kept_descriptors.push_back(terminal);
  isolation.hidden_directories.assign(std::begin(kHiddenDirectories), std::end(kHiddenDirectories));
  isolation.hidden_directories.insert(isolation.hidden_directories.end(),
                                      plan.hidden_folders.begin(), plan.hidden_folders.end());
  if (!plan.resolv_conf.empty()) {
    isolation.contents.push_back({.path = "/etc/resolv.conf", .content = plan.resolv_conf});
  }
  if (!plan.hosts_lines.empty()) {
    isolation.contents.push_back(
        {.path = kHosts, .content = with_line_end(read_text(kHosts)) + plan.hosts_lines});
  }
  return isolation;
}

[[noreturn]] void fail(int channel, const Error& error) {
  (void)send_setup(channel, {.step = SetupStep::kFailed, .number = error.code, .text = error.what});
  ::_exit(EXIT_FAILURE);
}

[[noreturn]] void init_main(const SandboxPlan& plan, const GuestIsolationPlan& isolation,
                            int channel, const InheritedSignals& inherited, int terminal) {
  if (const Status isolated = isolate_guest(isolation); !isolated) fail(channel, isolated.error());
  if (!send_setup(channel, {.step = SetupStep::kIsolated})) ::_exit(EXIT_FAILURE);
  live_as_guest_init(plan, channel, inherited, terminal);
}

[[noreturn]] void helper_main(const SandboxPlan& plan, const GuestNetworkHandles& network,
                              int channel, const InheritedSignals& inherited, int terminal) {
  const GuestIsolationPlan isolation = isolation_plan(plan, channel, terminal);
  const Status entered = network.user_namespace.is_open()
                             ? enter_guest_network(isolation, network.user_namespace.get(),
                                                   network.network_namespace.get())
                             : make_offline_network(isolation);
  if (!entered) fail(channel, entered.error());
  // A sibling, not a child: the supervisor is to be told of its end.
  const Result<pid_t> init = clone_process(common_namespace_flags() | CLONE_PARENT);
  if (!init) fail(channel, wrap("guest: clone", init.error()).error());
  if (*init == 0) init_main(plan, isolation, channel, inherited, terminal);
  const Status told = send_setup(channel, {.step = SetupStep::kForked, .number = *init});
  ::_exit(told ? 0 : EXIT_FAILURE);
}

Error error_of(SetupMessage message) {
  return {.code = message.number, .what = std::move(message.text)};
}

// Helper and guest init report in either order.
Result<pid_t> await_gate(int channel) {
  pid_t init = -1;
  bool is_isolated = false;
  while (init < 0 || !is_isolated) {
    CORDON_TRY(SetupMessage message, receive_setup(channel));
    if (message.step == SetupStep::kFailed) return std::unexpected(error_of(std::move(message)));
    if (message.step == SetupStep::kForked) init = message.number;
    if (message.step == SetupStep::kIsolated) is_isolated = true;
  }
  return init;
}

}  // namespace

Result<StartedGuest> start_guest(const SandboxPlan& plan, const GuestNetworkHandles& network,
                                 const InheritedSignals& inherited, int terminal) {
  CORDON_TRY(auto channel, open_packet_pair());
  const pid_t helper = ::fork();
  if (helper < 0) return errno_error("fork");
  if (helper == 0) {
    channel.first.reset();
    helper_main(plan, network, channel.second.get(), inherited, terminal);
  }
  channel.second.reset();
  Result<pid_t> init = await_gate(channel.first.get());
  ::waitpid(helper, nullptr, 0);
  if (!init) return std::unexpected(std::move(init).error());
  return StartedGuest{.init = *init, .channel = std::move(channel.first)};
}

}  // namespace cordon
