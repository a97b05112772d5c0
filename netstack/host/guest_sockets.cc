#include "netstack/host/guest_sockets.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "netstack/host/socket_address.h"
#include "netstack/host/socket_options.h"

namespace cordon {
namespace {

// The option kinds of RFC 9293, 7323 and 2018, by which TCP_REPAIR_OPTIONS names them.
constexpr std::uint32_t kOptionMss = 2;
constexpr std::uint32_t kOptionWindowScale = 3;
constexpr std::uint32_t kOptionSackPermitted = 4;
constexpr std::uint32_t kOptionTimestamps = 8;

IoStatus bind_and_connect(int descriptor, const Endpoint& local, const Endpoint& peer,
                          std::uint32_t zone) {
  const SocketAddress from(local, zone);
  const SocketAddress to(peer, zone);
  // syscalls: bind connect
  if (bind(descriptor, from.get(), from.size()) != 0) return std::unexpected(Errno{errno});
  if (connect(descriptor, to.get(), to.size()) != 0 && errno != EINPROGRESS) {
    return std::unexpected(Errno{errno});
  }
  return {};
}

bool set_queue_sequence(int descriptor, Seq seq) {
  const std::uint32_t value = seq.get();
  // syscalls: setsockopt(SOL_TCP, TCP_QUEUE_SEQ)
  return setsockopt(descriptor, IPPROTO_TCP, TCP_QUEUE_SEQ, &value, sizeof(value)) == 0;
}

bool repair_options(int descriptor, const Adoption& adoption) {
  std::array<tcp_repair_opt, 4> options{};
  std::size_t count = 0;
  options[count++] = {kOptionMss, adoption.mss};
  if (adoption.offered.window_scale) {
    options[count++] = {kOptionWindowScale, *adoption.offered.window_scale |
                                                (std::uint32_t{adoption.our_window_scale} << 16)};
  }
  if (adoption.offered.has_sack_permitted) {
    options[count++] = {kOptionSackPermitted, 0};
  }
  if (adoption.offered.timestamps) options[count++] = {kOptionTimestamps, 0};
  // syscalls: setsockopt(SOL_TCP, TCP_REPAIR_OPTIONS)
  return setsockopt(descriptor, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options.data(),
                    static_cast<socklen_t>(count * sizeof(tcp_repair_opt))) == 0;
}

bool repair_window(int descriptor, const Adoption& adoption) {
  const tcp_repair_window window{.snd_wl1 = adoption.irs.get(),
                                 .snd_wnd = adoption.send_window,
                                 .max_window = adoption.send_window,
                                 .rcv_wnd = adoption.receive_window,
                                 .rcv_wup = adoption.irs.plus(1).get()};
  // syscalls: setsockopt(SOL_TCP, TCP_REPAIR_WINDOW)
  return setsockopt(descriptor, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, sizeof(window)) == 0;
}

// The preset has selected the send queue. Sequence numbers can be set only before the connect.
IoStatus repair(int descriptor, const Adoption& adoption) {
  const bool has_sequences =
      set_queue_sequence(descriptor, adoption.iss.plus(1)) &&
      set_option(descriptor, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE) &&
      set_queue_sequence(descriptor, adoption.irs.plus(1));
  if (!has_sequences) return std::unexpected(Errno{errno});
  const IoStatus connected = bind_and_connect(descriptor, adoption.remote, adoption.guest, 0);
  if (!connected) return connected;
  if (!repair_options(descriptor, adoption) || !repair_window(descriptor, adoption) ||
      !set_option(descriptor, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP) ||
      // Leaving repair mode forgets it. A server inside may want the port that the remote end has.
      !set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)) {
    return std::unexpected(Errno{errno});
  }
  return {};
}

}  // namespace

IoResult<SocketHandle> KernelGuestSockets::adopt(const Adoption& adoption) {
  IoResult<UniqueFd> socket = pool_.take(
      adoption.guest.address.is_v4() ? GuestSocketKind::kAdoptV4 : GuestSocketKind::kAdoptV6);
  if (!socket) return std::unexpected(socket.error());
  if (const IoStatus repaired = repair(socket->get(), adoption); !repaired) {
    return std::unexpected(repaired.error());
  }
  return SocketHandle{socket->release()};
}

IoStatus KernelGuestSockets::own(SocketHandle socket, SocketOwner owner) {
  return loop_.watch_edges(socket.descriptor, owner);
}

IoResult<SocketHandle> KernelGuestSockets::dial(const Endpoint& client, const Endpoint& guest,
                                                SocketOwner owner) {
  IoResult<UniqueFd> socket =
      pool_.take(guest.address.is_v4() ? GuestSocketKind::kDialV4 : GuestSocketKind::kDialV6);
  if (!socket) return std::unexpected(socket.error());
  const IoStatus dialled = bind_and_connect(socket->get(), client, guest, link_index_);
  if (!dialled) {
    // Either call can find the four-tuple taken.
    const int error = dialled.error().value;
    return std::unexpected(Errno{error == EADDRINUSE ? EADDRNOTAVAIL : error});
  }
  if (const IoStatus watched = loop_.watch_edges(socket->get(), owner); !watched) {
    return std::unexpected(watched.error());
  }
  return SocketHandle{socket->release()};
}

IoStatus KernelGuestSockets::dial_result(SocketHandle socket, const Readiness& readiness) {
  return connect_result(socket.descriptor, readiness);
}

std::uint32_t KernelGuestSockets::timestamp_now() {
  // tcp_clock_ms(): what an adopted socket without an offset of its own stamps its segments with.
  const auto now = monotonic_now().time_since_epoch();
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

}  // namespace cordon
