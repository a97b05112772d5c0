// Relays on their threads, between real sockets: pairs of unix streams, and TCP over the loopback
// where a reset is to be seen.
#include "netstack/host/kernel_relays.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <semaphore>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "netstack/host/socket_options.h"
#include "tests/unit/host/tcp_pair.h"

namespace cordon {
namespace {

constexpr int kPatienceMilliseconds = 10000;
constexpr std::size_t kDescriptors = 4096;  // of each relay

bool waits_for(int descriptor, short events) {
  pollfd wanted{.fd = descriptor, .events = events, .revents = 0};
  return poll(&wanted, 1, kPatienceMilliseconds) == 1;
}

/// peer <-> socket; a relay has `socket`.
struct Link {
  UniqueFd peer;
  int socket = -1;

  void says(std::string_view text) const {
    for (std::size_t sent = 0; sent < text.size();) {
      ASSERT_TRUE(waits_for(peer.get(), POLLOUT));
      const ssize_t size = send(peer.get(), text.data() + sent, text.size() - sent, MSG_DONTWAIT);
      if (size > 0) sent += static_cast<std::size_t>(size);
    }
  }
  /// Exactly so much; less where the other side ends, resets or is silent for too long.
  [[nodiscard]] std::string hears(std::size_t octets) const {
    std::string text(octets, '\0');
    std::size_t got = 0;
    while (got < octets && waits_for(peer.get(), POLLIN)) {
      const ssize_t size = recv(peer.get(), text.data() + got, octets - got, MSG_DONTWAIT);
      if (size <= 0) break;
      got += static_cast<std::size_t>(size);
    }
    text.resize(got);
    return text;
  }
  void ends() const { EXPECT_EQ(shutdown(peer.get(), SHUT_WR), 0); }
  /// 0: FIN; else the error.
  [[nodiscard]] int hears_the_end() const {
    char octet = 0;
    if (!waits_for(peer.get(), POLLIN)) return ETIMEDOUT;
    const ssize_t size = recv(peer.get(), &octet, 1, MSG_DONTWAIT);
    return size == 0 ? 0 : (size < 0 ? errno : -1);
  }
};

Link unix_link() {
  std::array<int, 2> ends{};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()), 0);
  return Link{.peer = UniqueFd(ends[0]), .socket = ends[1]};
}

Link tcp_link() {
  TcpPair pair = tcp_pair();
  preset_guest_stream(pair.accepted.get());  // closing it is a reset
  return Link{.peer = std::move(pair.peer), .socket = pair.accepted.release()};
}

/// A worker's surroundings, with relays that run.
class KernelRelaysTest : public testing::Test {
 protected:
  explicit KernelRelaysTest(std::size_t count = 2)
      : threads(RelayThreads::open(count, kDescriptors, true).value()),
        loop(EventLoop::open().value()),
        streams(count + 1),
        relays(threads, loop, streams) {
    for (const auto& relay : threads.threads) {
      running_.emplace_back([&] {
        // A table of its own, as in the program; what is opened from here on is not in it.
        EXPECT_EQ(unshare(CLONE_FILES), 0);
        relay->serve([&] { ready_.release(); });
      });
      ready_.acquire();
    }
  }
  ~KernelRelaysTest() override {
    for (const auto& relay : threads.threads) relay->port().order(RelayPort::Wanted::kStop, 0);
    for (std::thread& thread : running_) thread.join();
  }

  RelayPlace hand_over(const Link& guest, const Link& host, std::uint32_t flow = 7) {
    Stream stream;
    stream.guest = SocketHandle{guest.socket};
    stream.host = SocketHandle{host.socket};
    const std::optional<RelayPlace> place =
        relays.hand_over(SocketOwner{.generation = 3, .index = flow}, stream);
    EXPECT_TRUE(place);
    return place.value_or(RelayPlace{});
  }
  RelayNews next_news() {
    for (int i = 0; i < 100; ++i) {
      if (std::optional<RelayNews> news = relays.next_news()) return *news;
      if (!waits_for(relays.news_descriptor(), POLLIN)) break;
      relays.take_wake_up();
    }
    ADD_FAILURE() << "no news";
    return {};
  }

  RelayThreads threads;
  EventLoop loop;
  StreamRelay streams;
  KernelRelays relays;

 private:
  std::binary_semaphore ready_{0};
  std::vector<std::thread> running_;
};

