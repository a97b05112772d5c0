// epoll: the one place where the translator waits. An event carries its owner (seams/sockets.h)
// packed into 64 bits: kind 8, generation 24, index 32.
#pragma once

#include <array>
#include <span>
#include <sys/epoll.h>

#include "netstack/base/result.h"
#include "netstack/base/time.h"
#include "netstack/host/descriptor/unique_fd.h"
#include "netstack/seams/sockets.h"

namespace cordon {

/// CLOCK_MONOTONIC, which stops while the machine is suspended.
[[nodiscard]] Instant monotonic_now();

struct SocketEvent {
  SocketOwner owner;
  Readiness readiness;
};

class EventLoop {
 public:
  [[nodiscard]] static Result<EventLoop> open();

  [[nodiscard]] int descriptor() const { return epoll_.get(); }

  /// Streams: edge-triggered, both ways. One that is watched already gets another owner.
  [[nodiscard]] IoStatus watch_edges(int descriptor, SocketOwner owner);
  /// The tap, listeners, datagram sockets, control: level-triggered, reading only.
  [[nodiscard]] IoStatus watch_readable(int descriptor, SocketOwner owner);
  /// Level-triggered interest off or on again.
  void set_readable(int descriptor, SocketOwner owner, bool is_on);

  /// No more events of that one, for whoever else watches it.
  void forget(int descriptor);

  /// Waits until `deadline` (kNever: for ever; the past: not at all). The span is valid until the
  /// next call.
  [[nodiscard]] std::span<const SocketEvent> wait(Instant now, Instant deadline);

 private:
  explicit EventLoop(UniqueFd epoll) : epoll_(std::move(epoll)) {}
  IoStatus control(int operation, int descriptor, std::uint32_t events, SocketOwner owner);

  static constexpr std::size_t kEvents = 256;
  UniqueFd epoll_;
  std::array<epoll_event, kEvents> ready_{};  // as the kernel tells them
  std::array<SocketEvent, kEvents> events_{};
};

}  // namespace cordon
