#include "netstack/host/kernel_relays.h"

#include <algorithm>
#include <cerrno>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utility>

#include "netstack/tcp/stream_rules.h"

namespace cordon {

Result<RelayThreads> RelayThreads::open(std::size_t count) {
  RelayThreads relays;
  if (count == 0) return relays;
  relays.news = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!relays.news.is_open()) return errno_error("eventfd for relays");
  for (std::size_t i = 0; i < count; ++i) {
    // The worker moves streams too.
    CORDON_TRY(auto relay, RelayThread::open(count + 1, relays.news.get()));
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

RelayPlace KernelRelays::hand_over(SocketOwner owner, const Stream& stream) {
  RelayPlace place{.relay = least_busy()};
  loop_.forget(stream.host.descriptor);
  loop_.forget(stream.guest.descriptor);
  place.index = port(place).give(monotonic_now(), owner, stream);
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
    if (RelayedStream* const done = relay->port().take_done()) return news_of(*done);
  }
  return std::nullopt;
}

RelayNews KernelRelays::news_of(RelayedStream& done) {
  RelayNews news{.kind = done.news, .owner = done.owner, .stream = done.stream};
  if (news.kind != RelayNews::Kind::kReturned) return news;
  const std::optional<PipeHold> up = streams_.put_in(std::move(done.up));
  const std::optional<PipeHold> down = streams_.put_in(std::move(done.down));
  news.stream.up.hold = up.value_or(PipeHold());
  news.stream.down.hold = down.value_or(PipeHold());
  if (up && down) return news;
  // Every pipe of ours is full: octets that were taken could not go on.
  reset_stream(streams_, news.stream);
  news.kind = RelayNews::Kind::kReset;
  return news;
}

}  // namespace cordon
