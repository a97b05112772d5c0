// Between the worker and one relay: places for streams, and two one-way rings.
//
//   worker  -- kTake, kEnd, kReturn -->  relay      then a write to the relay's eventfd
//   worker  <--- this place is done ---  relay      then a write to the worker's
//
// A place belongs to one side at a time: the worker fills it in and puts kTake into the ring; from
// there on it is the relay's, until its index comes back by the other ring. Only the counts are
// read by the worker all the while. An order for a place that is on its way back, or is back, is
// too late and means nothing.
//
// The rings never overflow: of the orders for one place the relay has not seen at most two that
// were too late and three for the stream that is there now; done it is once for each kTake.
#pragma once

#include <atomic>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/flow/limits.h"
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
  TakenPipe up;
  TakenPipe down;
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

  /// `news`: the worker's eventfd, which outlives the port.
  [[nodiscard]] static Result<std::unique_ptr<RelayPort>> open(int news);
  RelayPort(const RelayPort&) = delete;
  RelayPort& operator=(const RelayPort&) = delete;
  RelayPort(RelayPort&&) = delete;
  RelayPort& operator=(RelayPort&&) = delete;
  ~RelayPort();

  // The worker's side.

  [[nodiscard]] std::size_t streams() const { return streams_; }
  [[nodiscard]] bool has_room() const { return streams_ < kMaxRelayedStreams; }
  /// There is room. The sockets are the relay's.
  std::uint16_t give(Instant now, SocketOwner owner, const Stream& stream);
  void order(Wanted wanted, std::uint16_t index);
  [[nodiscard]] RelayCounts counts(std::uint16_t index) const;
  /// The next place that the relay is done with; valid until the next give().
  [[nodiscard]] RelayedStream* take_done();

  // The relay's side.

  [[nodiscard]] std::optional<Order> next_order() { return orders_.pop(); }
  [[nodiscard]] RelayedStream& at(std::uint16_t index) { return places_[index]; }
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

  RelayPort(UniqueFd wake, int news);

  UniqueFd wake_;
  int news_;
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
