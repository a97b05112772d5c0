// Runs as the guest's command and tries what a guest must not be able to do: one call a row, with
// the errno that it must fail with, or 0 where it must go well. A filter that refused everything
// would pass half of such a table, so the other half is what programs need.
//
// Prints every row that came out otherwise, and the number of rows; ends with 0 if all were as
// expected.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/securebits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string>
#include <string_view>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <vector>

namespace {

struct Probe {
  std::string name;
  int expected;  // errno; 0: goes well
  std::function<long()> attempt;
};

std::function<long()> plain(long number, unsigned long first = 0, unsigned long second = 0,
                            unsigned long third = 0) {
  return [=] { return syscall(number, first, second, third, 0UL, 0UL, 0UL); };
}

std::function<long()> socket_of(int family, int type, int protocol) {
  return [=]() -> long {
    const int fd = socket(family, type, protocol);
    if (fd >= 0) close(fd);
    return fd;
  };
}

std::function<long()> option(int family, int type, int level, int name) {
  return [=]() -> long {
    const int fd = socket(family, type, 0);
    const int one = 1;
    const long outcome = setsockopt(fd, level, name, &one, sizeof(one));
    const int code = errno;
    close(fd);
    errno = code;
    return outcome;
  };
}

std::function<long()> open_for_writing(const char* path) {
  return [=]() -> long { return open(path, O_WRONLY); };
}

long own_namespace_entered() {
  const int fd = open("/proc/self/ns/net", O_RDONLY);
  return fd < 0 ? -1 : setns(fd, CLONE_NEWNET);
}

long clone_with(unsigned long flags) {
  const long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  if (pid > 0) waitpid(static_cast<pid_t>(pid), nullptr, 0);
  return pid;
}

long ambient_capability_raised() {
  return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0);
}

long capability_taken() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[2] = {};
  sets[0].permitted = sets[0].effective = 1U << CAP_NET_ADMIN;
  return syscall(SYS_capset, &header, sets);
}

long tap_joined() {
  const int fd = open("/dev/net/tun", O_RDWR);
  if (fd < 0) return -1;
  ifreq request{};
  std::strcpy(request.ifr_name, "tap7");
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  return ioctl(fd, TUNSETIFF, &request);
}

// RTM_NEWROUTE of nothing in particular: refused before it is read.
long route_added() {
  const int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  struct {
    nlmsghdr header;
    rtmsg route;
  } request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = RTM_NEWROUTE;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
  request.route.rtm_family = AF_INET;
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  sendto(fd, &request, sizeof(request), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof(kernel));
  struct {
    nlmsghdr header;
    nlmsgerr error;
    char rest[512];
  } reply{};
  recv(fd, &reply, sizeof(reply), 0);
  close(fd);
  errno = -reply.error.error;
  return reply.error.error == 0 ? 0 : -1;
}

long low_port_bound() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(80);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const long outcome = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  close(fd);
  return outcome;
}

long thread_started() {
  pthread_t thread{};
  const int code = pthread_create(
      &thread, nullptr, [](void* self) { return self; }, nullptr);
  if (code == 0) pthread_join(thread, nullptr);
  errno = code;
  return code == 0 ? 0 : -1;
}

// The test holds a listener of this name in the host's namespace.
long abstract_socket_reached() {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  constexpr std::string_view kName("\0cordon-isolation-test", 22);
  std::memcpy(address.sun_path, kName.data(), kName.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + kName.size());
  const long outcome = connect(fd, reinterpret_cast<sockaddr*>(&address), length);
  const int code = errno;
  close(fd);
  errno = code;
  return outcome;
}

