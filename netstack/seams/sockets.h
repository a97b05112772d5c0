// Sockets as the core sees them: numbers with an owner. The kernel's side (host/) registers every
// socket with the event loop under its owner, and an event comes back as
// Translator::on_socket(owner, …). The generation in the owner makes an event for a flow that has
// gone harmless.
#pragma once

#include <cstdint>

namespace cordon {

/// A descriptor of the translator. Copies do not own; the flow that holds it closes it by its seam.
struct SocketHandle {
  int descriptor = -1;
  [[nodiscard]] bool is_open() const { return descriptor >= 0; }
  friend bool operator==(SocketHandle, SocketHandle) = default;
};

enum class OwnerKind : std::uint8_t {
  kTcpHost,     // the socket towards the remote
  kTcpAttempt,  // one of several dials of a flow by name, until one of them becomes its kTcpHost
  kTcpGuest,    // the socket in the guest's namespace that stands for the remote
  kUdp,         // an association's host socket
  kEcho,        // a ping socket
  kDns,         // a query on its way to an upstream
  kListener,    // a published TCP port
  kPublished,   // a published UDP port
  // The event loop's own, never seen by the core.
  kTap,
  kControl,
  kMonitor,
  kRelays,
};

/// Who is told when a socket becomes ready. Packed into the 64 bits that epoll carries.
struct SocketOwner {
  OwnerKind kind = OwnerKind::kTcpHost;
  std::uint32_t generation = 0;  // 24 bits are kept
  std::uint32_t index = 0;
};

struct Readiness {
  bool is_readable = false;
  bool is_writable = false;
  bool has_error = false;  // EPOLLERR
  bool has_ended =
      false;  // EPOLLRDHUP without an error: the peer's FIN is there, and all before it
  bool has_urgent = false;  // EPOLLPRI: somewhere among what waits is an urgent mark (RFC 6093)
};

}  // namespace cordon
