// Bulk streams. What counts is what the far end has got: for streams upwards the server is asked
// for its counter and its clock at the start and at the end of the window, so that what still
// stands in buffers on the way is not counted.
#include <array>
#include <cerrno>
#include <random>
#include <sys/epoll.h>
#include <thread>

#include <fmt/format.h>

#include "tests/bench/load/protocol.h"
#include "tests/bench/load/sockets.h"

namespace cordon::bench {
namespace {

struct Count {
  std::uint64_t octets = 0;
  std::int64_t now = 0;
};

// The connection on which the server tells its counters.
class Reporter {
 public:
  Reporter(const SocketAddress& server, std::uint32_t session)
      : fd_(connect_tcp(server)), head_{kReport, session} {}

  Count ask() {
    // The first octets of the connection say what it is for; any other octet asks again.
    const std::size_t octets = has_asked_ ? 1 : sizeof head_;
    has_asked_ = true;
    if (send(fd_.get(), &head_, octets, MSG_NOSIGNAL) < 0) die("report");
    Report report;
    if (recv(fd_.get(), &report, sizeof report, MSG_WAITALL) != sizeof report) die("report");
    return {report.octets, report.now};
  }

 private:
  UniqueFd fd_;
  SessionHead head_;
  bool has_asked_ = false;
};

// Streams of one direction, driven by one thread.
class Streams {
 public:
  Streams(const SocketAddress& server, int count, bool is_up, std::uint32_t session)
      : poller_(must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")), is_up_(is_up) {
    const SessionHead head{is_up ? kSink : kSource, session};
    for (int i = 0; i < count; ++i) {
      UniqueFd fd = connect_tcp(server);
      const std::size_t octets = is_up ? sizeof head : 1;
      if (send(fd.get(), &head, octets, MSG_NOSIGNAL) < 0) die("send");
      set_blocking(fd.get(), false);
      epoll_event event{};
      event.events = is_up ? EPOLLOUT : EPOLLIN;
      event.data.fd = fd.get();
      must(epoll_ctl(poller_.get(), EPOLL_CTL_ADD, fd.get(), &event), "epoll_ctl");
      all_.push_back(std::move(fd));
    }
  }

  void run_until(std::int64_t end) {
    std::array<epoll_event, 64> events{};
    for (std::int64_t now = now_ns(); now < end; now = now_ns()) {
      const int left = static_cast<int>((end - now) / 1'000'000) + 1;
      const int ready = epoll_wait(poller_.get(), events.data(), events.size(), left);
      for (int i = 0; i < ready; ++i) turn(events[static_cast<std::size_t>(i)].data.fd);
    }
  }

  [[nodiscard]] std::uint64_t received() const { return octets_; }

 private:
  void turn(int fd) {
    for (int i = 0; i < 4; ++i) {
      const ssize_t done = is_up_ ? send(fd, buffer_.data(), buffer_.size(), MSG_NOSIGNAL)
                                  : recv(fd, buffer_.data(), buffer_.size(), 0);
      if (done < 0 && errno == EAGAIN) return;
      if (done < 0) die(is_up_ ? "send" : "recv");
      if (done == 0) die_plainly("the stream ended early");
      octets_ += static_cast<std::uint64_t>(done);
    }
  }

  UniqueFd poller_;
  bool is_up_;
  std::uint64_t octets_ = 0;
  std::vector<UniqueFd> all_;
  std::vector<char> buffer_ = std::vector<char>(kBufferOctets);
};

}  // namespace

// stream --to ADDR:PORT --direction up|down --streams N --seconds S [--warmup S]
int load_stream(const Options& options) {
  const SocketAddress server = options.addresses("to").front();
  const bool is_up = options.text("direction", "up") == "up";
  const std::uint32_t session = std::random_device()();
  Reporter reporter(server, session);
  const std::uint64_t before = reporter.ask().octets;
  Streams streams(server, options.integer("streams", 1), is_up, session);
  const auto count = [&] { return is_up ? reporter.ask() : Count{streams.received(), now_ns()}; };
  const auto window = static_cast<std::int64_t>(options.number("seconds", 1) * kSecond);
  const auto warmup = static_cast<std::int64_t>(options.number("warmup", 0.2) * kSecond);
  const std::int64_t start = now_ns() + warmup;
  streams.run_until(start);
  const Count first = count();
  streams.run_until(start + window);
  const Count last = count();
  const double seconds = seconds_of(last.now - first.now);
  const auto octets = static_cast<double>(last.octets - first.octets);
  const std::uint64_t all = last.octets - (is_up ? before : 0);
  tell(fmt::format(R"({{"gbit":{:.4f},"seconds":{:.3f},"octets":{}}})", octets * 8 / 1e9 / seconds,
                   seconds, all));
  return 0;
}

}  // namespace cordon::bench