std::vector<Probe> refused_calls() {
  constexpr unsigned long kHigh = 1UL << 32;
  return {
      {"unshare user", EPERM, plain(SYS_unshare, CLONE_NEWUSER)},
      {"unshare net", EPERM, plain(SYS_unshare, CLONE_NEWNET)},
      {"unshare mount", EPERM, plain(SYS_unshare, CLONE_NEWNS)},
      {"setns own net", EPERM, own_namespace_entered},
      {"clone user", EPERM, [] { return clone_with(CLONE_NEWUSER); }},
      {"clone net", EPERM, [] { return clone_with(CLONE_NEWNET); }},
      {"clone mount", EPERM, [] { return clone_with(CLONE_NEWNS); }},
      {"clone pid", EPERM, [] { return clone_with(CLONE_NEWPID); }},
      {"clone ipc", EPERM, [] { return clone_with(CLONE_NEWIPC); }},
      {"clone uts", EPERM, [] { return clone_with(CLONE_NEWUTS); }},
      {"clone cgroup", EPERM, [] { return clone_with(CLONE_NEWCGROUP); }},
      {"clone3", ENOSYS, plain(SYS_clone3)},
      {"mount", EPERM, [] { return mount("t", "/tmp", "tmpfs", 0, nullptr); }},
      {"umount2", EPERM, [] { return umount2("/proc", MNT_DETACH); }},
      {"pivot_root", EPERM, plain(SYS_pivot_root)},
      {"chroot", EPERM, [] { return chroot("/tmp"); }},
      {"open_tree", ENOSYS, plain(SYS_open_tree)},
      {"move_mount", ENOSYS, plain(SYS_move_mount)},
      {"fsopen", ENOSYS, plain(SYS_fsopen)},
      {"fsconfig", ENOSYS, plain(SYS_fsconfig)},
      {"fsmount", ENOSYS, plain(SYS_fsmount)},
      {"fspick", ENOSYS, plain(SYS_fspick)},
      {"mount_setattr", ENOSYS, plain(SYS_mount_setattr)},
      {"syslog", EPERM, plain(SYS_syslog, 10)},
      {"uselib", EPERM, plain(SYS_uselib)},
      {"acct", EPERM, plain(SYS_acct)},
      {"quotactl", EPERM, plain(SYS_quotactl)},
      {"quotactl_fd", EPERM, plain(SYS_quotactl_fd)},
      {"swapon", EPERM, plain(SYS_swapon)},
      {"swapoff", EPERM, plain(SYS_swapoff)},
      {"reboot", EPERM, plain(SYS_reboot)},
      {"settimeofday", EPERM, plain(SYS_settimeofday)},
      {"clock_settime", EPERM, plain(SYS_clock_settime)},
      {"clock_adjtime", EPERM, plain(SYS_clock_adjtime)},
      {"adjtimex", EPERM, plain(SYS_adjtimex)},
      {"kexec_load", EPERM, plain(SYS_kexec_load)},
      {"kexec_file_load", EPERM, plain(SYS_kexec_file_load)},
      {"init_module", EPERM, plain(SYS_init_module)},
      {"finit_module", EPERM, plain(SYS_finit_module)},
      {"delete_module", EPERM, plain(SYS_delete_module)},
      {"add_key", EPERM, plain(SYS_add_key)},
      {"keyctl", EPERM, plain(SYS_keyctl)},
      {"request_key", EPERM, plain(SYS_request_key)},
      {"move_pages", EPERM, plain(SYS_move_pages)},
      {"mbind", EPERM, plain(SYS_mbind)},
      {"get_mempolicy", EPERM, plain(SYS_get_mempolicy)},
      {"set_mempolicy", EPERM, plain(SYS_set_mempolicy)},
      {"migrate_pages", EPERM, plain(SYS_migrate_pages)},
      {"modify_ldt", EPERM, plain(SYS_modify_ldt)},
      {"bpf", EPERM, plain(SYS_bpf)},
      {"perf_event_open", EPERM, plain(SYS_perf_event_open)},
      {"userfaultfd", EPERM, plain(SYS_userfaultfd)},
      {"io_uring_setup", EPERM, plain(SYS_io_uring_setup, 1)},
      {"io_uring_enter", EPERM, plain(SYS_io_uring_enter)},
      {"io_uring_register", EPERM, plain(SYS_io_uring_register)},
      {"fanotify_init", EPERM, plain(SYS_fanotify_init)},
      {"open_by_handle_at", EPERM, plain(SYS_open_by_handle_at)},
      {"process_vm_readv", EPERM, plain(SYS_process_vm_readv, 1)},
      {"process_vm_writev", EPERM, plain(SYS_process_vm_writev, 1)},
      {"pidfd_getfd", EPERM, plain(SYS_pidfd_getfd)},
      {"ptrace traceme", EPERM, plain(SYS_ptrace, PTRACE_TRACEME)},
      {"ptrace init", EPERM, plain(SYS_ptrace, PTRACE_ATTACH, 1)},
      {"personality", EPERM, plain(SYS_personality, ADDR_NO_RANDOMIZE)},
      {"TIOCSTI", EPERM, plain(SYS_ioctl, 0, TIOCSTI)},
      {"TIOCSTI with bit 32", EPERM, plain(SYS_ioctl, 0, TIOCSTI | kHigh)},
      {"TIOCLINUX", EPERM, plain(SYS_ioctl, 0, TIOCLINUX)},
      {"TIOCLINUX with bit 32", EPERM, plain(SYS_ioctl, 0, TIOCLINUX | kHigh)},
      {"AF_PACKET", EAFNOSUPPORT, socket_of(AF_PACKET, SOCK_RAW, 0)},
      {"AF_VSOCK", EAFNOSUPPORT, socket_of(AF_VSOCK, SOCK_STREAM, 0)},
      {"AF_ALG", EAFNOSUPPORT, socket_of(AF_ALG, SOCK_SEQPACKET, 0)},
      {"AF_KEY", EAFNOSUPPORT, socket_of(AF_KEY, SOCK_RAW, 2)},
      {"AF_BLUETOOTH", EAFNOSUPPORT, socket_of(AF_BLUETOOTH, SOCK_RAW, 0)},
      {"AF_TIPC", EAFNOSUPPORT, socket_of(AF_TIPC, SOCK_RDM, 0)},
      {"AF_RDS", EAFNOSUPPORT, socket_of(AF_RDS, SOCK_SEQPACKET, 0)},
      {"AF_XDP", EAFNOSUPPORT, socket_of(AF_XDP, SOCK_RAW, 0)},
      {"netlink netfilter", EAFNOSUPPORT, socket_of(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER)},
      {"netlink xfrm", EAFNOSUPPORT, socket_of(AF_NETLINK, SOCK_RAW, NETLINK_XFRM)},
      {"netlink generic", EAFNOSUPPORT, socket_of(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC)},
  };
}

