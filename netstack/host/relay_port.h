// Between the worker and one relay: places for streams, two one-way rings, and a pair of sockets
// that the streams' descriptors go by (unix(7)), since each side has a table of its own.
//
//   worker  -- kTake, kEnd, kReturn -->  relay      then a write to the relay's eventfd
//   worker  <--- this place is done ---  relay      then a write to the worker's
//
// Descriptors are sent before the ring says so: for each kTake and each kReturned, in their order,
// one packet is there already. They are numbers of the one table before, and of the other after.
//
// A place belongs to one side at a time: the worker fills it in and puts kTake into the ring; from
// there on it is the relay's, until its index comes back by the other ring. Only the counts are
// read by the worker all the while. An order for a place that is on its way back, or is back, is
// too late and means nothing.
//
// The rings never overflow: of the orders for one place the relay has not seen at most two that
// were too late and three for the stream that is there now; done it is once for each kTake.
#pragma once

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/flow/limits.h"
#include "netstack/host/descriptor/passed_descriptors.h"
#include "netstack/host/descriptor/unique_fd.h"
#include "netstack/host/one_way_ring.h"
#include "netstack/host/stream_relay.h"
#include "netstack/seams/relays.h"

namespace cordon {

/// A stream at its place.
struct RelayedStream {
  SocketOwner owner;
  Stream stream;
  // Back from the relay only.
  RelayNews::Kind news = RelayNews::Kind::kClosed;
  std::uint32_t held_up = 0;  // octets in the pipe that came along; 0: none did
  std::uint32_t held_down = 0;
  // The relay's own.
  std::uint32_t generation = 0;
  bool is_here = false;
  bool is_queued = false;
  // Written by the relay, read by both.
  std::atomic<std::uint64_t> octets_up{0};
  std::atomic<std::uint64_t> octets_down{0};
  std::atomic<Instant> moved{};
  std::atomic<bool> is_half_closed{false};
};

class RelayPort {
 public:
  enum class Wanted : std::uint8_t { kTake, kEnd, kReturn, kStop };
  struct Order {
    Wanted wanted;
    std::uint16_t index;
  };

  /// `news`: the worker's eventfd, which outlives the port. `room`: streams at once.
  [[nodiscard]] static Result<std::unique_ptr<RelayPort>> open(int news, std::size_t room);
  RelayPort(const RelayPort&) = delete;
  RelayPort& operator=(const RelayPort&) = delete;
  RelayPort(RelayPort&&) = delete;
  RelayPort& operator=(RelayPort&&) = delete;
  ~RelayPort();

  // The worker's side.

  [[nodiscard]] std::size_t streams() const { return streams_; }
  [[nodiscard]] bool has_room() const { return streams_ < room_; }
  /// There is room. The sockets are the relay's, and closed here; nothing where they cannot be
  /// sent at this moment.
  [[nodiscard]] std::optional<std::uint16_t> give(Instant now, SocketOwner owner,
                                                  const Stream& stream);
  void order(Wanted wanted, std::uint16_t index);
  [[nodiscard]] RelayCounts counts(std::uint16_t index) const;
  /// The next place that the relay is done with; valid until the next give().
  [[nodiscard]] RelayedStream* take_done();
  /// After a place that was returned: its sockets and pipes. False: they did not fit into this
  /// table, and are closed.
  [[nodiscard]] bool take_returned(RelayedStream& place, TakenPipe& up, TakenPipe& down);

  // The relay's side.

  [[nodiscard]] std::optional<Order> next_order() { return orders_.pop(); }
  [[nodiscard]] RelayedStream& at(std::uint16_t index) { return places_[index]; }
  /// After kTake: the place's sockets. False: they did not fit into this table, and are closed.
  [[nodiscard]] bool take_given(RelayedStream& place);
  /// Sends the place's sockets and pipes back, and closes them here. Waits while the worker has
  /// many of them still to take. False: they cannot be sent, and are as before.
  [[nodiscard]] bool send_back(RelayedStream& place, TakenPipe& up, TakenPipe& down);
  /// What a relay's table of descriptors needs of the port.
  [[nodiscard]] std::array<int, 3> descriptors_of_relay() const {
    return {wake_.get(), relay_end_.get(), news_};
  }
  /// The place is the worker's again. It is told by wake_worker().
  void done(std::uint16_t index, RelayNews::Kind news);
  void wake_worker() const;
  /// Readable once there are orders; wait_is_over() makes it silent again.
  [[nodiscard]] int wake_descriptor() const { return wake_.get(); }
  void wait_is_over() const;

 private:
  struct Free {
    // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): pages that are unwritten until they are used
    void operator()(void* memory) const { std::free(memory); }
  };
  static constexpr std::uint32_t kOrders = 8 * kMaxRelayedStreams;

  RelayPort(UniqueFd wake, UniqueFd worker_end, UniqueFd relay_end, int news, std::size_t room);

  UniqueFd wake_;
  UniqueFd worker_end_;
  UniqueFd relay_end_;
  int news_;
  std::size_t room_;
  OneWayRing<Order, kOrders> orders_;
  OneWayRing<std::uint16_t, kMaxRelayedStreams> done_;
  std::unique_ptr<void, Free> memory_;
  RelayedStream* places_;
  // The worker's own.
  std::size_t streams_ = 0;
  std::uint16_t used_places_ = 0;  // those from here on were never made
  std::vector<std::uint16_t> free_;
};

}  // namespace cordon
