#include "sandbox/translator_syscalls.h"

#include <array>
#include <cstddef>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/icmp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <seccomp.h>

#include "sandbox/seccomp_filter.h"

namespace cordon {
namespace {

constexpr std::uint64_t kFutexOperation = 0x7f;
constexpr std::uint64_t kSocketType = kIntArgument & ~std::uint64_t{SOCK_NONBLOCK | SOCK_CLOEXEC};

constexpr PermittedCall call(int number, const char* name, const char* reason) {
  return {.number = number, .name = name, .reason = reason};
}

constexpr PermittedCall with_rule(int number, const char* name, const char* reason,
                                  ArgumentRule rule) {
  return {.number = number, .name = name, .reason = reason, .rule_count = 1, .rules = {rule}};
}

constexpr PermittedCall make_socket(std::uint64_t domain, std::uint64_t type,
                                    std::uint64_t protocol, const char* reason) {
  return {
      .number = SCMP_SYS(socket),
      .name = "socket",
      .reason = reason,
      .rule_count = 3,
      .rules = {{0, kIntArgument, domain}, {1, kSocketType, type}, {2, kIntArgument, protocol}}};
}

constexpr PermittedCall set_option(std::uint64_t level, std::uint64_t option, const char* reason) {
  return {.number = SCMP_SYS(setsockopt),
          .name = "setsockopt",
          .reason = reason,
          .rule_count = 2,
          .rules = {{1, kIntArgument, level}, {2, kIntArgument, option}}};
}

constexpr PermittedCall get_option(std::uint64_t level, std::uint64_t option, const char* reason) {
  return {.number = SCMP_SYS(getsockopt),
          .name = "getsockopt",
          .reason = reason,
          .rule_count = 2,
          .rules = {{1, kIntArgument, level}, {2, kIntArgument, option}}};
}

// Not in the headers of every system that builds this.
constexpr std::uint64_t kTcpRepairWindow = 29;
constexpr std::uint64_t kUdpGro = 104;

constexpr PermittedCall kPermittedCalls[] = {
    // The event loop.
    call(SCMP_SYS(epoll_wait), "epoll_wait", "the one place that waits"),
    call(SCMP_SYS(epoll_pwait), "epoll_pwait", "what some C libraries make of epoll_wait"),
    call(SCMP_SYS(epoll_ctl), "epoll_ctl", "a new socket is watched"),
    call(SCMP_SYS(clock_gettime), "clock_gettime",
         "the clock of one turn, where the vDSO has none"),

    // Octets.
    call(SCMP_SYS(read), "read", "tap, eventfd, pool pipes"),
    call(SCMP_SYS(readv), "readv", "tap, header and frame apart"),
    call(SCMP_SYS(write), "write", "tap, eventfd, pool pipes"),
    call(SCMP_SYS(writev), "writev", "tap, header and frame apart"),
    call(SCMP_SYS(recvfrom), "recvfrom", "sockets, control channel"),
    call(SCMP_SYS(recvmsg), "recvmsg", "error queues, source addresses"),
    call(SCMP_SYS(recvmmsg), "recvmmsg", "datagrams, as many as wait"),
    call(SCMP_SYS(sendto), "sendto", "sockets, control channel, FIB questions"),
    call(SCMP_SYS(sendmsg), "sendmsg", "datagrams with a source address or a segment size"),
    call(SCMP_SYS(splice), "splice", "streams from socket to socket"),
    call(SCMP_SYS(pipe2), "pipe2", "what splice goes through"),
    with_rule(SCMP_SYS(fcntl), "fcntl", "the size of that pipe", {1, kIntArgument, F_SETPIPE_SZ}),
    call(SCMP_SYS(close), "close", "a flow has ended"),

    // Sockets: INET and INET6 only, streams, datagrams, pings. Never raw, never unix.
    make_socket(AF_INET, SOCK_STREAM, 0, "TCP"),
    make_socket(AF_INET, SOCK_STREAM, IPPROTO_TCP, "TCP"),
    make_socket(AF_INET6, SOCK_STREAM, 0, "TCP"),
    make_socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP, "TCP"),
    make_socket(AF_INET, SOCK_DGRAM, 0, "UDP"),
    make_socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP, "UDP"),
    make_socket(AF_INET6, SOCK_DGRAM, 0, "UDP"),
    make_socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP, "UDP"),
    make_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP, "ping"),
    make_socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6, "ping"),
    call(SCMP_SYS(bind), "bind",
         "remote address of an adopted socket, client address of an inbound one"),
    call(SCMP_SYS(connect), "connect", "dialling; adoption"),
    with_rule(SCMP_SYS(accept4), "accept4", "published ports",
              {3, kIntArgument, SOCK_NONBLOCK | SOCK_CLOEXEC}),
    call(SCMP_SYS(shutdown), "shutdown", "one half of a stream has ended"),
    call(SCMP_SYS(getsockname), "getsockname", "the local address of a dialled socket"),
    call(SCMP_SYS(getpeername), "getpeername", "the peer of an accepted one"),

    set_option(SOL_SOCKET, SO_LINGER, "an abrupt end reads as a reset"),
    set_option(SOL_SOCKET, SO_RCVBUF, "streams of high bandwidth"),
    set_option(SOL_SOCKET, SO_KEEPALIVE, "a peer that vanished"),
    set_option(SOL_SOCKET, SO_MARK, "inbound streams reach listeners on any address"),
    set_option(SOL_SOCKET, SO_REUSEADDR, "many streams from one client address"),
    set_option(SOL_TCP, TCP_NODELAY, "segments go on as they come"),
    set_option(SOL_TCP, TCP_REPAIR, "adoption"),
    set_option(SOL_TCP, TCP_REPAIR_QUEUE, "adoption"),
    set_option(SOL_TCP, TCP_QUEUE_SEQ, "adoption"),
    set_option(SOL_TCP, TCP_REPAIR_OPTIONS, "adoption"),
    set_option(SOL_TCP, kTcpRepairWindow, "adoption"),
    set_option(SOL_TCP, TCP_KEEPIDLE, "keep-alive towards the host's side"),
    set_option(SOL_TCP, TCP_KEEPINTVL, "keep-alive towards the host's side"),
    set_option(SOL_TCP, TCP_KEEPCNT, "keep-alive towards the host's side"),
    set_option(SOL_IP, IP_TRANSPARENT, "a socket bound to an address that is not ours"),
    set_option(SOL_IP, IP_RECVERR, "ICMP errors of the host come back to the guest"),
    set_option(SOL_IP, IP_MTU_DISCOVER, "don't-fragment as the guest set it"),
    set_option(SOL_IPV6, IPV6_TRANSPARENT, "a socket bound to an address that is not ours"),
    set_option(SOL_IPV6, IPV6_RECVERR, "ICMPv6 errors of the host come back to the guest"),
    set_option(SOL_IPV6, IPV6_MTU_DISCOVER, "too-big is told, not cut"),
    set_option(SOL_IPV6, IPV6_V6ONLY, "families are never mixed"),
    set_option(SOL_UDP, kUdpGro, "datagrams in batches"),
    get_option(SOL_SOCKET, SO_ERROR, "what came of a connect"),

    // Memory, without a page that could be executed.
    with_rule(SCMP_SYS(mmap), "mmap", "allocation", {2, PROT_EXEC, 0}),
    with_rule(SCMP_SYS(mprotect), "mprotect", "allocation", {2, PROT_EXEC, 0}),
    call(SCMP_SYS(mremap), "mremap", "allocation"),
    call(SCMP_SYS(munmap), "munmap", "allocation"),
    call(SCMP_SYS(madvise), "madvise", "allocation"),
    call(SCMP_SYS(brk), "brk", "allocation"),
    call(SCMP_SYS(getrandom), "getrandom", "initial sequence numbers, ports"),

    // Two threads, their end, and what the kernel needs to go on after a signal.
    with_rule(SCMP_SYS(futex), "futex", "one thread waits for the other",
              {1, kFutexOperation, 0 /* FUTEX_WAIT */}),
    with_rule(SCMP_SYS(futex), "futex", "one thread wakes the other",
              {1, kFutexOperation, 1 /* FUTEX_WAKE */}),
    with_rule(SCMP_SYS(futex), "futex", "one thread waits for the other",
              {1, kFutexOperation, 9 /* FUTEX_WAIT_BITSET */}),
    call(SCMP_SYS(sched_yield), "sched_yield", "the C++ library, before a thread waits in earnest"),
    call(SCMP_SYS(rt_sigreturn), "rt_sigreturn", "back from a handler"),
    call(SCMP_SYS(rt_sigprocmask), "rt_sigprocmask",
         "the C library, around a thread's end and abort"),
    call(SCMP_SYS(restart_syscall), "restart_syscall", "the kernel, after SIGSTOP and SIGCONT"),
    call(SCMP_SYS(gettid), "gettid", "the C library, before abort"),
    call(SCMP_SYS(getpid), "getpid", "the C library, before abort"),
    with_rule(SCMP_SYS(tgkill), "tgkill", "abort", {2, kIntArgument, SIGABRT}),
    call(SCMP_SYS(exit), "exit", "the guest side's end"),
    call(SCMP_SYS(exit_group), "exit_group", "the end"),
};

}  // namespace

std::span<const PermittedCall> permitted_translator_calls() { return kPermittedCalls; }

Status seal_translator(FilterMode mode) {
  const FilterAction otherwise =
      mode == FilterMode::kKill ? FilterAction::kill_process() : FilterAction::trap();
  CORDON_TRY(SeccompFilter filter, SeccompFilter::create(otherwise));
  for (const PermittedCall& permitted : permitted_translator_calls()) {
    CORDON_TRY_STATUS(filter.add(FilterAction::allow(), permitted.number,
                                 std::span(permitted.rules).first(permitted.rule_count)));
  }
  if (mode == FilterMode::kExplain) CORDON_TRY_STATUS(explain_refused_calls());
  return filter.load_on_all_threads();
}

}  // namespace cordon
