// Datagrams one way, at a rate or as fast as it goes: how many were sent, how many arrived.
#include <array>
#include <cerrno>
#include <cstring>
#include <netinet/udp.h>
#include <poll.h>
#include <random>
#include <unistd.h>

#include <fmt/format.h>

#include "tests/bench/load/datagram_sender.h"
#include "tests/bench/load/protocol.h"
#include "tests/bench/load/sockets.h"

namespace cordon::bench {
namespace {

// Datagrams that are still under way when the sender has ended get this long.
constexpr int kDrainMilliseconds = 100;

struct Outcome {
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
};

Report ask_report(const SocketAddress& server, std::uint32_t session) {
  const UniqueFd fd = connect_tcp(server);
  const SessionHead head{kReport, session};
  Report report;
  if (send(fd.get(), &head, sizeof head, MSG_NOSIGNAL) < 0) die("report");
  if (recv(fd.get(), &report, sizeof report, MSG_WAITALL) != sizeof report) die("report");
  return report;
}

Outcome send_up(int fd, const SocketAddress& reports, const DatagramPlan& plan) {
  const std::uint64_t before = ask_report(reports, plan.session).datagrams;
  const std::uint64_t sent = send_datagrams(fd, nullptr, plan);
  std::uint64_t received = 0;
  for (int round = 0; round < 20; ++round) {  // until no more arrive
    usleep(kDrainMilliseconds * 1000);
    const std::uint64_t now = ask_report(reports, plan.session).datagrams - before;
    if (now == received || now == sent) {
      received = now;
      break;
    }
    received = now;
  }
  return {sent, received};
}

// Receives whatever comes, with UDP_GRO, and counts.
class Receiver {
 public:
  explicit Receiver(int fd) : fd_(fd) {
    set_integer(fd, SOL_UDP, UDP_GRO, 1, "UDP_GRO");
    for (std::size_t i = 0; i < kMessages; ++i) {
      iovs_[i] = {buffer_.data() + i * kMessageOctets, kMessageOctets};
    }
  }

  // False where nothing came within `milliseconds`.
  bool receive(int milliseconds, std::size_t datagram_octets) {
    pollfd waiting{fd_, POLLIN, 0};
    if (poll(&waiting, 1, milliseconds) != 1) return false;
    for (std::size_t i = 0; i < kMessages; ++i) {
      messages_[i].msg_hdr = {};
      messages_[i].msg_hdr.msg_iov = &iovs_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
    const int got = recvmmsg(fd_, messages_.data(), kMessages, MSG_DONTWAIT, nullptr);
    if (got < 0 && errno != EAGAIN && errno != ECONNREFUSED) die("recvmmsg");
    for (int i = 0; i < got; ++i) {
      const std::size_t octets = messages_[static_cast<std::size_t>(i)].msg_len;
      datagrams_ += (octets + datagram_octets - 1) / datagram_octets;
    }
    return true;
  }

  [[nodiscard]] std::uint64_t datagrams() const { return datagrams_; }

 private:
  static constexpr std::size_t kMessages = 32;
  static constexpr std::size_t kMessageOctets = 65536;
  int fd_;
  std::uint64_t datagrams_ = 0;
  std::vector<char> buffer_ = std::vector<char>(kMessages * kMessageOctets);
  std::array<iovec, kMessages> iovs_{};
  std::array<mmsghdr, kMessages> messages_{};
};

Outcome receive_down(int fd, const SocketAddress& reports, const DatagramPlan& plan) {
  Receiver receiver(fd);
  const Begin begin{.session = plan.session,
                    .octets = static_cast<std::uint32_t>(plan.octets),
                    .segments = static_cast<std::uint32_t>(plan.segments),
                    .rate = plan.rate,
                    .seconds = plan.seconds};
  for (int attempt = 0; receiver.datagrams() == 0; ++attempt) {
    if (attempt == 5) die_plainly("no datagrams came");
    if (send(fd, &begin, sizeof begin, 0) < 0) die("send");
    receiver.receive(200, plan.octets);
  }
  const std::int64_t end = now_ns() + static_cast<std::int64_t>((plan.seconds + 2) * kSecond);
  while (now_ns() < end && receiver.receive(kDrainMilliseconds * 2, plan.octets)) {
  }
  return {ask_report(reports, plan.session).sent, receiver.datagrams()};
}

}  // namespace

// datagrams --to ADDR:PORT --direction up|down --octets N --seconds S
//           [--rate BITS/S] [--train yes] [--reports ADDR:PORT]
//
// The server's counters are asked for over TCP, at the same port unless told otherwise.
int load_datagrams(const Options& options) {
  const SocketAddress server = options.addresses("to").front();
  const SocketAddress reports =
      options.all("reports").empty() ? server : options.addresses("reports").front();
  DatagramPlan plan;
  plan.session = std::random_device()();
  plan.kind = kSink;
  plan.octets = static_cast<std::size_t>(options.integer("octets", 1200));
  plan.segments = options.text("train") == "yes" ? largest_train(plan.octets) : 1;
  plan.rate = options.number("rate", 0);
  plan.seconds = options.number("seconds", 1);
  const UniqueFd fd = open_udp(server.family());
  must(connect(fd.get(), server.get(), server.length), "connect");
  const Outcome outcome = options.text("direction", "up") == "up"
                              ? send_up(fd.get(), reports, plan)
                              : receive_down(fd.get(), reports, plan);
  const auto bits = static_cast<double>(outcome.received * plan.octets * 8);
  const double lost = outcome.sent == 0 ? 1.0
                                        : 1.0 - static_cast<double>(outcome.received) /
                                                    static_cast<double>(outcome.sent);
  tell(fmt::format(R"({{"gbit":{:.4f},"offered":{:.4f},"loss":{:.5f},"sent":{},"received":{}}})",
                   bits / 1e9 / plan.seconds,
                   static_cast<double>(outcome.sent * plan.octets * 8) / 1e9 / plan.seconds,
                   std::max(lost, 0.0), outcome.sent, outcome.received));
  return 0;
}

}  // namespace cordon::bench
