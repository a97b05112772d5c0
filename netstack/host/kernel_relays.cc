#include "netstack/host/kernel_relays.h"

#include <algorithm>
#include <cerrno>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utility>

#include "netstack/flow/descriptor_share.h"
#include "netstack/tcp/stream_rules.h"

namespace cordon {

Result<RelayThreads> RelayThreads::open(std::size_t count, std::size_t descriptors, bool has_bulk) {
  RelayThreads relays;
  if (count == 0) return relays;
  relays.workers_part = has_bulk ? count + 1 : 2;
  const std::size_t part = has_bulk ? count + 1 : 2 * count;
  relays.news = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!relays.news.is_open()) return errno_error("eventfd for relays");
  for (std::size_t i = 0; i < count; ++i) {
    CORDON_TRY(auto relay,
               RelayThread::open(part, relays.news.get(), relayed_streams_within(descriptors)));
    relays.threads.push_back(std::move(relay));
  }
  return relays;
}

std::uint16_t KernelRelays::least_busy() {
  std::size_t least = 0;
  for (std::size_t i = 1; i < relays_.threads.size(); ++i) {
    const bool is_less =
        relays_.threads[i]->port().streams() < relays_.threads[least]->port().streams();
    if (is_less) least = i;
  }
  return static_cast<std::uint16_t>(least);
}

bool KernelRelays::has_room() { return port({.relay = least_busy()}).has_room(); }

// What a descriptor's table has forgotten an event loop has not, as long as the socket lives.
std::optional<RelayPlace> KernelRelays::hand_over(SocketOwner owner, const Stream& stream) {
  RelayPlace place{.relay = least_busy()};
  loop_.forget(stream.host.descriptor);
  loop_.forget(stream.guest.descriptor);
  const std::optional<std::uint16_t> index = port(place).give(monotonic_now(), owner, stream);
  if (!index) {
    const auto of_socket = [&](OwnerKind kind) {
      return SocketOwner{.kind = kind, .generation = owner.generation, .index = owner.index};
    };
    (void)loop_.watch_edges(stream.host.descriptor, of_socket(OwnerKind::kTcpHost));
    (void)loop_.watch_edges(stream.guest.descriptor, of_socket(OwnerKind::kTcpGuest));
    return std::nullopt;
  }
  place.index = *index;
  return place;
}

void KernelRelays::end(RelayPlace place) {
  port(place).order(RelayPort::Wanted::kEnd, place.index);
}

void KernelRelays::take_back(RelayPlace place) {
  port(place).order(RelayPort::Wanted::kReturn, place.index);
}

RelayCounts KernelRelays::counts(RelayPlace place) { return port(place).counts(place.index); }

void KernelRelays::take_wake_up() const {
  std::uint64_t count = 0;
  // syscalls: read
  (void)!read(relays_.news.get(), &count, sizeof(count));
}

std::optional<RelayNews> KernelRelays::next_news() {
  for (const std::unique_ptr<RelayThread>& relay : relays_.threads) {
    RelayPort& port = relay->port();
    if (RelayedStream* const done = port.take_done()) return news_of(port, *done);
  }
  return std::nullopt;
}

RelayNews KernelRelays::news_of(RelayPort& port, RelayedStream& done) {
  TakenPipe up_pipe;
  TakenPipe down_pipe;
  const bool is_back =
      done.news != RelayNews::Kind::kReturned || port.take_returned(done, up_pipe, down_pipe);
  RelayNews news{.kind = is_back ? done.news : RelayNews::Kind::kReset,
                 .owner = done.owner,
                 .stream = done.stream};
  if (news.kind != RelayNews::Kind::kReturned) return news;
  const std::optional<PipeHold> up = streams_.put_in(std::move(up_pipe));
  const std::optional<PipeHold> down = streams_.put_in(std::move(down_pipe));
  news.stream.up.hold = up.value_or(PipeHold());
  news.stream.down.hold = down.value_or(PipeHold());
  if (up && down) return news;
  // Every pipe of ours is full: octets that were taken could not go on.
  reset_stream(streams_, news.stream);
  news.kind = RelayNews::Kind::kReset;
  return news;
}

}  // namespace cordon
