// What all load programs share: addresses, sockets that have the same manners whatever the program
// and the tool under test, the clock, and one line of JSON as the result.
//
// A load program measures others, so it must not be what limits: buffers are large, nothing is
// copied but by the kernel, and a batch is one system call. Whether that is so shows in the figure
// of the direct path, which stands beside every other.
//
// A failure of the program itself ends it with status 1 and a line on stderr: a figure that is
// half true is worth nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <netinet/in.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <vector>

#include "netstack/host/descriptor/unique_fd.h"

namespace cordon::bench {

/// One address and port of either family.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  /// `198.51.100.17:5001` or `[2001:db8:1::11]:5001`; ends the program where it is neither.
  static SocketAddress parse(std::string_view text);
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  [[nodiscard]] int family() const { return storage.ss_family; }
};

/// `--key value` pairs after the name of the load; everything after `--` is kept apart.
class Options {
 public:
  Options(int count, char** words);
  [[nodiscard]] std::string text(const std::string& key, const std::string& fallback = "") const;
  [[nodiscard]] std::vector<std::string> all(const std::string& key) const;
  [[nodiscard]] double number(const std::string& key, double fallback) const;
  [[nodiscard]] int integer(const std::string& key, int fallback) const;
  [[nodiscard]] std::vector<SocketAddress> addresses(const std::string& key) const;
  [[nodiscard]] const std::vector<std::string>& command() const { return command_; }

 private:
  std::multimap<std::string, std::string> values_;
  std::vector<std::string> command_;
};

/// Ends the program with `what` and errno's text.
[[noreturn]] void die(std::string_view what);
/// Ends the program with `what` alone.
[[noreturn]] void die_plainly(std::string_view what);
/// The result of a call that must not fail.
int must(int result, std::string_view what);

/// CLOCK_MONOTONIC in nanoseconds.
std::int64_t now_ns();
constexpr std::int64_t kSecond = 1'000'000'000;
inline double seconds_of(std::int64_t nanoseconds) {
  return static_cast<double>(nanoseconds) / kSecond;
}

/// Non-blocking and close-on-exec, with TCP_NODELAY and the benchmark's congestion control.
UniqueFd open_tcp(int family);
/// The manners of open_tcp() on a socket that was accepted.
void set_tcp_manners(int fd);
/// Connected and blocking; ends the program where that fails within `seconds`.
UniqueFd connect_tcp(const SocketAddress& to, double seconds = 5);
UniqueFd open_udp(int family);
UniqueFd listen_on(const SocketAddress& address);
void set_blocking(int fd, bool is_blocking);
void set_integer(int fd, int level, int option, int value, std::string_view name);

/// Watches `fd` for `events`; poll_for_ever() names it by its number.
void watch(int poller, int fd, std::uint32_t events);
/// Tells each descriptor that has an event, for as long as the program lives.
[[noreturn]] void poll_for_ever(int poller, const std::function<void(int)>& on_ready);

/// Percentiles over samples in nanoseconds, told in microseconds.
class Latencies {
 public:
  void add(std::int64_t nanoseconds) { samples_.push_back(nanoseconds); }
  [[nodiscard]] std::size_t size() const { return samples_.size(); }
  /// `"p50":12.3,"p99":…,"p999":…,"max":…`, zeroes where there is no sample.
  [[nodiscard]] std::string json();

 private:
  std::vector<std::int64_t> samples_;
};

/// Tells the result: one line, flushed.
void tell(const std::string& json);

// The loads, each in a file of its own.
int serve(const Options& options);
int relay(const Options& options);
int load_stream(const Options& options);
int load_connections(const Options& options);
int load_requests(const Options& options);
int load_flows(const Options& options);
int load_datagrams(const Options& options);
int load_questions(const Options& options);
int load_starts(const Options& options);

}  // namespace cordon::bench
