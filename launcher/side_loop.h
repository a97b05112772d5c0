// What the supervisor waits for besides the sandbox itself: clients of the control socket, a
// question's answer, timers.
//
// One descriptor to the outside, an epoll that holds them all and one timer; readable when turn()
// is to be called. The supervisor's own loop stays as it is, however many clients come and go. A
// callback may watch, forget and set timers as it likes, its own included.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "netstack/base/result.h"
#include "netstack/base/time.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

class SideLoop {
 public:
  using OnReady = std::function<void(std::uint32_t events)>;
  using OnTime = std::function<void()>;
  using Timer = std::pair<Instant, std::uint64_t>;

  [[nodiscard]] static Result<std::unique_ptr<SideLoop>> open();

  [[nodiscard]] int fd() const { return epoll_.get(); }
  /// Calls back for what is ready and what is due; at most 64 descriptors a turn.
  void turn();

  /// `events` as of epoll(7), level-triggered. The descriptor stays the caller's, who forgets it
  /// before closing it.
  [[nodiscard]] Status watch(int fd, std::uint32_t events, OnReady on_ready);
  void change(int fd, std::uint32_t events);
  void forget(int fd);

  Timer at(Instant when, OnTime on_time);
  void cancel(const Timer& timer);

 private:
  struct Watch {
    std::uint64_t generation = 0;
    OnReady on_ready;
  };

  SideLoop() = default;
  void arm();
  void run_due();

  UniqueFd epoll_;
  UniqueFd timer_;
  std::map<int, std::shared_ptr<Watch>> watches_;
  std::map<Timer, OnTime> timers_;
  std::uint64_t last_ = 0;
};

}  // namespace cordon
