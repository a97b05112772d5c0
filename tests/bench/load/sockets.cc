#include "tests/bench/load/sockets.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <fmt/format.h>

namespace cordon::bench {

void die_plainly(std::string_view what) {
  fmt::print(stderr, "bench_load: {}\n", what);
  std::exit(1);
}

void die(std::string_view what) { die_plainly(fmt::format("{}: {}", what, std::strerror(errno))); }

int must(int result, std::string_view what) {
  if (result < 0) die(what);
  return result;
}

SocketAddress SocketAddress::parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) die_plainly(fmt::format("{}: no port", text));
  std::string host(text.substr(0, colon));
  const long port = std::strtol(std::string(text.substr(colon + 1)).c_str(), nullptr, 10);
  if (port <= 0 || port > 65535) die_plainly(fmt::format("{}: no such port", text));
  SocketAddress result;
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&result.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<std::uint16_t>(port));
    result.length = sizeof *v6;
    if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) return result;
  } else {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&result.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<std::uint16_t>(port));
    result.length = sizeof *v4;
    if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) return result;
  }
  die_plainly(fmt::format("{}: not an address and a port", text));
}

Options::Options(int count, char** words) {
  for (int i = 0; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--") {
      command_.assign(words + i + 1, words + count);
      return;
    }
    if (!word.starts_with("--") || i + 1 == count) {
      die_plainly(fmt::format("{}: not an option with a value", word));
    }
    values_.emplace(word.substr(2), words[++i]);
  }
}

std::string Options::text(const std::string& key, const std::string& fallback) const {
  const auto found = values_.find(key);
  return found == values_.end() ? fallback : found->second;
}

std::vector<std::string> Options::all(const std::string& key) const {
  std::vector<std::string> result;
  const auto [first, last] = values_.equal_range(key);
  for (auto it = first; it != last; ++it) result.push_back(it->second);
  return result;
}

double Options::number(const std::string& key, double fallback) const {
  const auto found = values_.find(key);
  return found == values_.end() ? fallback : std::strtod(found->second.c_str(), nullptr);
}

int Options::integer(const std::string& key, int fallback) const {
  return static_cast<int>(number(key, fallback));
}

std::vector<SocketAddress> Options::addresses(const std::string& key) const {
  std::vector<SocketAddress> result;
  for (const std::string& text : all(key)) result.push_back(SocketAddress::parse(text));
  if (result.empty()) die_plainly(fmt::format("--{} is missing", key));
  return result;
}

std::int64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

void set_integer(int fd, int level, int option, int value, std::string_view name) {
  must(setsockopt(fd, level, option, &value, sizeof value), name);
}

void set_tcp_manners(int fd) {
  set_integer(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
  // The same for all tools: a namespace inherits the machine's default, which may pace.
  constexpr std::string_view kCongestionControl = "reno";
  must(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kCongestionControl.data(),
                  static_cast<socklen_t>(kCongestionControl.size())),
       "TCP_CONGESTION");
}

UniqueFd open_tcp(int family) {
  UniqueFd fd(must(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket"));
  set_tcp_manners(fd.get());
  return fd;
}

UniqueFd listen_on(const SocketAddress& address) {
  UniqueFd fd = open_tcp(address.family());
  set_integer(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  must(bind(fd.get(), address.get(), address.length), "bind");
  must(listen(fd.get(), 4096), "listen");
  return fd;
}

void watch(int poller, int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  must(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

void poll_for_ever(int poller, const std::function<void(int)>& on_ready) {
  std::array<epoll_event, 256> events{};
  for (;;) {
    const int ready = epoll_wait(poller, events.data(), events.size(), -1);
    if (ready < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < ready; ++i) on_ready(events[static_cast<std::size_t>(i)].data.fd);
  }
}

void set_blocking(int fd, bool is_blocking) {
  const int flags = must(fcntl(fd, F_GETFL), "F_GETFL");
  must(fcntl(fd, F_SETFL, is_blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK), "F_SETFL");
}

UniqueFd connect_tcp(const SocketAddress& to, double seconds) {
  UniqueFd fd = open_tcp(to.family());
  if (connect(fd.get(), to.get(), to.length) != 0) {
    if (errno != EINPROGRESS) die("connect");
    pollfd waiting{fd.get(), POLLOUT, 0};
    if (poll(&waiting, 1, static_cast<int>(seconds * 1000)) != 1) die_plainly("connect: no answer");
    socklen_t size = sizeof errno;
    must(getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &errno, &size), "SO_ERROR");
    if (errno != 0) die("connect");
  }
  set_blocking(fd.get(), true);
  return fd;
}

UniqueFd open_udp(int family) {
  UniqueFd fd(must(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"));
  // As much as an ordinary user gets (net.core.rmem_max cuts it).
  set_integer(fd.get(), SOL_SOCKET, SO_RCVBUF, 4 << 20, "SO_RCVBUF");
  set_integer(fd.get(), SOL_SOCKET, SO_SNDBUF, 4 << 20, "SO_SNDBUF");
  return fd;
}

std::string Latencies::json() {
  std::sort(samples_.begin(), samples_.end());
  const auto at = [this](double share) {
    if (samples_.empty()) return 0.0;
    const auto index = static_cast<std::size_t>(share * static_cast<double>(samples_.size() - 1));
    return static_cast<double>(samples_[index]) / 1000;
  };
  return fmt::format(R"("p50":{:.1f},"p99":{:.1f},"p999":{:.1f},"max":{:.1f})", at(0.5), at(0.99),
                     at(0.999), at(1));
}

void tell(const std::string& json) {
  fmt::print("{}\n", json);
  if (std::fflush(stdout) != 0) die("stdout");
}

}  // namespace cordon::bench
