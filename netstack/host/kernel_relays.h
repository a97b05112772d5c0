// Relays on threads: the worker's side of all of them. A stream goes to the relay that has the
// fewest.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"
#include "netstack/host/event_loop.h"
#include "netstack/host/relay_thread.h"
#include "netstack/host/stream_relay.h"
#include "netstack/seams/relays.h"

namespace cordon {

/// All that relays of a process need, made before it is sealed. Whoever starts the threads calls
/// RelayThread::serve() on each.
struct RelayThreads {
  UniqueFd news;  // readable when one of them is done with a stream; none where there is no relay
  std::vector<std::unique_ptr<RelayThread>> threads;
  std::size_t workers_part = 1;  // of the pipes: one in so many

  /// `descriptors`: that the table of each relay may have. `has_bulk`: bulk streams are shared out
  /// among worker and relays, and so are the pipes; else half of those stay with the worker.
  [[nodiscard]] static Result<RelayThreads> open(std::size_t count, std::size_t descriptors,
                                                 bool has_bulk);
};

class KernelRelays final : public Relays {
 public:
  /// All outlive it: `loop` and `streams` are the worker's own.
  KernelRelays(RelayThreads& relays, EventLoop& loop, StreamRelay& streams)
      : relays_(relays), loop_(loop), streams_(streams) {}

  bool has_room() override;
  std::optional<RelayPlace> hand_over(SocketOwner owner, const Stream& stream) override;
  void end(RelayPlace place) override;
  void take_back(RelayPlace place) override;
  RelayCounts counts(RelayPlace place) override;

  [[nodiscard]] bool has_any() const { return !relays_.threads.empty(); }
  [[nodiscard]] int news_descriptor() const { return relays_.news.get(); }
  /// Before the news that waits is taken, so that none is missed.
  void take_wake_up() const;
  /// The next news; a stream that is returned has its holds in the worker's own pipes.
  [[nodiscard]] std::optional<RelayNews> next_news();

 private:
  RelayPort& port(RelayPlace place) { return relays_.threads[place.relay]->port(); }
  std::uint16_t least_busy();
  RelayNews news_of(RelayPort& port, RelayedStream& done);

  RelayThreads& relays_;
  EventLoop& loop_;
  StreamRelay& streams_;
};

}  // namespace cordon
