// About what every relay in user space pays: accepts, connects, and moves octets with as few calls
// as there can be, by recv() and send() while little comes and by splice() when much does. No
// sandbox, no policy, no name, no limit. Beside it a tool's figure says what the tool adds, and
// beside the direct path it says what a second pair of sockets costs on this machine.
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <memory>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

#include "tests/bench/load/sockets.h"

namespace cordon::bench {
namespace {

constexpr int kPipeOctets = 256 * 1024;
constexpr std::size_t kCopyOctets = std::size_t{16} * 1024;
constexpr std::size_t kSpliceOctets = std::size_t{1024} * 1024;

// One direction. Everything waits for the next event of whom it waits for.
class Half {
 public:
  void join(int from, int to) { from_ = from, to_ = to; }
  [[nodiscard]] bool has_ended() const { return has_ended_; }

  /// False where either socket is broken.
  bool move(std::vector<char>& buffer) {
    while (!has_ended_) {
      if (!pass_on()) return is_alive_;
      const ssize_t got = read_.is_open() ? take() : copy(buffer);
      if (got == 0) {
        has_ended_ = true;
        shutdown(to_, SHUT_WR);
      }
      if (got < 0) return is_alive_ = errno == EAGAIN;
    }
    return true;
  }

 private:
  // False where the sink has not taken everything.
  bool pass_on() {
    while (held_ > 0) {
      const ssize_t sent = splice(read_.get(), nullptr, to_, nullptr, held_, SPLICE_F_NONBLOCK);
      if (sent <= 0) {
        is_alive_ = errno == EAGAIN;
        return false;
      }
      held_ -= static_cast<std::size_t>(sent);
    }
    return true;
  }

  ssize_t take() {
    const ssize_t got =
        splice(from_, nullptr, write_.get(), nullptr, kSpliceOctets, SPLICE_F_NONBLOCK);
    if (got > 0) held_ += static_cast<std::size_t>(got);
    return got;
  }

  ssize_t copy(std::vector<char>& buffer) {
    const ssize_t got = recv(from_, buffer.data(), buffer.size(), 0);
    if (got <= 0) return got;
    const auto octets = static_cast<std::size_t>(got);
    const auto sent = static_cast<std::size_t>(
        std::max<ssize_t>(0, send(to_, buffer.data(), octets, MSG_NOSIGNAL)));
    if (octets < buffer.size() && sent == octets) return got;
    open_pipe();
    if (sent < octets) {
      must(static_cast<int>(write(write_.get(), buffer.data() + sent, octets - sent)), "write");
      held_ = octets - sent;
    }
    return got;
  }

  void open_pipe() {
    std::array<int, 2> ends{};
    must(pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC), "pipe2");
    read_.reset(ends[0]);
    write_.reset(ends[1]);
    must(fcntl(ends[1], F_SETPIPE_SZ, kPipeOctets), "F_SETPIPE_SZ");
  }

  int from_ = -1;
  int to_ = -1;
  UniqueFd read_;
  UniqueFd write_;
  std::size_t held_ = 0;
  bool has_ended_ = false;
  bool is_alive_ = true;
};

struct Connection {
  UniqueFd near;
  UniqueFd far;
  Half up;
  Half down;
};

struct Port {
  UniqueFd listener;
  SocketAddress to;
};

class Relay {
 public:
  explicit Relay(std::vector<Port> ports)
      : poller_(must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")), ports_(std::move(ports)) {
    for (const Port& port : ports_) watch(poller_.get(), port.listener.get(), EPOLLIN);
  }

  [[noreturn]] void run() {
    poll_for_ever(poller_.get(), [this](int fd) { on_ready(fd); });
  }

 private:
  void on_ready(int fd) {
    for (const Port& port : ports_) {
      if (port.listener.get() == fd) return accept_all(port);
    }
    Connection* const connection = at(fd).get();
    if (connection == nullptr) return;  // ended by an earlier event of this turn
    const bool is_alive = connection->up.move(buffer_) && connection->down.move(buffer_);
    const bool is_over = connection->up.has_ended() && connection->down.has_ended();
    if (is_alive && !is_over) return;
    const int near = connection->near.get();
    const int far = connection->far.get();
    at(far) = nullptr;
    at(near) = nullptr;
  }

  void accept_all(const Port& port) {
    for (;;) {
      UniqueFd near(accept4(port.listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!near.is_open()) return;
      set_tcp_manners(near.get());
      UniqueFd far = open_tcp(port.to.family());
      if (connect(far.get(), port.to.get(), port.to.length) != 0 && errno != EINPROGRESS) continue;
      const int numbers[] = {near.get(), far.get()};
      auto connection = std::make_shared<Connection>();
      connection->up.join(near.get(), far.get());
      connection->down.join(far.get(), near.get());
      connection->near = std::move(near);
      connection->far = std::move(far);
      for (const int number : numbers) {
        at(number) = connection;
        watch(poller_.get(), number, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
      }
    }
  }

  std::shared_ptr<Connection>& at(int fd) {
    const auto place = static_cast<std::size_t>(fd);
    if (connections_.size() <= place) connections_.resize(place + 1);
    return connections_[place];
  }

  UniqueFd poller_;
  std::vector<Port> ports_;
  std::vector<std::shared_ptr<Connection>> connections_;  // by descriptor
  std::vector<char> buffer_ = std::vector<char>(kCopyOctets);
};

}  // namespace

// relay --listen ADDR:PORT --to ADDR:PORT, as often as wanted
int relay(const Options& options) {
  const std::vector<SocketAddress> listen = options.addresses("listen");
  const std::vector<SocketAddress> to = options.addresses("to");
  if (listen.size() != to.size()) die_plainly("relay: one --to for each --listen");
  std::vector<Port> ports;
  for (std::size_t i = 0; i < listen.size(); ++i) {
    ports.push_back({.listener = listen_on(listen[i]), .to = to[i]});
  }
  (void)std::signal(SIGPIPE, SIG_IGN);  // splice() has no MSG_NOSIGNAL
  tell(R"({"ready":true})");
  Relay(std::move(ports)).run();
  return 0;
}

}  // namespace cordon::bench
