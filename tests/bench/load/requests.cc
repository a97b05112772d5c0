// Request and response on one open connection (or UDP association), one after the other: the
// latency that a tool adds.
#include <array>
#include <cerrno>
#include <sys/time.h>

#include <fmt/format.h>

#include "tests/bench/load/protocol.h"
#include "tests/bench/load/sockets.h"

namespace cordon::bench {
namespace {

void set_timeout(int fd, int milliseconds) {
  const timeval time{milliseconds / 1000, (milliseconds % 1000) * 1000L};
  must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), "SO_RCVTIMEO");
}

UniqueFd connect_udp(const SocketAddress& to) {
  UniqueFd fd = open_udp(to.family());
  must(connect(fd.get(), to.get(), to.length), "connect");
  return fd;
}

}  // namespace

// requests --to ADDR:PORT --protocol tcp|udp --seconds S
int load_requests(const Options& options) {
  const SocketAddress server = options.addresses("to").front();
  const bool is_tcp = options.text("protocol", "tcp") == "tcp";
  const UniqueFd fd = is_tcp ? connect_tcp(server) : connect_udp(server);
  set_timeout(fd.get(), is_tcp ? 3000 : 500);
  std::array<char, kRequestOctets> request{};
  request.fill(kEcho);
  std::array<char, kRequestOctets> answer{};
  Latencies latencies;
  std::uint64_t lost = 0;
  std::uint64_t sent = 0;
  const std::int64_t start = now_ns();
  const std::int64_t end =
      start + static_cast<std::int64_t>(options.number("seconds", 1) * kSecond);
  for (std::int64_t begun = start; begun < end; begun = now_ns()) {
    if (send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) die("send");
    const ssize_t got = recv(fd.get(), answer.data(), answer.size(), is_tcp ? MSG_WAITALL : 0);
    if (got == static_cast<ssize_t>(answer.size())) {
      // The first ones open the flow.
      if (++sent > 10) latencies.add(now_ns() - begun);
    } else if (is_tcp || errno != EAGAIN) {
      die("no answer");
    } else if (++lost > 5) {
      die_plainly("no answers");
    }
  }
  if (latencies.size() == 0) die_plainly("no answers");
  const double rate = static_cast<double>(latencies.size()) / seconds_of(now_ns() - start);
  tell(fmt::format(R"({{"rate":{:.1f},"lost":{},{}}})", rate, lost, latencies.json()));
  return 0;
}

}  // namespace cordon::bench
