#include "netstack/host/socket_options.h"

#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

namespace cordon {
namespace {

// Room for a burst between two turns of the loop. The kernel cuts it to net.core.rmem_max.
constexpr int kDatagramReceiveBuffer = 4 * 1024 * 1024;
// Keep-alive probes after the idle time, and how many go unanswered before the peer counts as dead:
// the kernel's own defaults (tcp(7)).
constexpr int kKeepAliveInterval = 75;
constexpr int kKeepAliveProbes = 9;

// Room for what the guest sends between two turns of the loop, wanted before the window is chosen.
// Only on its side, where the path has no length: what is set is never adapted (tcp_rmem, tcp(7)),
// and towards the host's network the kernel alone knows how much is on its way.
constexpr int kGuestStreamReceiveBuffer = 2 * 1024 * 1024;

}  // namespace

bool set_option(int descriptor, int level, int name, int value) {
  // syscalls: setsockopt
  return setsockopt(descriptor, level, name, &value, sizeof(value)) == 0;
}

void set_reset_on_close(int descriptor, bool is_on) {
  const linger value{.l_onoff = is_on ? 1 : 0, .l_linger = 0};
  // syscalls: setsockopt(SOL_SOCKET, SO_LINGER)
  (void)setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &value, sizeof(value));
}

void close_in_good_order(UniqueFd socket) { set_reset_on_close(socket.get(), false); }

void preset_stream(int descriptor) {
  set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
  set_reset_on_close(descriptor, true);
}

void preset_guest_stream(int descriptor) {
  preset_stream(descriptor);
  set_option(descriptor, SOL_SOCKET, SO_RCVBUF, kGuestStreamReceiveBuffer);
}

void set_keep_alive(int descriptor, Duration silence) {
  using std::chrono::duration_cast;
  using std::chrono::seconds;
  set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE,
             static_cast<int>(duration_cast<seconds>(silence).count()));
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveInterval);
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPCNT, kKeepAliveProbes);
}

void preset_datagram(int descriptor, Family family, DatagramUse use) {
  if (family == Family::kIpv4) {
    set_option(descriptor, IPPROTO_IP, IP_RECVERR, 1);
  } else {
    set_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    set_option(descriptor, IPPROTO_IPV6, IPV6_RECVERR, 1);
  }
  if (use == DatagramUse::kQuery) return;
  set_option(descriptor, SOL_SOCKET, SO_RCVBUF, kDatagramReceiveBuffer);
  if (use == DatagramUse::kFlow) set_option(descriptor, IPPROTO_UDP, UDP_GRO, 1);
}

IoStatus connect_result(int descriptor, const Readiness& readiness) {
  // A socket on its way is ready for nothing (tcp_poll()); one that failed is readable, too.
  if (readiness.is_writable && !readiness.is_readable && !readiness.has_error) return {};
  int error = 0;
  socklen_t size = sizeof(error);
  // syscalls: getsockopt(SOL_SOCKET, SO_ERROR)
  if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return std::unexpected(Errno{error});
  // No error may also mean: not decided yet. Only a connected socket has a peer.
  sockaddr_in6 peer{};
  size = sizeof(peer);
  // syscalls: getpeername
  if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &size) == 0) return {};
  return std::unexpected(Errno{errno == ENOTCONN ? EINPROGRESS : errno});
}

}  // namespace cordon
