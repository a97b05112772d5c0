#include "netstack/host/relay_thread.h"

#include <utility>

#include "netstack/tcp/stream_rules.h"

namespace cordon {

Result<std::unique_ptr<RelayThread>> RelayThread::open(std::size_t pipes_part, int news,
                                                       std::size_t room) {
  CORDON_TRY(EventLoop loop, EventLoop::open());
  CORDON_TRY(std::unique_ptr<RelayPort> port, RelayPort::open(news, room));
  const SocketOwner owner{.kind = OwnerKind::kControl};
  if (const IoStatus watched = loop.watch_readable(port->wake_descriptor(), owner); !watched) {
    return errno_error(watched.error().value, "epoll_ctl: relay");
  }
  return std::unique_ptr<RelayThread>(
      new RelayThread(std::move(loop), std::move(port), pipes_part));  // NOLINT: private
}

std::vector<int> RelayThread::descriptors() const {
  const auto of_port = port_->descriptors_of_relay();
  std::vector<int> all(of_port.begin(), of_port.end());
  all.push_back(loop_.descriptor());
  return all;
}

void RelayThread::serve(const std::function<void()>& on_ready) {
  streams_.emplace(pipes_part_);
  ready_.reserve(kMaxRelayedStreams);
  pumping_.reserve(kMaxRelayedStreams);
  on_ready();
  now_ = monotonic_now();
  while (true) {
    const auto events = loop_.wait(now_, ready_.empty() ? kNever : now_);
    now_ = monotonic_now();
    for (const SocketEvent& event : events) {
      if (event.owner.kind == OwnerKind::kControl) {
        port_->wait_is_over();
      } else {
        on_event(event);
      }
      if (!take_orders()) return;
    }
    if (!pump_queued()) return;
    streams_->close_ended();
    if (std::exchange(has_news_, false)) port_->wake_worker();
  }
}

bool RelayThread::take_orders() {
  while (const std::optional<RelayPort::Order> order = port_->next_order()) {
    switch (order->wanted) {
      case RelayPort::Wanted::kTake:
        take(order->index);
        break;
      case RelayPort::Wanted::kEnd:
        if (port_->at(order->index).is_here) reset(order->index);
        break;
      case RelayPort::Wanted::kReturn:
        if (port_->at(order->index).is_here) give_back(order->index);
        break;
      case RelayPort::Wanted::kStop:
        return false;
    }
  }
  return true;
}

// What the sockets had before they came is an event of this loop.
void RelayThread::take(std::uint16_t index) {
  RelayedStream& place = port_->at(index);
  ++place.generation;
  if (!port_->take_given(place)) return done(index, RelayNews::Kind::kReset);
  place.is_here = true;
  const auto owner = [&](OwnerKind kind) {
    return SocketOwner{.kind = kind, .generation = place.generation, .index = index};
  };
  const bool is_watched =
      loop_.watch_edges(place.stream.host.descriptor, owner(OwnerKind::kTcpHost)) &&
      loop_.watch_edges(place.stream.guest.descriptor, owner(OwnerKind::kTcpGuest));
  if (!is_watched) reset(index);
}

void RelayThread::give_back(std::uint16_t index) {
  RelayedStream& place = port_->at(index);
  loop_.forget(place.stream.host.descriptor);
  loop_.forget(place.stream.guest.descriptor);
  TakenPipe up = streams_->take_out(place.stream.up.hold);
  TakenPipe down = streams_->take_out(place.stream.down.hold);
  if (!port_->send_back(place, up, down)) return reset(index);
  done(index, RelayNews::Kind::kReturned);
}

void RelayThread::on_event(const SocketEvent& event) {
  const auto index = static_cast<std::uint16_t>(event.owner.index);
  RelayedStream& place = port_->at(index);
  // Another stream has the place, or none.
  const auto is_gone = [&, generation = event.owner.generation] {
    return !place.is_here || (place.generation & 0xffffff) != generation;
  };
  if (is_gone()) return;
  const bool is_host = event.owner.kind == OwnerKind::kTcpHost;
  HalfStream& from_here = place.stream.half(!is_host);
  take_notice(from_here, event.readiness);
  if (moves_by_source(from_here, event.readiness)) pump(index, !is_host);
  if (is_gone()) return;
  if (moves_by_sink(place.stream.half(is_host), event.readiness)) pump(index, is_host);
  if (event.readiness.has_error && !is_gone()) reset(index);
}

void RelayThread::pump(std::uint16_t index, bool is_up) {
  RelayedStream& place = port_->at(index);
  const Transfer transfer = move_half(*streams_, place.stream, is_up, kPumpBudget);
  if (transfer.octets > 0) {
    (is_up ? place.octets_up : place.octets_down)
        .store(place.stream.half(is_up).octets, std::memory_order_relaxed);
    place.moved.store(now_, std::memory_order_relaxed);
  }
  switch (transfer.stop) {
    case Transfer::Stop::kSourceEmpty:
    case Transfer::Stop::kSinkFull:
      return;
    case Transfer::Stop::kBudget:
      return queue(index);
    case Transfer::Stop::kEnd:
      place.is_half_closed.store(true, std::memory_order_relaxed);
      if (finish_half(*streams_, place.stream, is_up)) done(index, RelayNews::Kind::kClosed);
      return;
    case Transfer::Stop::kSourceError:
    case Transfer::Stop::kSinkError:
      return reset(index);
  }
}

void RelayThread::queue(std::uint16_t index) {
  if (std::exchange(port_->at(index).is_queued, true)) return;
  ready_.push_back(index);
}

bool RelayThread::pump_queued() {
  pumping_.swap(ready_);
  for (const std::uint16_t index : pumping_) {
    RelayedStream& place = port_->at(index);
    place.is_queued = false;
    for (const bool is_up : {false, true}) {
      const HalfStream& half = place.stream.half(is_up);
      if (place.is_here && !half.is_done && !half.is_blocked) pump(index, is_up);
    }
    if (!take_orders()) return false;
  }
  pumping_.clear();
  return true;
}

void RelayThread::reset(std::uint16_t index) {
  reset_stream(*streams_, port_->at(index).stream);
  done(index, RelayNews::Kind::kReset);
}

void RelayThread::done(std::uint16_t index, RelayNews::Kind news) {
  has_news_ = true;
  port_->done(index, news);
}

}  // namespace cordon
