#include "sandbox/translator_isolation.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sandbox/capabilities.h"
#include "sandbox/descriptors.h"
#include "sandbox/id_maps.h"
#include "sandbox/isolation_steps.h"
#include "sandbox/landlock.h"
#include "sandbox/limits.h"
#include "sandbox/mounts.h"
#include "sandbox/namespaces.h"

namespace cordon {
namespace {

// The main one and the guest side; relays come on top.
constexpr unsigned kThreads = 2;
constexpr int kTerminatedStatus = 128 + SIGTERM;

// Linux 6.3; the value is the kernel's ABI.
constexpr int kSetMemoryDenyWriteExecute = 65;
constexpr unsigned long kRefuseExecGain = 1;

IsolationSteps steps_of(const TranslatorIsolationPlan& plan) {
  return {"translator", plan.failing_step};
}

Status close_descriptors(const TranslatorIsolationPlan& plan) {
  CORDON_TRY_STATUS(close_all_but(plan.kept_descriptors));
  CORDON_TRY_STATUS(put_dev_null(STDIN_FILENO, O_RDONLY));
  return put_dev_null(STDOUT_FILENO, O_WRONLY);
}

// The signal is not sent for a supervisor that is over already: then the life line has hung up.
Status tie_to_supervisor(int life_line) {
  CORDON_TRY_STATUS(die_with_parent());
  pollfd line{.fd = life_line};
  if (::poll(&line, 1, 0) < 0) return errno_error("poll");
  if ((line.revents & (POLLHUP | POLLERR)) != 0)
    return errno_error(EPIPE, "the supervisor is gone");
  return {};
}

// A pid 1 gets no signal whose disposition is the default one (pid_namespaces(7)), so SIGTERM would
// do nothing.
Status end_on_sigterm() {
  struct sigaction action {};
  action.sa_handler = [](int) { ::_exit(kTerminatedStatus); };
  if (::sigaction(SIGTERM, &action, nullptr) != 0) return errno_error("sigaction SIGTERM");
  return {};
}

Status start_session() {
  if (::setsid() < 0) return errno_error("setsid");
  return {};
}

Status limit_resources() {
  CORDON_TRY_STATUS(lower_limit(RLIMIT_CORE, 0));
  CORDON_TRY_STATUS(lower_limit(RLIMIT_MEMLOCK, 0));
  CORDON_TRY_STATUS(lower_limit(RLIMIT_FSIZE, 0));
  return lower_limit(RLIMIT_NPROC, 0);
}

Status set_undumpable() {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return errno_error("PR_SET_DUMPABLE");
  return {};
}

Status deny_executable_memory() {
  if (::prctl(kSetMemoryDenyWriteExecute, kRefuseExecGain, 0, 0, 0) == 0) return {};
  if (errno == EINVAL) return {};  // not known to this kernel
  return errno_error("PR_SET_MDWE");
}

}  // namespace

Result<SelfCheckHandles> leave_callers_things(const TranslatorIsolationPlan& plan) {
  const IsolationSteps steps = steps_of(plan);
  const IdMap root_is_caller{.outside_uid = plan.callers_uid, .outside_gid = plan.callers_gid};
  CORDON_TRY_STATUS(steps.check("close descriptors", close_descriptors(plan)));
  CORDON_TRY_STATUS(
      steps.check("descriptor limit", lower_limit(RLIMIT_NOFILE, plan.descriptor_limit)));
  CORDON_TRY_STATUS(steps.check("id maps", write_id_maps(root_is_caller)));
  CORDON_TRY_STATUS(steps.check("die with the supervisor", tie_to_supervisor(plan.life_line)));
  CORDON_TRY_STATUS(steps.check("end on SIGTERM", end_on_sigterm()));
  Result<SelfCheckHandles> handles = open_self_check();
  CORDON_TRY_STATUS(
      steps.check("open /proc", handles ? Status() : std::unexpected(handles.error())));
  return handles;
}

Result<GuestSide> build_guest_side(const TranslatorIsolationPlan& plan,
                                   const GuestNetworkPlan& network) {
  const IsolationSteps steps = steps_of(plan);
  CORDON_TRY_STATUS(steps.check("network namespace", leave_namespaces(CLONE_NEWNET)));
  Result<GuestNetwork> built = build_guest_network(network);
  CORDON_TRY_STATUS(
      steps.check("guest network", built ? Status() : std::unexpected(built.error())));
  GuestSide side{.network = *std::move(built)};
  CORDON_TRY(side.user_namespace, open_own_namespace("user"));
  CORDON_TRY(side.network_namespace, open_own_namespace("net"));
  return side;
}

Status restrict_guest_side(const TranslatorIsolationPlan& plan) {
  const IsolationSteps steps = steps_of(plan);
  CORDON_TRY_STATUS(
      steps.check("guest side capabilities", restrict_capabilities(KeptCapabilities::kNetAdmin)));
  CORDON_TRY_STATUS(steps.check("guest side no_new_privs", set_no_new_privileges()));
  CORDON_TRY_STATUS(steps.check("guest side landlock", forbid_all_files()));
  return steps.check("guest side self check", check_capabilities(KeptCapabilities::kNetAdmin));
}

Status leave_file_system(const TranslatorIsolationPlan& plan, SelfCheckHandles& handles,
                         bool& used_chroot) {
  const IsolationSteps steps = steps_of(plan);
  CORDON_TRY_STATUS(steps.check("empty root", enter_empty_root(used_chroot)));
  CORDON_TRY_STATUS(steps.check("open the empty root", open_checked_root(handles)));
  return steps.check("session", start_session());
}

Status restrict_main(const TranslatorIsolationPlan& plan) {
  const IsolationSteps steps = steps_of(plan);
  CORDON_TRY_STATUS(steps.check("not dumpable", set_undumpable()));
  CORDON_TRY_STATUS(
      steps.check("capabilities", restrict_capabilities(KeptCapabilities::kNetAdmin)));
  CORDON_TRY_STATUS(steps.check("no_new_privs", set_no_new_privileges()));
  CORDON_TRY_STATUS(steps.check("no executable memory", deny_executable_memory()));
  return steps.check("landlock", forbid_all_files());
}

Status isolate_relay(const TranslatorIsolationPlan& plan, std::vector<int> kept) {
  const IsolationSteps steps = steps_of(plan);
  CORDON_TRY_STATUS(steps.check("relay descriptors", own_descriptors(std::move(kept))));
  return steps.check("relay self check", check_capabilities(KeptCapabilities::kNetAdmin));
}

Status seal(const TranslatorIsolationPlan& plan, SelfCheckHandles handles) {
  const IsolationSteps steps = steps_of(plan);
  CORDON_TRY_STATUS(steps.check("limits", limit_resources()));
  CORDON_TRY_STATUS(
      steps.check("self check", self_check(std::move(handles), kThreads + plan.relays)));
  return steps.check("syscall filter", seal_translator(plan.filter_mode));
}

}  // namespace cordon