// Refused by the absence of capabilities, not by the filter.
std::vector<Probe> powerless_calls() {
  // uid 0 would be let in by the file's mode; the mount stops it.
  const int read_only = geteuid() == 0 ? EROFS : EACCES;
  return {
      {"raw socket", EPERM, socket_of(AF_INET, SOCK_RAW, IPPROTO_ICMP)},
      {"raw socket v6", EPERM, socket_of(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)},
      {"IP_TRANSPARENT", EPERM, option(AF_INET, SOCK_STREAM, SOL_IP, IP_TRANSPARENT)},
      {"TCP_REPAIR", EPERM, option(AF_INET, SOCK_STREAM, SOL_TCP, TCP_REPAIR)},
      {"SO_MARK", EPERM, option(AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_MARK)},
      {"SO_RCVBUFFORCE", EPERM, option(AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_RCVBUFFORCE)},
      {"a tap of its own", EPERM, tap_joined},
      {"a route", EPERM, route_added},
      {"sethostname", EPERM, [] { return sethostname("x", 1); }},
      {"capset", EPERM, capability_taken},
      {"ambient capability", EPERM, ambient_capability_raised},
      {"securebits", EPERM, [] { return prctl(PR_SET_SECUREBITS, 0); }},
      {"setgroups", EPERM, plain(SYS_setgroups)},
      {"mknod", EPERM, [] { return mknod("/tmp/cordon-probe", S_IFCHR | 0600, makedev(1, 3)); }},
      {"namespace limit", EACCES, open_for_writing("/proc/sys/user/max_user_namespaces")},
      {"forwarding", read_only, open_for_writing("/proc/sys/net/ipv4/ip_forward")},
      {"core pattern", read_only, open_for_writing("/proc/sys/kernel/core_pattern")},
      {"memory of init", EACCES, [] { return open("/proc/1/mem", O_RDWR); }},
      {"an abstract socket of the host", ECONNREFUSED, abstract_socket_reached},
  };
}

std::vector<Probe> permitted_calls() {
  return {
      {"TCP", 0, socket_of(AF_INET, SOCK_STREAM, 0)},
      {"TCP v6", 0, socket_of(AF_INET6, SOCK_STREAM, 0)},
      {"MPTCP falls back", 0, socket_of(AF_INET, SOCK_STREAM, IPPROTO_TCP)},
      {"UDP", 0, socket_of(AF_INET, SOCK_DGRAM, 0)},
      {"UDP v6", 0, socket_of(AF_INET6, SOCK_DGRAM, 0)},
      {"unix", 0, socket_of(AF_UNIX, SOCK_STREAM, 0)},
      {"netlink route", 0, socket_of(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)},
      {"netlink sock_diag, for ss", 0, socket_of(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG)},
      {"port 80", 0, low_port_bound},
      {"thread", 0, thread_started},
      {"fork", 0, [] { return clone_with(0); }},
      {"personality asked", 0, plain(SYS_personality, 0xffffffff)},
      {"memory", 0,
       [] {
         void* const page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
         return page == MAP_FAILED ? -1L : 0L;
       }},
      {"own process", 0, [] { return kill(getpid(), 0); }},
  };
}

bool is_as_expected(const Probe& probe) {
  errno = 0;
  const long outcome = probe.attempt();
  const int code = outcome < 0 ? errno : 0;
  if (code == probe.expected) return true;
  std::printf("%s: %s, expected %s\n", probe.name.c_str(), strerrorname_np(code),
              strerrorname_np(probe.expected));
  return false;
}

// A call of a foreign numbering must not come back. SIGSEGV is what a kernel without i386 makes of
// its instruction.
bool kills(const char* name, void (*attempt)()) {
  const pid_t child = fork();
  if (child == 0) {
    attempt();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV))
    return true;
  std::printf("%s: came back\n", name);
  return false;
}

void call_x32() { syscall(0x40000000 | SYS_getpid); }

void call_i386() {
#ifdef __x86_64__
  long number = 20;  // getpid
  asm volatile("int $0x80" : "+a"(number) : : "memory");
#else
  kill(getpid(), SIGSYS);
#endif
}

}  // namespace

int main() {
  int failures = 0;
  std::size_t rows = 0;
  for (const auto& probes : {refused_calls(), powerless_calls(), permitted_calls()}) {
    for (const Probe& probe : probes) failures += is_as_expected(probe) ? 0 : 1;
    rows += probes.size();
  }
  failures += kills("x32", call_x32) ? 0 : 1;
  failures += kills("i386", call_i386) ? 0 : 1;
  std::printf("%zu rows, %d otherwise than expected\n", rows + 2, failures);
  return failures == 0 ? 0 : 1;
}
