// Connect, request, response, close: `concurrency` of them at once, each as soon as the one before
// it is over. The server closes first, so no port of the client stays in TIME_WAIT.
#include <array>
#include <cerrno>
#include <cstring>
#include <sys/epoll.h>

#include <fmt/format.h>

#include "tests/bench/load/protocol.h"
#include "tests/bench/load/sockets.h"

namespace cordon::bench {
namespace {

// A connection that has not ended after this has failed.
constexpr std::int64_t kPatience = 3 * kSecond;

class Client {
 public:
  Client(std::vector<SocketAddress> servers, std::size_t concurrency)
      : servers_(std::move(servers)),
        poller_(must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
        slots_(concurrency) {
    request_.fill(kConnection);
  }

  void run_until(std::int64_t end) {
    for (std::size_t i = 0; i < slots_.size(); ++i) start(i);
    std::array<epoll_event, 256> events{};
    while (now_ns() < end) {
      const int ready = epoll_wait(poller_.get(), events.data(), events.size(), 10);
      for (int i = 0; i < ready; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        on_event(event.data.u64, event.events);
      }
      if (ready == 0) give_up();
    }
  }

  [[nodiscard]] std::uint64_t failures() const { return failures_; }
  Latencies& latencies() { return latencies_; }
  void forget() {
    latencies_ = Latencies();
    failures_ = 0;
  }

 private:
  struct Slot {
    UniqueFd fd;
    std::int64_t started = 0;
    bool has_sent = false;
    bool has_answer = false;
  };

  void start(std::size_t index) {
    Slot& slot = slots_[index];
    const SocketAddress& server = servers_[next_server_++ % servers_.size()];
    slot = Slot{open_tcp(server.family()), now_ns(), false, false};
    if (connect(slot.fd.get(), server.get(), server.length) != 0 && errno != EINPROGRESS) {
      die("connect");
    }
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.u64 = index;
    must(epoll_ctl(poller_.get(), EPOLL_CTL_ADD, slot.fd.get(), &event), "epoll_ctl");
  }

  void on_event(std::size_t index, std::uint32_t events) {
    Slot& slot = slots_[index];
    if (!slot.has_sent && (events & EPOLLOUT) != 0) {
      slot.has_sent = true;
      if (send(slot.fd.get(), request_.data(), request_.size(), MSG_NOSIGNAL) !=
          static_cast<ssize_t>(request_.size())) {
        return finish(index, false);
      }
    }
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0) return;
    for (;;) {
      const ssize_t got = recv(slot.fd.get(), answer_.data(), answer_.size(), 0);
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) return finish(index, got == 0 && slot.has_answer);
      slot.has_answer = true;
    }
  }

  void finish(std::size_t index, bool is_good) {
    if (is_good) {
      latencies_.add(now_ns() - slots_[index].started);
    } else {
      ++failures_;
    }
    start(index);
  }

  void give_up() {
    const std::int64_t oldest = now_ns() - kPatience;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].started < oldest) finish(i, false);
    }
  }

  std::vector<SocketAddress> servers_;
  std::size_t next_server_ = 0;
  UniqueFd poller_;
  std::vector<Slot> slots_;
  std::uint64_t failures_ = 0;
  Latencies latencies_;
  std::array<char, kRequestOctets> request_{};
  std::array<char, 256> answer_{};
};

}  // namespace

// connections --to ADDR:PORT… --concurrency N --seconds S [--warmup S]
int load_connections(const Options& options) {
  Client client(options.addresses("to"),
                static_cast<std::size_t>(options.integer("concurrency", 1)));
  client.run_until(now_ns() + static_cast<std::int64_t>(options.number("warmup", 0.1) * kSecond));
  client.forget();
  const std::int64_t start = now_ns();
  client.run_until(start + static_cast<std::int64_t>(options.number("seconds", 1) * kSecond));
  const double seconds = seconds_of(now_ns() - start);
  const auto done = static_cast<double>(client.latencies().size());
  tell(fmt::format(R"({{"rate":{:.1f},"failures":{},{}}})", done / seconds, client.failures(),
                   client.latencies().json()));
  return 0;
}

}  // namespace cordon::bench
