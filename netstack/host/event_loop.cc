#include "netstack/host/event_loop.h"

#include <algorithm>
#include <cerrno>
#include <time.h>

#include <climits>

namespace cordon {
namespace {

std::uint64_t pack(const SocketOwner& owner) {
  return (std::uint64_t{static_cast<std::uint8_t>(owner.kind)} << 56) |
         (std::uint64_t{owner.generation & 0xffffff} << 32) | owner.index;
}

SocketOwner unpack(std::uint64_t data) {
  return SocketOwner{.kind = static_cast<OwnerKind>(data >> 56),
                     .generation = static_cast<std::uint32_t>(data >> 32) & 0xffffff,
                     .index = static_cast<std::uint32_t>(data)};
}

// A hang-up counts as readable: reading is how its cause comes out.
Readiness readiness_of(std::uint32_t events) {
  return Readiness{.is_readable = (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0,
                   .is_writable = (events & EPOLLOUT) != 0,
                   .has_error = (events & EPOLLERR) != 0,
                   // A reset shuts both ways too, and is no end that anybody meant.
                   .has_ended = (events & EPOLLRDHUP) != 0 && (events & EPOLLERR) == 0,
                   .has_urgent = (events & EPOLLPRI) != 0};
}

int timeout_milliseconds(Instant now, Instant deadline) {
  if (deadline == kNever) return -1;
  if (deadline <= now) return 0;
  // Rounded up, so that a deadline has passed when the wait is over.
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(deadline - now).count();
  return static_cast<int>(std::min<long long>(wait, INT_MAX));
}

}  // namespace

Instant monotonic_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);  // syscalls: clock_gettime
  return Instant(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

Result<EventLoop> EventLoop::open() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.is_open()) return errno_error("epoll_create1");
  return EventLoop(std::move(epoll));
}

IoStatus EventLoop::control(int operation, int descriptor, std::uint32_t events,
                            SocketOwner owner) {
  epoll_event event{.events = events, .data = {.u64 = pack(owner)}};
  // syscalls: epoll_ctl
  if (epoll_ctl(epoll_.get(), operation, descriptor, &event) == 0) return {};
  return std::unexpected(Errno{errno});
}

IoStatus EventLoop::watch_edges(int descriptor, SocketOwner owner) {
  constexpr std::uint32_t kBothWays = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
  const IoStatus added = control(EPOLL_CTL_ADD, descriptor, kBothWays, owner);
  if (added || added.error().value != EEXIST) return added;
  return control(EPOLL_CTL_MOD, descriptor, kBothWays, owner);
}

IoStatus EventLoop::watch_readable(int descriptor, SocketOwner owner) {
  return control(EPOLL_CTL_ADD, descriptor, EPOLLIN, owner);
}

void EventLoop::set_readable(int descriptor, SocketOwner owner, bool is_on) {
  // It cannot fail for a descriptor that is watched; for another there is nothing to switch.
  (void)control(EPOLL_CTL_MOD, descriptor, is_on ? std::uint32_t{EPOLLIN} : 0U, owner);
}

void EventLoop::forget(int descriptor) {
  (void)control(EPOLL_CTL_DEL, descriptor, 0, {});  // It fails for one that is not watched.
}

std::span<const SocketEvent> EventLoop::wait(Instant now, Instant deadline) {
  // syscalls: epoll_wait
  const int count = epoll_wait(epoll_.get(), ready_.data(), static_cast<int>(ready_.size()),
                               timeout_milliseconds(now, deadline));
  if (count <= 0) return {};  // EINTR: the caller looks at the clock and comes again.
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    events_[i] = SocketEvent{.owner = unpack(ready_[i].data.u64),
                             .readiness = readiness_of(ready_[i].events)};
  }
  return std::span(events_).first(static_cast<std::size_t>(count));
}

}  // namespace cordon
