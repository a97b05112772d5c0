#include "netstack/host/relay_port.h"

#include <array>
#include <cerrno>
#include <new>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utility>

#include "netstack/base/invariant.h"

namespace cordon {
namespace {

constexpr std::uint64_t kOne = 1;

}  // namespace

Result<std::unique_ptr<RelayPort>> RelayPort::open(int news) {
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.is_open()) return errno_error("eventfd for a relay");
  return std::unique_ptr<RelayPort>(new RelayPort(std::move(wake), news));  // NOLINT: private
}

RelayPort::RelayPort(UniqueFd wake, int news)
    : wake_(std::move(wake)),
      news_(news),
      // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): pages that are unwritten until they are used
      memory_(std::malloc(kMaxRelayedStreams * sizeof(RelayedStream))),
      places_(static_cast<RelayedStream*>(memory_.get())) {
  if (places_ == nullptr) std::abort();  // At start only; there is nothing to go on with.
  free_.reserve(kMaxRelayedStreams);
}

RelayPort::~RelayPort() { std::destroy_n(places_, used_places_); }

std::uint16_t RelayPort::give(Instant now, SocketOwner owner, const Stream& stream) {
  std::uint16_t index = used_places_;
  if (free_.empty()) {
    std::construct_at(places_ + index);
    ++used_places_;
  } else {
    index = free_.back();
    free_.pop_back();
  }
  ++streams_;
  RelayedStream& place = places_[index];
  place.owner = owner;
  place.stream = stream;
  place.octets_up.store(stream.up.octets, std::memory_order_relaxed);
  place.octets_down.store(stream.down.octets, std::memory_order_relaxed);
  place.moved.store(now, std::memory_order_relaxed);
  place.is_half_closed.store(stream.is_half_closed(), std::memory_order_relaxed);
  order(Wanted::kTake, index);
  return index;
}

void RelayPort::order(Wanted wanted, std::uint16_t index) {
  const std::array<Order, 1> one{Order{.wanted = wanted, .index = index}};
  if (!CORDON_INVARIANT(orders_.push(one))) return;
  // It never waits: a full eventfd has been written to often enough. syscalls: write
  (void)!::write(wake_.get(), &kOne, sizeof(kOne));
}

RelayCounts RelayPort::counts(std::uint16_t index) const {
  const RelayedStream& place = places_[index];
  return RelayCounts{.up = place.octets_up.load(std::memory_order_relaxed),
                     .down = place.octets_down.load(std::memory_order_relaxed),
                     .moved = place.moved.load(std::memory_order_relaxed),
                     .is_half_closed = place.is_half_closed.load(std::memory_order_relaxed)};
}

RelayedStream* RelayPort::take_done() {
  const std::optional<std::uint16_t> index = done_.pop();
  if (!index) return nullptr;
  --streams_;
  free_.push_back(*index);
  return places_ + *index;
}

void RelayPort::done(std::uint16_t index, RelayNews::Kind news) {
  places_[index].is_here = false;
  places_[index].news = news;
  const std::array<std::uint16_t, 1> one{index};
  (void)CORDON_INVARIANT(done_.push(one));
}

void RelayPort::wake_worker() const {
  // syscalls: write
  (void)!::write(news_, &kOne, sizeof(kOne));
}

void RelayPort::wait_is_over() const {
  std::uint64_t count = 0;
  // syscalls: read
  (void)!::read(wake_.get(), &count, sizeof(count));
}

}  // namespace cordon
