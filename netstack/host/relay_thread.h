// A relay: a thread that moves streams and does nothing else. What costs processor time in a
// translator is the streams, and they share nothing once nothing is left to judge; so they can be
// shared out, while everything that decides stays in one place.
//
// It has an event loop, pipes and a table of descriptors of its own, takes no lock, makes no socket
// and, once it serves, no memory. Streams come and go by its port (host/relay_port.h); how they
// move is tcp/stream_rules.h, as on the worker. Between the events of one turn it looks for orders,
// so that a stream that is to end does not wait for the others' turns.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/host/event_loop.h"
#include "netstack/host/relay_port.h"
#include "netstack/host/stream_relay.h"

namespace cordon {

class RelayThread {
 public:
  /// Any thread. `pipes_part` as for StreamRelay; `news`: the worker's eventfd,
  /// which outlives the relay; `room`: streams at once.
  [[nodiscard]] static Result<std::unique_ptr<RelayThread>> open(std::size_t pipes_part, int news,
                                                                 std::size_t room);

  [[nodiscard]] RelayPort& port() { return *port_; }
  /// All that its thread needs of a table of descriptors. It may have one of its own when it begins
  /// to serve, or share the worker's.
  [[nodiscard]] std::vector<int> descriptors() const;
  /// The relay's life, on its own thread; calls `on_ready` when it needs no more memory. Returns
  /// after Wanted::kStop, which is for tests: what it has then stays open.
  void serve(const std::function<void()>& on_ready);

 private:
  RelayThread(EventLoop loop, std::unique_ptr<RelayPort> port, std::size_t pipes_part)
      : loop_(std::move(loop)), port_(std::move(port)), pipes_part_(pipes_part) {}

  /// False: stop.
  bool take_orders();
  void take(std::uint16_t index);
  void give_back(std::uint16_t index);
  void on_event(const SocketEvent& event);
  void pump(std::uint16_t index, bool is_up);
  /// False: stop.
  bool pump_queued();
  void queue(std::uint16_t index);
  void reset(std::uint16_t index);
  void done(std::uint16_t index, RelayNews::Kind news);

  EventLoop loop_;
  std::unique_ptr<RelayPort> port_;
  std::size_t pipes_part_;
  std::optional<StreamRelay> streams_;
  std::vector<std::uint16_t> ready_;
  std::vector<std::uint16_t> pumping_;
  Instant now_{};
  bool has_news_ = false;
};

}  // namespace cordon
