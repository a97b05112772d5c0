#include "launcher/side_loop.h"

#include <array>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "launcher/clock.h"

namespace cordon {
namespace {

constexpr int kEventsPerTurn = 64;

timespec timespec_of(Instant instant) {
  const auto since = instant.time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
  return {.tv_sec = seconds.count(), .tv_nsec = (since - seconds).count()};
}

}  // namespace

Result<std::unique_ptr<SideLoop>> SideLoop::open() {
  std::unique_ptr<SideLoop> loop(new SideLoop);
  loop->epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!loop->epoll_.is_open()) return errno_error("epoll_create1");
  loop->timer_ = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!loop->timer_.is_open()) return errno_error("timerfd_create");
  SideLoop* const self = loop.get();
  CORDON_TRY_STATUS(loop->watch(self->timer_.get(), EPOLLIN, [self](std::uint32_t) {
    std::uint64_t times = 0;
    // Nothing to read: it was set anew meanwhile.
    [[maybe_unused]] const ssize_t size = ::read(self->timer_.get(), &times, sizeof(times));
    self->run_due();
  }));
  return loop;
}

void SideLoop::turn() {
  std::array<epoll_event, kEventsPerTurn> ready{};
  const int count = ::epoll_wait(epoll_.get(), ready.data(), kEventsPerTurn, 0);
  std::array<std::uint64_t, kEventsPerTurn> generations{};
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const auto found = watches_.find(ready[at].data.fd);
    if (found != watches_.end()) generations[at] = found->second->generation;
  }
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const auto found = watches_.find(ready[at].data.fd);
    // A callback of this turn may have forgotten it, and the number may be another's now.
    if (found == watches_.end() || found->second->generation != generations[at]) continue;
    const std::shared_ptr<Watch> held = found->second;
    held->on_ready(ready[at].events);
  }
}

Status SideLoop::watch(int fd, std::uint32_t events, OnReady on_ready) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return errno_error("epoll_ctl");
  watches_[fd] =
      std::make_shared<Watch>(Watch{.generation = ++last_, .on_ready = std::move(on_ready)});
  return {};
}

void SideLoop::change(int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void SideLoop::forget(int fd) {
  if (watches_.erase(fd) == 0) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

SideLoop::Timer SideLoop::at(Instant when, OnTime on_time) {
  const Timer timer{when, ++last_};
  timers_.emplace(timer, std::move(on_time));
  arm();
  return timer;
}

void SideLoop::cancel(const Timer& timer) {
  if (timers_.erase(timer) > 0) arm();
}

void SideLoop::arm() {
  itimerspec when{};
  if (!timers_.empty()) {
    when.it_value = timespec_of(timers_.begin()->first.first);
    // All zero would switch it off.
    if (when.it_value.tv_sec == 0 && when.it_value.tv_nsec == 0) when.it_value.tv_nsec = 1;
  }
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void SideLoop::run_due() {
  const Instant now = monotonic_now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    const OnTime on_time = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    on_time();
  }
  arm();
}

}  // namespace cordon
