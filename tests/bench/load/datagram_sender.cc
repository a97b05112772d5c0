#include "tests/bench/load/datagram_sender.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <time.h>

#include "tests/bench/load/protocol.h"

namespace cordon::bench {
namespace {

constexpr std::size_t kBatch = 32;        // messages of one sendmmsg()
constexpr std::size_t kMaxSegments = 64;  // UDP_MAX_SEGMENTS of older kernels
// A sender that was kept off the processor does not make up for more than this at once: the burst
// would be the load's doing.
constexpr double kMostArrears = 1e6;       // nanoseconds
constexpr std::size_t kMaxOctets = 65000;  // of one train, headers and all below 65,535

// One train or kBatch single datagrams, ready to be sent again and again.
class Batch {
 public:
  Batch(const SocketAddress* to, const DatagramPlan& plan)
      : payload_(plan.octets * plan.segments), is_train_(plan.segments > 1) {
    for (std::size_t i = 0; i < plan.segments; ++i) {
      const SessionHead head{plan.kind, plan.session};
      std::memcpy(payload_.data() + i * plan.octets, &head, sizeof head);
    }
    iov_ = {payload_.data(), payload_.size()};
    msghdr message{};
    message.msg_iov = &iov_;
    message.msg_iovlen = 1;
    if (to != nullptr) {
      to_ = *to;
      message.msg_name = to_.get();
      message.msg_namelen = to_.length;
    }
    if (is_train_) add_segment_size(message, static_cast<std::uint16_t>(plan.octets));
    for (mmsghdr& one : messages_) one.msg_hdr = message;
  }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  // Messages that were taken, or -1.
  int send(int fd, std::size_t limit) {
    if (!is_train_) {
      return sendmmsg(fd, messages_.data(), static_cast<unsigned>(std::min(limit, kBatch)), 0);
    }
    return sendmsg(fd, &messages_.front().msg_hdr, 0) < 0 ? -1 : 1;
  }

 private:
  void add_segment_size(msghdr& message, std::uint16_t octets) {
    message.msg_control = control_.data();
    message.msg_controllen = control_.size();
    cmsghdr* control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = SOL_UDP;
    control->cmsg_type = UDP_SEGMENT;
    control->cmsg_len = CMSG_LEN(sizeof octets);
    std::memcpy(CMSG_DATA(control), &octets, sizeof octets);
  }

  std::vector<char> payload_;
  bool is_train_;
  iovec iov_{};
  SocketAddress to_;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(std::uint16_t))> control_{};
  std::array<mmsghdr, kBatch> messages_{};
};

void sleep_ns(std::int64_t nanoseconds) {
  const timespec time{0, nanoseconds};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
}

}  // namespace

std::size_t largest_train(std::size_t octets) {
  return std::clamp<std::size_t>(kMaxOctets / octets, 1, kMaxSegments);
}

std::uint64_t send_datagrams(int fd, const SocketAddress* to, const DatagramPlan& plan) {
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  Batch batch(to, plan);
  const std::int64_t start = now_ns();
  const std::int64_t end = start + static_cast<std::int64_t>(plan.seconds * kSecond);
  const double datagrams_per_ns = plan.rate / 8 / static_cast<double>(plan.octets) / kSecond;
  const double most_due =
      std::max(datagrams_per_ns * kMostArrears, static_cast<double>(plan.segments));
  double credit = 0;  // datagrams that are due
  std::int64_t counted = start;
  std::uint64_t sent = 0;
  for (std::int64_t now = start; now < end; now = now_ns()) {
    std::size_t due = kBatch;
    if (plan.rate > 0) {
      credit += static_cast<double>(now - counted) * datagrams_per_ns;
      credit = std::min(credit, most_due);
      counted = now;
      if (credit < static_cast<double>(plan.segments)) {
        sleep_ns(50'000);
        continue;
      }
      due = static_cast<std::size_t>(credit);
    }
    const int messages = batch.send(fd, due);
    if (messages > 0) {
      sent += static_cast<std::uint64_t>(messages) * plan.segments;
      credit -= static_cast<double>(messages) * static_cast<double>(plan.segments);
    } else if (errno == EAGAIN) {
      pollfd waiting{fd, POLLOUT, 0};
      poll(&waiting, 1, 10);
    } else if (errno == ENOBUFS || errno == ECONNREFUSED) {
      sleep_ns(20'000);  // a full queue of the device: what a program would see, too
    } else {
      die("send");
    }
  }
  return sent;
}

}  // namespace cordon::bench
