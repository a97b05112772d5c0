#include "netstack/host/relay_port.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "netstack/base/invariant.h"

namespace cordon {
namespace {

constexpr std::uint64_t kOne = 1;
// A packet that is there for its descriptors.
constexpr std::array<std::byte, 1> kParcel{};

}  // namespace

Result<std::unique_ptr<RelayPort>> RelayPort::open(int news, std::size_t room) {
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.is_open()) return errno_error("eventfd for a relay");
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return errno_error("socketpair for a relay");
  }
  return std::unique_ptr<RelayPort>(new RelayPort(std::move(wake), UniqueFd(ends[0]),  // NOLINT
                                                  UniqueFd(ends[1]), news, room));
}

RelayPort::RelayPort(UniqueFd wake, UniqueFd worker_end, UniqueFd relay_end, int news,
                     std::size_t room)
    : wake_(std::move(wake)),
      worker_end_(std::move(worker_end)),
      relay_end_(std::move(relay_end)),
      news_(news),
      room_(std::min(room, kMaxRelayedStreams)),
      // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): pages that are unwritten until they are used
      memory_(std::malloc(kMaxRelayedStreams * sizeof(RelayedStream))),
      places_(static_cast<RelayedStream*>(memory_.get())) {
  if (places_ == nullptr) std::abort();  // At start only; there is nothing to go on with.
  free_.reserve(kMaxRelayedStreams);
}

RelayPort::~RelayPort() { std::destroy_n(places_, used_places_); }

std::optional<std::uint16_t> RelayPort::give(Instant now, SocketOwner owner, const Stream& stream) {
  const std::array<int, 2> sockets{stream.host.descriptor, stream.guest.descriptor};
  if (!pass_descriptors(worker_end_.get(), kParcel, sockets, MSG_DONTWAIT)) return std::nullopt;
  for (const int socket : sockets) UniqueFd(socket).reset();
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
  place.stream.host = place.stream.guest = {};
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

bool RelayPort::take_given(RelayedStream& place) {
  std::array<std::byte, 1> parcel{};
  std::array<UniqueFd, 2> sockets;
  const auto taken = take_descriptors(relay_end_.get(), parcel, sockets, MSG_DONTWAIT);
  if (!taken || taken->descriptors != sockets.size()) return false;
  place.stream.host = SocketHandle{sockets[0].release()};
  place.stream.guest = SocketHandle{sockets[1].release()};
  return true;
}

bool RelayPort::send_back(RelayedStream& place, TakenPipe& up, TakenPipe& down) {
  std::array<int, kMaxPassedDescriptors> numbers{place.stream.host.descriptor,
                                                 place.stream.guest.descriptor};
  std::size_t count = 2;
  for (const TakenPipe* const pipe : {&up, &down}) {
    if (pipe->octets == 0) continue;
    numbers[count++] = pipe->read.get();
    numbers[count++] = pipe->write.get();
  }
  const std::span<const int> all = std::span<const int>(numbers).first(count);
  IoStatus passed = pass_descriptors(relay_end_.get(), kParcel, all, MSG_DONTWAIT);
  if (!passed && passed.error().value == EAGAIN) {
    wake_worker();  // which makes room
    passed = pass_descriptors(relay_end_.get(), kParcel, all);
  }
  if (!passed) return false;
  place.held_up = up.octets;
  place.held_down = down.octets;
  UniqueFd(place.stream.host.descriptor).reset();
  UniqueFd(place.stream.guest.descriptor).reset();
  up = TakenPipe();
  down = TakenPipe();
  return true;
}

bool RelayPort::take_returned(RelayedStream& place, TakenPipe& up, TakenPipe& down) {
  std::array<std::byte, 1> parcel{};
  std::array<UniqueFd, kMaxPassedDescriptors> all;
  const auto taken = take_descriptors(worker_end_.get(), parcel, all, MSG_DONTWAIT);
  const std::size_t wanted =
      2 + (place.held_up > 0 ? std::size_t{2} : 0) + (place.held_down > 0 ? std::size_t{2} : 0);
  place.stream.host = place.stream.guest = {};
  if (!taken || taken->descriptors != wanted) return false;
  std::size_t next = 2;
  for (TakenPipe* const pipe : {&up, &down}) {
    pipe->octets = pipe == &up ? place.held_up : place.held_down;
    if (pipe->octets == 0) continue;
    pipe->read = std::move(all[next++]);
    pipe->write = std::move(all[next++]);
  }
  place.stream.host = SocketHandle{all[0].release()};
  place.stream.guest = SocketHandle{all[1].release()};
  return true;
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
