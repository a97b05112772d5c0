// Many connections at once: idle ones, or each with a small request now and then.
//
// The requests come at a fixed rate whether or not answers do, the connections taking turns, and a
// latency counts from when its request was due. So a tool that serves a neighbour first shows it.
// A connection whose answer has not come yet lets its next turn pass; that is counted as late.
#include <array>
#include <cerrno>
#include <poll.h>
#include <sys/epoll.h>

#include <fmt/format.h>

#include "tests/bench/load/protocol.h"
#include "tests/bench/load/sockets.h"

namespace cordon::bench {
namespace {

// Connections that are being opened at one time: below what anybody's backlog or limits hold.
constexpr std::size_t kOpening = 64;

class Flows {
 public:
  Flows() : poller_(must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")) {}

  void open(const std::vector<SocketAddress>& servers, std::size_t count) {
    for (std::size_t i = 0; i < count; i += kOpening) {
      const std::size_t first = all_.size();
      for (std::size_t k = i; k < std::min(count, i + kOpening); ++k) {
        begin(servers[k % servers.size()]);
      }
      for (std::size_t k = first; k < all_.size(); ++k) finish(k);
    }
  }

  void request_until(double rate, std::int64_t end) {
    const std::int64_t start = now_ns();
    std::size_t sent = 0;
    for (std::int64_t now = start; now < end; now = now_ns()) {
      while (start + due(sent, rate) <= now) {
        request(sent % all_.size(), start + due(sent, rate));
        ++sent;
      }
      receive(static_cast<int>((start + due(sent, rate) - now) / 1'000'000));
    }
    receive(200);
  }

  [[nodiscard]] std::size_t size() const { return all_.size(); }
  [[nodiscard]] std::uint64_t late() const { return late_; }
  Latencies& latencies() { return latencies_; }

 private:
  struct Flow {
    UniqueFd fd;
    std::int64_t due = 0;  // of the request that waits for its answer; 0: none does
    std::size_t missing = 0;
  };

  static std::int64_t due(std::size_t request, double rate) {
    return static_cast<std::int64_t>(static_cast<double>(request) / rate * kSecond);
  }

  void begin(const SocketAddress& server) {
    UniqueFd fd = open_tcp(server.family());
    if (connect(fd.get(), server.get(), server.length) != 0 && errno != EINPROGRESS) {
      die("connect");
    }
    all_.push_back({std::move(fd)});
  }

  // Waits until the connection stands, and says what it is for: one octet, which comes back.
  void finish(std::size_t index) {
    const int fd = all_[index].fd.get();
    pollfd waiting{fd, POLLOUT, 0};
    if (poll(&waiting, 1, 10'000) != 1) die_plainly("connect: no answer");
    if (send(fd, &kEcho, 1, MSG_NOSIGNAL) != 1) die(fmt::format("connection {}", index));
    char answer = 0;
    waiting.events = POLLIN;
    if (poll(&waiting, 1, 10'000) != 1) die_plainly("no answer on a new connection");
    if (recv(fd, &answer, 1, 0) != 1) die(fmt::format("connection {}", index));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = index;
    must(epoll_ctl(poller_.get(), EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  }

  void request(std::size_t index, std::int64_t due) {
    Flow& flow = all_[index];
    if (flow.due != 0) {
      ++late_;
      return;
    }
    flow.due = due;
    flow.missing = request_.size();
    if (send(flow.fd.get(), request_.data(), request_.size(), MSG_NOSIGNAL) < 0) die("send");
  }

  void receive(int milliseconds) {
    std::array<epoll_event, 256> events{};
    const int ready =
        epoll_wait(poller_.get(), events.data(), events.size(), std::max(milliseconds, 0));
    for (int i = 0; i < ready; ++i) {
      Flow& flow = all_[events[static_cast<std::size_t>(i)].data.u64];
      const ssize_t got = recv(flow.fd.get(), answer_.data(), answer_.size(), 0);
      if (got <= 0) die("a connection was lost");
      flow.missing -= static_cast<std::size_t>(got);
      if (flow.missing > 0) continue;
      latencies_.add(now_ns() - flow.due);
      flow.due = 0;
    }
  }

  UniqueFd poller_;
  std::vector<Flow> all_;
  std::uint64_t late_ = 0;
  Latencies latencies_;
  std::array<char, kRequestOctets> request_{};
  std::array<char, 256> answer_{};
};

}  // namespace

// flows --to ADDR:PORT… --count N [--rate R --seconds S]
//
// Says {"ready":true} once all are open. Without a rate they stay open until stdin ends.
int load_flows(const Options& options) {
  Flows flows;
  flows.open(options.addresses("to"), static_cast<std::size_t>(options.integer("count", 1000)));
  tell(R"({"ready":true})");
  const double rate = options.number("rate", 0);
  if (rate <= 0) {
    pollfd waiting{0, POLLIN, 0};
    poll(&waiting, 1, -1);
    tell(fmt::format(R"({{"held":{}}})", flows.size()));
    return 0;
  }
  const auto seconds = static_cast<std::int64_t>(options.number("seconds", 1) * kSecond);
  flows.request_until(rate, now_ns() + seconds);
  tell(fmt::format(R"({{"answers":{},"late":{},{}}})", flows.latencies().size(), flows.late(),
                   flows.latencies().json()));
  return 0;
}

}  // namespace cordon::bench
