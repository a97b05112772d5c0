#include "sandbox/guest_syscalls.h"

#include <array>
#include <asm/unistd.h>
#include <cerrno>
#include <cstdint>
#include <linux/netlink.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

#include <seccomp.h>

#include "sandbox/seccomp_filter.h"

namespace cordon {
namespace {

// Kernel interfaces that no program needs to use the network, and that have been ways out.
constexpr std::array kRefused{
    // kernel log, accounting, quotas, swap, reboot, clock: not an ordinary user's business
    __NR_syslog, __NR_uselib, __NR_acct, __NR_quotactl, __NR_quotactl_fd, __NR_swapon, __NR_swapoff,
    __NR_reboot, __NR_settimeofday, __NR_clock_settime, __NR_clock_adjtime, __NR_adjtimex,
    __NR_kexec_load, __NR_kexec_file_load, __NR_init_module, __NR_finit_module, __NR_delete_module,
    // keyrings are not namespaced by what we make
    __NR_add_key, __NR_keyctl, __NR_request_key,
    // memory placement, modify_ldt: flatpak's list
    __NR_move_pages, __NR_mbind, __NR_get_mempolicy, __NR_set_mempolicy, __NR_migrate_pages,
    __NR_modify_ldt,
    // large attack surface
    __NR_bpf, __NR_perf_event_open, __NR_userfaultfd, __NR_io_uring_setup, __NR_io_uring_enter,
    __NR_io_uring_register, __NR_fanotify_init, __NR_open_by_handle_at,
    // other processes' memory and descriptors
    __NR_process_vm_readv, __NR_process_vm_writev, __NR_pidfd_getfd};

constexpr std::array kRefusedUnlessNested{__NR_unshare, __NR_setns,      __NR_mount,
                                          __NR_umount2, __NR_pivot_root, __NR_chroot};

// The new mount API and clone3, whose flags a filter cannot see: programs fall back to the old
// calls.
constexpr std::array kUnknownUnlessNested{__NR_open_tree,    __NR_move_mount, __NR_fsopen,
                                          __NR_fsconfig,     __NR_fsmount,    __NR_fspick,
                                          __NR_mount_setattr};

constexpr std::array<std::uint64_t, 7> kNamespaceFlags{CLONE_NEWUSER,  CLONE_NEWNS,  CLONE_NEWPID,
                                                       CLONE_NEWNET,   CLONE_NEWIPC, CLONE_NEWUTS,
                                                       CLONE_NEWCGROUP};

// UNSPEC, UNIX, INET, INET6 and NETLINK stay. A rule per family that goes: libseccomp has no "not
// in".
constexpr int kFamilyCeiling = 64;
bool is_permitted_family(int family) {
  return family == AF_UNSPEC || family == AF_UNIX || family == AF_INET || family == AF_INET6 ||
         family == AF_NETLINK;
}

template <class Numbers>
Status refuse_all(SeccompFilter& filter, const Numbers& numbers, int code) {
  for (const int number : numbers) {
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(code), number));
  }
  return {};
}

Status refuse_namespaces(SeccompFilter& filter) {
  CORDON_TRY_STATUS(refuse_all(filter, kRefusedUnlessNested, EPERM));
  CORDON_TRY_STATUS(refuse_all(filter, kUnknownUnlessNested, ENOSYS));
  CORDON_TRY_STATUS(filter.add(FilterAction::refuse(ENOSYS), __NR_clone3));
  for (const std::uint64_t flag : kNamespaceFlags) {
    const std::array rules{ArgumentRule{0, flag, flag}};
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(EPERM), __NR_clone, rules));
  }
  return {};
}

// Characters put into the terminal's input are run by the shell outside (CVE-2017-5226). The kernel
// looks at 32 bits of the request, so no more are compared (CVE-2023-28100).
Status refuse_typing(SeccompFilter& filter) {
  for (const std::uint64_t request : {std::uint64_t{TIOCSTI}, std::uint64_t{TIOCLINUX}}) {
    const std::array rules{ArgumentRule{1, kIntArgument, request}};
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(EPERM), __NR_ioctl, rules));
  }
  return {};
}

Status refuse_families(SeccompFilter& filter) {
  for (int family = 0; family < kFamilyCeiling; ++family) {
    if (is_permitted_family(family)) continue;
    const std::array rules{ArgumentRule{0, kIntArgument, static_cast<std::uint64_t>(family)}};
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(EAFNOSUPPORT), __NR_socket, rules));
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(EAFNOSUPPORT), __NR_socketpair, rules));
  }
  // Of netlink only routing and socket diagnosis (ss, netstat): both show the guest its own network
  // namespace and change nothing without a capability there.
  for (int protocol = NETLINK_ROUTE + 1; protocol < MAX_LINKS; ++protocol) {
    if (protocol == NETLINK_SOCK_DIAG) continue;
    const std::array rules{ArgumentRule{0, kIntArgument, AF_NETLINK},
                           ArgumentRule{2, kIntArgument, static_cast<std::uint64_t>(protocol)}};
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(EAFNOSUPPORT), __NR_socket, rules));
  }
  return {};
}

// Every personality but the default one: 0, and 0xffffffff which only asks.
Status refuse_personalities(SeccompFilter& filter) {
  for (unsigned bit = 0; bit < 31; ++bit) {
    const std::uint64_t flag = std::uint64_t{1} << bit;
    // Bit 31 tells the question from the others.
    const std::array rules{ArgumentRule{0, flag | 0x80000000, flag}};
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(EPERM), __NR_personality, rules));
  }
  return {};
}

}  // namespace

Status seal_guest(const GuestFilterPlan& plan) {
  CORDON_TRY(SeccompFilter filter, SeccompFilter::create(FilterAction::allow()));
  CORDON_TRY_STATUS(refuse_all(filter, kRefused, EPERM));
  if (!plan.may_nest) CORDON_TRY_STATUS(refuse_namespaces(filter));
  if (!plan.may_ptrace) {
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(EPERM), __NR_ptrace));
  }
  CORDON_TRY_STATUS(refuse_typing(filter));
  CORDON_TRY_STATUS(refuse_families(filter));
  CORDON_TRY_STATUS(refuse_personalities(filter));
  return filter.load();
}

}  // namespace cordon