TEST_F(KernelRelaysTest, MoveBothWaysUntilBothHalvesHaveEnded) {
  const Link guest = unix_link();
  const Link host = unix_link();
  guest.says("said before the relay had it");
  const RelayPlace place = hand_over(guest, host);
  EXPECT_EQ(host.hears(28), "said before the relay had it");
  host.says("an answer");
  EXPECT_EQ(guest.hears(9), "an answer");
  host.ends();
  EXPECT_EQ(guest.hears_the_end(), 0);
  guest.says("more, long after that");
  EXPECT_EQ(host.hears(21), "more, long after that");
  // A moment may pass between what is heard and what is counted.
  for (int i = 0; i < kPatienceMilliseconds && relays.counts(place).up < 49; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(relays.counts(place).up, 49U);
  EXPECT_EQ(relays.counts(place).down, 9U);
  EXPECT_TRUE(relays.counts(place).is_half_closed);
  guest.ends();
  EXPECT_EQ(host.hears_the_end(), 0);
  const RelayNews news = next_news();
  EXPECT_EQ(news.kind, RelayNews::Kind::kClosed);
  EXPECT_EQ(news.owner.index, 7U);
  EXPECT_EQ(news.owner.generation, 3U);
  EXPECT_EQ(news.stream.up.octets, 49U);
  EXPECT_EQ(news.stream.down.octets, 9U);
  EXPECT_FALSE(news.stream.host.is_open());
}

TEST_F(KernelRelaysTest, HaveTheSocketsInTablesOfTheirOwn) {
  const Link guest = unix_link();
  const Link host = unix_link();
  (void)hand_over(guest, host);
  EXPECT_EQ(fcntl(guest.socket, F_GETFD), -1);
  EXPECT_EQ(fcntl(host.socket, F_GETFD), -1);
  guest.says("and they live on");
  EXPECT_EQ(host.hears(16), "and they live on");
}

TEST_F(KernelRelaysTest, TakeNothingThatCannotBeSentAtThisMoment) {
  // Its relays do not serve: what is sent to one stays under way.
  RelayThreads still = RelayThreads::open(1, kDescriptors, true).value();
  KernelRelays to_nobody(still, loop, streams);
  std::vector<Link> links;
  std::size_t given = 0;
  for (bool is_taken = true; is_taken && given < 2000; given += is_taken ? 1 : 0) {
    links.push_back(unix_link());
    links.push_back(unix_link());
    Stream stream;
    stream.guest = SocketHandle{links[links.size() - 2].socket};
    stream.host = SocketHandle{links.back().socket};
    is_taken = to_nobody.hand_over({}, stream).has_value();
  }
  EXPECT_GT(given, 10U);
  ASSERT_LT(given, 2000U);
  // As before: open, and watched.
  links.back().says("x");
  const auto events = loop.wait(monotonic_now(), monotonic_now() + std::chrono::seconds(10));
  EXPECT_FALSE(events.empty());
  streams.reset(SocketHandle{links.back().socket});
  streams.reset(SocketHandle{links[links.size() - 2].socket});
}

TEST_F(KernelRelaysTest, GoOnWithAStreamThatIsHalfClosedAlready) {
  const Link guest = unix_link();
  const Link host = unix_link();
  guest.ends();
  Stream stream;
  stream.guest = SocketHandle{guest.socket};
  stream.host = SocketHandle{host.socket};
  stream.up.is_done = true;
  stream.down.octets = 100;
  (void)relays.hand_over({}, stream);
  host.says("the rest");
  EXPECT_EQ(guest.hears(8), "the rest");
  host.ends();
  const RelayNews news = next_news();
  EXPECT_EQ(news.kind, RelayNews::Kind::kClosed);
  EXPECT_EQ(news.stream.down.octets, 108U);
  EXPECT_EQ(host.hears_the_end(), 0) << "by close(), as the worker had said it already";
}

TEST_F(KernelRelaysTest, PassAResetOnBehindWhatWasSaidBeforeIt) {
  const Link guest = tcp_link();
  Link host = tcp_link();
  (void)hand_over(guest, host);
  host.says("last words");
  EXPECT_EQ(guest.hears(10), "last words");
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  ASSERT_EQ(setsockopt(host.peer.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
  host.peer.reset();
  EXPECT_EQ(guest.hears_the_end(), ECONNRESET);
  EXPECT_EQ(next_news().kind, RelayNews::Kind::kReset);
}

TEST_F(KernelRelaysTest, ResetBothEndsWhenTheyAreTold) {
  const Link guest = tcp_link();
  const Link host = tcp_link();
  const RelayPlace place = hand_over(guest, host);
  relays.end(place);
  EXPECT_EQ(guest.hears_the_end(), ECONNRESET);
  EXPECT_EQ(host.hears_the_end(), ECONNRESET);
  EXPECT_EQ(next_news().kind, RelayNews::Kind::kReset);
}

TEST_F(KernelRelaysTest, TakeNoNoticeOfOrdersThatComeTooLate) {
  for (int i = 0; i < 200; ++i) {
    const Link guest = unix_link();
    const Link host = unix_link();
    const RelayPlace place = hand_over(guest, host);
    guest.ends();
    host.ends();
    EXPECT_EQ(guest.hears_the_end(), 0);
    // It may have told by now, or not; it is told once.
    if (i % 3 != 0) relays.take_back(place);
    relays.end(place);
    const RelayNews news = next_news();
    if (news.kind == RelayNews::Kind::kReturned) {
      streams.reset(news.stream.guest);
      streams.reset(news.stream.host);
    }
  }
  EXPECT_FALSE(relays.next_news());
}

TEST_F(KernelRelaysTest, GiveAStreamBackWithAllThatTheyHaveTakenFromItsSource) {
  const Link guest = unix_link();
  const Link host = unix_link();
  // Nobody reads at the host's end: the sink is full, and then the pipe.
  const std::string piece(4096, 'x');
  std::size_t said = 0;
  const RelayPlace place = hand_over(guest, host);
  for (int quiet = 0; quiet < 20;) {
    pollfd writable{.fd = guest.peer.get(), .events = POLLOUT, .revents = 0};
    if (poll(&writable, 1, 10) == 1) {
      const ssize_t size = send(guest.peer.get(), piece.data(), piece.size(), MSG_DONTWAIT);
      if (size > 0) said += static_cast<std::size_t>(size);
    } else {
      ++quiet;
    }
  }
  relays.take_back(place);
  RelayNews news = next_news();
  ASSERT_EQ(news.kind, RelayNews::Kind::kReturned);
  ASSERT_TRUE(news.stream.guest.is_open());
  EXPECT_GT(news.stream.up.hold.octets, 0U);
  // It goes on here.
  std::size_t heard = 0;
  while (heard < said) {
    heard += host.hears(1).size();
    std::array<char, 65536> more{};
    for (ssize_t size = 0;
         (size = recv(host.peer.get(), more.data(), more.size(), MSG_DONTWAIT)) > 0;) {
      heard += static_cast<std::size_t>(size);
    }
    const Transfer transfer = streams.move(news.stream.guest, news.stream.host, news.stream.up.hold,
                                           SourceState{}, 1U << 20);
    ASSERT_NE(transfer.stop, Transfer::Stop::kSinkError);
  }
  EXPECT_EQ(heard, said);
  streams.reset(news.stream.guest);
  streams.reset(news.stream.host);
}

TEST_F(KernelRelaysTest, ShareStreamsOutEvenly) {
  std::vector<Link> links;
  std::array<int, 2> given{};
  for (int i = 0; i < 20; ++i) {
    links.push_back(unix_link());
    links.push_back(unix_link());
    ++given.at(hand_over(links[links.size() - 2], links.back()).relay);
  }
  EXPECT_EQ(given[0], 10);
  EXPECT_EQ(given[1], 10);
  links.clear();
  for (int i = 0; i < 20; ++i) (void)next_news();
  EXPECT_EQ(threads.threads[0]->port().streams() + threads.threads[1]->port().streams(), 0U);
}

TEST_F(KernelRelaysTest, UsePlacesAgain) {
  for (int round = 0; round < 3; ++round) {
    std::vector<Link> links;
    std::vector<std::uint16_t> places;
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(relays.has_room());
      links.push_back(unix_link());
      links.push_back(unix_link());
      places.push_back(hand_over(links[links.size() - 2], links.back()).index);
    }
    EXPECT_LT(*std::max_element(places.begin(), places.end()), 50);
    links.clear();
    for (int i = 0; i < 100; ++i) (void)next_news();
  }
}

TEST_F(KernelRelaysTest, MixNothingUpAmongManyStreams) {
  constexpr std::size_t kStreams = 64;
  constexpr std::size_t kOctets = 300'000;
  std::vector<Link> guests;
  std::vector<Link> hosts;
  for (std::size_t i = 0; i < kStreams; ++i) {
    guests.push_back(unix_link());
    hosts.push_back(unix_link());
    (void)hand_over(guests[i], hosts[i], static_cast<std::uint32_t>(i));
  }
  const auto text_of = [](std::size_t stream, bool is_up) {
    std::string text(kOctets, '\0');
    for (std::size_t at = 0; at < kOctets; ++at) {
      text[at] = static_cast<char>(at * (2 * stream + 1) + (at >> 8) + (is_up ? 1 : 0));
    }
    return text;
  };
  std::thread speakers([&] {
    for (std::size_t i = 0; i < kStreams; ++i) {
      std::thread up([&] { guests[i].says(text_of(i, true)); });
      hosts[i].says(text_of(i, false));
      up.join();
      guests[i].ends();
      hosts[i].ends();
    }
  });
  for (std::size_t i = 0; i < kStreams; ++i) {
    std::thread up([&] { EXPECT_EQ(hosts[i].hears(kOctets), text_of(i, true)); });
    EXPECT_EQ(guests[i].hears(kOctets), text_of(i, false));
    up.join();
  }
  speakers.join();
  for (std::size_t i = 0; i < kStreams; ++i) {
    const RelayNews news = next_news();
    EXPECT_EQ(news.kind, RelayNews::Kind::kClosed);
    EXPECT_EQ(news.stream.up.octets, kOctets);
    EXPECT_EQ(news.stream.down.octets, kOctets);
  }
}

}  // namespace
}  // namespace cordon
