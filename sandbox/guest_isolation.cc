#include "sandbox/guest_isolation.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "sandbox/capabilities.h"
#include "sandbox/descriptors.h"
#include "sandbox/guest_network.h"
#include "sandbox/guest_syscalls.h"
#include "sandbox/id_maps.h"
#include "sandbox/isolation_steps.h"
#include "sandbox/limits.h"
#include "sandbox/namespaces.h"

namespace cordon {
namespace {

IsolationSteps steps_of(const GuestIsolationPlan& plan) { return {"guest", plan.failing_step}; }

// Of U2: namespaces are counted against the user namespace they are made in and all above it.
Status forbid_nested_namespaces(const UniqueFd& settings) {
  CORDON_TRY_STATUS(write_file_at(settings.get(), "user/max_user_namespaces", "0"));
  return write_file_at(settings.get(), "user/max_net_namespaces", "0");
}

// Below a read-only /proc/sys a nested namespace cannot mount a /proc of its own, which it is to be
// able to; only the host's root has something to lose there.
bool protects_kernel_settings(const GuestIsolationPlan& plan) {
  return !plan.may_nest || plan.callers_uid == 0;
}

// Nobody else could map uid 0 into a nested namespace, which is what such a command makes one for.
KeptCapabilities kept_capabilities(const GuestIsolationPlan& plan) {
  const bool is_root_inside = plan.maps_root || plan.callers_uid == 0;
  return plan.may_nest && is_root_inside ? KeptCapabilities::kSetFileCapabilities
                                         : KeptCapabilities::kNone;
}

IdMap guests_ids(const GuestIsolationPlan& plan) {
  // Outside, in U, the caller is 0.
  if (plan.maps_root) return {};
  return {.inside_uid = plan.callers_uid, .inside_gid = plan.callers_gid};
}

}  // namespace

Status enter_guest_network(const GuestIsolationPlan& plan, int user_namespace,
                           int network_namespace) {
  const IsolationSteps steps = steps_of(plan);
  CORDON_TRY_STATUS(
      steps.check("enter user namespace", enter_namespace(user_namespace, CLONE_NEWUSER)));
  return steps.check("enter network namespace", enter_namespace(network_namespace, CLONE_NEWNET));
}

Status make_offline_network(const GuestIsolationPlan& plan) {
  const IsolationSteps steps = steps_of(plan);
  const IdMap root_is_caller{.outside_uid = plan.callers_uid, .outside_gid = plan.callers_gid};
  CORDON_TRY_STATUS(steps.check("user namespace", leave_namespaces(CLONE_NEWUSER)));
  CORDON_TRY_STATUS(steps.check("outer id maps", write_id_maps(root_is_caller)));
  CORDON_TRY_STATUS(steps.check("network namespace", leave_namespaces(CLONE_NEWNET)));
  return steps.check("offline network", build_offline_network());
}

Status isolate_guest(const GuestIsolationPlan& plan) {
  const IsolationSteps steps = steps_of(plan);
  CORDON_TRY_STATUS(steps.check("die with the supervisor", die_with_parent()));
  CORDON_TRY_STATUS(steps.check("mount propagation", stop_mount_propagation()));
  CORDON_TRY_STATUS(steps.check("mount /sys", mount_own_sys()));
  CORDON_TRY_STATUS(
      steps.check("name service files", place_contents(plan.hidden_directories, plan.contents)));
  CORDON_TRY_STATUS(steps.check("mount /proc", mount_own_proc()));
  // Goes on leading to what can be written when /proc/sys cannot.
  const UniqueFd settings(::open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (protects_kernel_settings(plan)) {
    CORDON_TRY_STATUS(steps.check("protect kernel settings", protect_kernel_settings()));
  }
  CORDON_TRY_STATUS(steps.check("inner user namespace", leave_namespaces(CLONE_NEWUSER)));
  CORDON_TRY_STATUS(steps.check("id maps", write_id_maps(guests_ids(plan))));
  if (!plan.may_nest) {
    CORDON_TRY_STATUS(steps.check("no nested namespaces", forbid_nested_namespaces(settings)));
  }
  CORDON_TRY_STATUS(steps.check("limits", lower_limit(RLIMIT_CORE, 0)));
  CORDON_TRY_STATUS(steps.check("capabilities", restrict_capabilities(kept_capabilities(plan))));
  CORDON_TRY_STATUS(steps.check("no_new_privs", set_no_new_privileges()));
  CORDON_TRY_STATUS(steps.check("close descriptors", close_all_but(plan.kept_descriptors)));
  CORDON_TRY_STATUS(steps.check("self check", check_capabilities(kept_capabilities(plan))));
  return steps.check("syscall filter", seal_guest({plan.may_nest, plan.may_ptrace}));
}

Status hide_guest_init() {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return errno_error("PR_SET_DUMPABLE");
  return {};
}

}  // namespace cordon
