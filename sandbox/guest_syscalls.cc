#include "sandbox/guest_syscalls.h"

#include <array>
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
    SCMP_SYS(syslog), SCMP_SYS(uselib), SCMP_SYS(acct), SCMP_SYS(quotactl), SCMP_SYS(quotactl_fd),
    SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(reboot), SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime), SCMP_SYS(clock_adjtime), SCMP_SYS(adjtimex), SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load), SCMP_SYS(init_module), SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    // keyrings are not namespaced by what we make
    SCMP_SYS(add_key), SCMP_SYS(keyctl), SCMP_SYS(request_key),
    // memory placement, modify_ldt: flatpak's list
    SCMP_SYS(move_pages), SCMP_SYS(mbind), SCMP_SYS(get_mempolicy), SCMP_SYS(set_mempolicy),
    SCMP_SYS(migrate_pages), SCMP_SYS(modify_ldt),
    // large attack surface
    SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(fanotify_init),
    SCMP_SYS(open_by_handle_at),
    // other processes' memory and descriptors
    SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(pidfd_getfd)};

constexpr std::array kRefusedUnlessNested{SCMP_SYS(unshare),    SCMP_SYS(setns),
                                          SCMP_SYS(mount),      SCMP_SYS(umount2),
                                          SCMP_SYS(pivot_root), SCMP_SYS(chroot)};

// The new mount API and clone3, whose flags a filter cannot see: programs fall back to the old
// calls.
constexpr std::array kUnknownUnlessNested{
    SCMP_SYS(open_tree), SCMP_SYS(move_mount), SCMP_SYS(fsopen),       SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount),   SCMP_SYS(fspick),     SCMP_SYS(mount_setattr)};

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
  CORDON_TRY_STATUS(filter.add(FilterAction::refuse(ENOSYS), SCMP_SYS(clone3)));
  for (const std::uint64_t flag : kNamespaceFlags) {
    const std::array rules{ArgumentRule{0, flag, flag}};
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(EPERM), SCMP_SYS(clone), rules));
  }
  return {};
}

// Characters put into the terminal's input are run by the shell outside (CVE-2017-5226). The kernel
// looks at 32 bits of the request, so no more are compared (CVE-2023-28100).
Status refuse_typing(SeccompFilter& filter) {
  for (const std::uint64_t request : {std::uint64_t{TIOCSTI}, std::uint64_t{TIOCLINUX}}) {
    const std::array rules{ArgumentRule{1, kIntArgument, request}};
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(EPERM), SCMP_SYS(ioctl), rules));
  }
  return {};
}

Status refuse_families(SeccompFilter& filter) {
  for (int family = 0; family < kFamilyCeiling; ++family) {
    if (is_permitted_family(family)) continue;
    const std::array rules{ArgumentRule{0, kIntArgument, static_cast<std::uint64_t>(family)}};
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(EAFNOSUPPORT), SCMP_SYS(socket), rules));
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(EAFNOSUPPORT), SCMP_SYS(socketpair), rules));
  }
  // Of netlink only routing and socket diagnosis (ss, netstat): both show the guest its own network
  // namespace and change nothing without a capability there.
  for (int protocol = NETLINK_ROUTE + 1; protocol < MAX_LINKS; ++protocol) {
    if (protocol == NETLINK_SOCK_DIAG) continue;
    const std::array rules{ArgumentRule{0, kIntArgument, AF_NETLINK},
                           ArgumentRule{2, kIntArgument, static_cast<std::uint64_t>(protocol)}};
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(EAFNOSUPPORT), SCMP_SYS(socket), rules));
  }
  return {};
}

// Every personality but the default one: 0, and 0xffffffff which only asks.
Status refuse_personalities(SeccompFilter& filter) {
  for (unsigned bit = 0; bit < 31; ++bit) {
    const std::uint64_t flag = std::uint64_t{1} << bit;
    // Bit 31 tells the question from the others.
    const std::array rules{ArgumentRule{0, flag | 0x80000000, flag}};
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(EPERM), SCMP_SYS(personality), rules));
  }
  return {};
}

}  // namespace

Status seal_guest(const GuestFilterPlan& plan) {
  CORDON_TRY(SeccompFilter filter, SeccompFilter::create(FilterAction::allow()));
  CORDON_TRY_STATUS(refuse_all(filter, kRefused, EPERM));
  if (!plan.may_nest) CORDON_TRY_STATUS(refuse_namespaces(filter));
  if (!plan.may_ptrace) {
    CORDON_TRY_STATUS(filter.add(FilterAction::refuse(EPERM), SCMP_SYS(ptrace)));
  }
  CORDON_TRY_STATUS(refuse_typing(filter));
  CORDON_TRY_STATUS(refuse_families(filter));
  CORDON_TRY_STATUS(refuse_personalities(filter));
  return filter.load();
}

}  // namespace cordon
