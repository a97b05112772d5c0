// The translator's syscall filter, call by call: what must end in SIGSYS, and what must pass. Each
// call runs in a child of its own that has nothing of the sandbox but the filter.

#include <asm/unistd.h>
#include <fcntl.h>
#include <functional>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <set>
#include <signal.h>
#include <string>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "sandbox/capabilities.h"
#include "sandbox/translator_syscalls.h"

namespace cordon {
namespace {

struct Call {
  std::string name;
  std::function<void()> attempt;
};

std::function<void()> plain(long number, unsigned long first = 0, unsigned long second = 0,
                            unsigned long third = 0, unsigned long fourth = 0) {
  return [=] { syscall(number, first, second, third, fourth, 0UL, 0UL); };
}

// What the child came to: 0, or the signal that ended it.
int end_of(const std::function<void()>& attempt) {
  const pid_t child = fork();
  if (child == 0) {
    if (!set_no_new_privileges() || !seal_translator(FilterMode::kKill)) _exit(2);
    attempt();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return WTERMSIG(status);
  return WEXITSTATUS(status) == 0 ? 0 : -1;
}

std::vector<Call> forbidden_calls() {
  return {
      {"open", plain(__NR_open)},
      {"openat", plain(__NR_openat)},
      {"openat2", plain(__NR_openat2)},
      {"creat", plain(__NR_creat)},
      {"stat", plain(__NR_stat)},
      {"readlink", plain(__NR_readlink)},
      {"getdents64", plain(__NR_getdents64)},
      {"unlink", plain(__NR_unlink)},
      {"rename", plain(__NR_rename)},
      {"mkdir", plain(__NR_mkdir)},
      {"chmod", plain(__NR_chmod)},
      {"chdir", plain(__NR_chdir)},
      {"execve", plain(__NR_execve)},
      {"execveat", plain(__NR_execveat)},
      {"fork", plain(__NR_fork)},
      {"vfork", plain(__NR_vfork)},
      {"clone", plain(__NR_clone, SIGCHLD)},
      {"clone3", plain(__NR_clone3)},
      {"ptrace", plain(__NR_ptrace)},
      {"kill", plain(__NR_kill, 1, 0)},
      {"tgkill with another signal", plain(__NR_tgkill, 1, 1, SIGTERM)},
      {"pidfd_open", plain(__NR_pidfd_open)},
      {"pidfd_send_signal", plain(__NR_pidfd_send_signal)},
      {"process_vm_readv", plain(__NR_process_vm_readv)},
      {"process_vm_writev", plain(__NR_process_vm_writev)},
      {"setns", plain(__NR_setns)},
      {"unshare", plain(__NR_unshare)},
      {"mount", plain(__NR_mount)},
      {"umount2", plain(__NR_umount2)},
      {"pivot_root", plain(__NR_pivot_root)},
      {"chroot", plain(__NR_chroot)},
      {"setuid", plain(__NR_setuid)},
      {"setgroups", plain(__NR_setgroups)},
      {"capset", plain(__NR_capset)},
      {"prctl", plain(__NR_prctl)},
      {"seccomp", plain(__NR_seccomp)},
      {"bpf", plain(__NR_bpf)},
      {"perf_event_open", plain(__NR_perf_event_open)},
      {"io_uring_setup", plain(__NR_io_uring_setup)},
      {"userfaultfd", plain(__NR_userfaultfd)},
      {"keyctl", plain(__NR_keyctl)},
      {"memfd_create", plain(__NR_memfd_create)},
      {"ioctl", plain(__NR_ioctl)},
      {"fcntl", plain(__NR_fcntl, 0, F_SETFL)},
      {"dup", plain(__NR_dup)},
      {"dup2", plain(__NR_dup2)},
      {"socketpair", plain(__NR_socketpair, AF_UNIX, SOCK_STREAM)},
      {"listen", plain(__NR_listen)},
      {"accept4 without its flags", plain(__NR_accept4, 0, 0, 0, 0)},
      {"socket unix", plain(__NR_socket, AF_UNIX, SOCK_STREAM)},
      {"socket netlink", plain(__NR_socket, AF_NETLINK, SOCK_RAW)},
      {"socket packet", plain(__NR_socket, AF_PACKET, SOCK_RAW)},
      {"socket vsock", plain(__NR_socket, AF_VSOCK, SOCK_STREAM)},
      {"socket raw", plain(__NR_socket, AF_INET, SOCK_RAW, IPPROTO_ICMP)},
      {"socket SCTP", plain(__NR_socket, AF_INET, SOCK_STREAM, IPPROTO_SCTP)},
      {"socket UDP-Lite", plain(__NR_socket, AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE)},
      {"SO_BINDTODEVICE", plain(__NR_setsockopt, 0, SOL_SOCKET, SO_BINDTODEVICE)},
      {"SO_ATTACH_FILTER", plain(__NR_setsockopt, 0, SOL_SOCKET, SO_ATTACH_FILTER)},
      {"IP_HDRINCL", plain(__NR_setsockopt, 0, SOL_IP, IP_HDRINCL)},
      {"IP_OPTIONS", plain(__NR_setsockopt, 0, SOL_IP, IP_OPTIONS)},
      {"TCP_ULP", plain(__NR_setsockopt, 0, SOL_TCP, TCP_ULP)},
      {"getsockopt SO_PEERCRED", plain(__NR_getsockopt, 0, SOL_SOCKET, SO_PEERCRED)},
      {"mmap executable",
       plain(__NR_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS)},
      {"mprotect executable", plain(__NR_mprotect, 0, 4096, PROT_EXEC)},
      {"x32 numbering", plain(0x40000000 | __NR_getpid)},
  };
}

std::vector<Call> permitted_calls() {
  return {
      {"epoll_wait", plain(__NR_epoll_wait, ~0UL)},
      {"epoll_ctl", plain(__NR_epoll_ctl, ~0UL)},
      {"clock_gettime", plain(__NR_clock_gettime, CLOCK_MONOTONIC)},
      {"read", plain(__NR_read, ~0UL)},
      {"readv", plain(__NR_readv, ~0UL)},
      {"write", plain(__NR_write, ~0UL)},
      {"writev", plain(__NR_writev, ~0UL)},
      {"recvfrom", plain(__NR_recvfrom, ~0UL)},
      {"recvmsg", plain(__NR_recvmsg, ~0UL)},
      {"sendto", plain(__NR_sendto, ~0UL)},
      {"sendmsg", plain(__NR_sendmsg, ~0UL)},
      {"splice", plain(__NR_splice, ~0UL)},
      {"pipe2", plain(__NR_pipe2)},
      {"close", plain(__NR_close, ~0UL)},
      {"socket TCP", plain(__NR_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)},
      {"socket TCP v6", plain(__NR_socket, AF_INET6, SOCK_STREAM)},
      {"socket UDP", plain(__NR_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP)},
      {"socket UDP v6", plain(__NR_socket, AF_INET6, SOCK_DGRAM)},
      {"socket ping", plain(__NR_socket, AF_INET, SOCK_DGRAM, IPPROTO_ICMP)},
      {"socket ping v6", plain(__NR_socket, AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6)},
      {"bind", plain(__NR_bind, ~0UL)},
      {"connect", plain(__NR_connect, ~0UL)},
      {"accept4", plain(__NR_accept4, ~0UL, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC)},
      {"shutdown", plain(__NR_shutdown, ~0UL)},
      {"getsockname", plain(__NR_getsockname, ~0UL)},
      {"getpeername", plain(__NR_getpeername, ~0UL)},
      {"TCP_REPAIR", plain(__NR_setsockopt, ~0UL, SOL_TCP, TCP_REPAIR)},
      {"SO_LINGER", plain(__NR_setsockopt, ~0UL, SOL_SOCKET, SO_LINGER)},
      {"SO_ERROR", plain(__NR_getsockopt, ~0UL, SOL_SOCKET, SO_ERROR)},
      {"mmap", plain(__NR_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)},
      {"brk", plain(__NR_brk)},
      {"getrandom", plain(__NR_getrandom)},
      {"a megabyte", [] { std::vector<char>(1 << 20, 'x').swap(*new std::vector<char>); }},
  };
}

TEST(TranslatorFilter, ForbiddenCallsEndTheProcess) {
  for (const Call& call : forbidden_calls()) {
    EXPECT_EQ(end_of(call.attempt), SIGSYS) << call.name;
  }
}

TEST(TranslatorFilter, CallsOfTheTablePass) {
  for (const Call& call : permitted_calls()) EXPECT_EQ(end_of(call.attempt), 0) << call.name;
}

TEST(TranslatorFilter, HoldsTheOtherThreadToo) {
  const pid_t child = fork();
  if (child == 0) {
    std::thread other([] {
      for (;;) syscall(__NR_getppid);
    });
    if (!set_no_new_privileges() || !seal_translator(FilterMode::kKill)) _exit(2);
    other.join();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGSYS);
}

TEST(TranslatorFilter, ExplainsWhereAskedTo) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    if (!set_no_new_privileges() || !seal_translator(FilterMode::kExplain)) _exit(2);
    syscall(__NR_getppid);
    _exit(0);
  }
  close(ends[1]);
  char words[64] = {};
  EXPECT_GT(read(ends[0], words, sizeof(words) - 1), 0);
  EXPECT_EQ(std::string(words), "refused system call " + std::to_string(__NR_getppid) + "\n");
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 128 + SIGSYS);
  close(ends[0]);
}

TEST(TranslatorSyscalls, EveryEntrySaysWhy) {
  for (const PermittedCall& call : permitted_translator_calls()) {
    EXPECT_STRNE(call.name, "");
    EXPECT_STRNE(call.reason, "") << call.name;
    EXPECT_LE(call.rule_count, 3U) << call.name;
  }
}

}  // namespace
}  // namespace cordon
