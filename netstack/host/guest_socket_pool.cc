#include "netstack/host/guest_socket_pool.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netstack/host/socket_options.h"

namespace cordon {
namespace {

// Sockets of each kind that are kept ready: what a burst takes while the guest side wakes up.
constexpr std::uint32_t kReserve = 32;
// The same before the first one was taken.
constexpr std::uint32_t kFirstReserve = 4;
// How many are handed over by one write.
constexpr std::size_t kBatch = 16;

// The eventfd adds requests up; in its value the low bits count those for sockets, and these mean
// more.
constexpr std::uint64_t kSteering = std::uint64_t{1} << 32;
constexpr std::uint64_t kStop = std::uint64_t{1} << 48;

// The mark of the steering rules: what carries it goes to the guest's own stack.
constexpr int kSteeringMark = 0x10000000;

bool is_v4(GuestSocketKind kind) {
  return kind == GuestSocketKind::kAdoptV4 || kind == GuestSocketKind::kDialV4;
}

bool set_transparent(int descriptor, bool v4) {
  return v4 ? set_option(descriptor, IPPROTO_IP, IP_TRANSPARENT, 1)
            : set_option(descriptor, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
}

// Everything about a socket that is the same for every flow.
IoResult<UniqueFd> make_socket(GuestSocketKind kind) {
  const bool v4 = is_v4(kind);
  // syscalls: socket(SOCK_STREAM)
  UniqueFd socket(
      ::socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!socket.is_open()) return std::unexpected(Errno{errno});
  const int fd = socket.get();
  if (!set_transparent(fd, v4)) return std::unexpected(Errno{errno});
  const bool is_adopted = kind == GuestSocketKind::kAdoptV4 || kind == GuestSocketKind::kAdoptV6;
  if (is_adopted) {
    if (!set_option(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON) ||
        !set_option(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE)) {
      return std::unexpected(Errno{errno});
    }
  } else {
    if (!set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) ||
        !set_option(fd, SOL_SOCKET, SO_MARK, kSteeringMark)) {
      return std::unexpected(Errno{errno});
    }
  }
  preset_guest_stream(fd);
  return socket;
}

}  // namespace

Result<std::unique_ptr<GuestSocketPool>> GuestSocketPool::open(bool may_dial) {
  std::unique_ptr<GuestSocketPool> pool(new GuestSocketPool());  // NOLINT: private constructor
  pool->wake_ = UniqueFd(eventfd(0, EFD_CLOEXEC));
  if (!pool->wake_.is_open()) return errno_error("eventfd for guest sockets");
  for (Lane& lane : pool->lanes_) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0)
      return errno_error("pipe for guest sockets");
    lane.take = UniqueFd(ends[0]);
    lane.give = UniqueFd(ends[1]);
  }
  for (std::size_t i = 0; i < kGuestSocketKinds; ++i) {
    const auto kind = static_cast<GuestSocketKind>(i);
    const bool is_dialled = kind == GuestSocketKind::kDialV4 || kind == GuestSocketKind::kDialV6;
    pool->lanes_[i].reserve = is_dialled && !may_dial ? 0 : kReserve;
  }
  return pool;
}

void GuestSocketPool::serve(const std::function<void()>& restore_steering) {
  std::array<std::uint32_t, kGuestSocketKinds> given{};
  while (true) {
    for (std::size_t i = 0; i < kGuestSocketKinds; ++i) refill(i, given[i]);
    for (UniqueFd socket = ended_.pop(); socket.is_open(); socket = ended_.pop()) {
      close_in_good_order(std::move(socket));
    }
    std::uint64_t requests = 0;
    // syscalls: read
    if (read(wake_.get(), &requests, sizeof(requests)) != sizeof(requests)) {
      if (errno == EINTR) continue;
      return;
    }
    if (requests >= kStop) return;
    if (requests >= kSteering) restore_steering();
  }
}

std::uint32_t GuestSocketPool::wanted(const Lane& lane, std::uint32_t taken) {
  return taken == 0 ? std::min(kFirstReserve, lane.reserve) : lane.reserve;
}

void GuestSocketPool::refill(std::size_t lane_index, std::uint32_t& given) {
  const Lane& lane = lanes_[lane_index];
  const std::uint32_t taken = lane.taken.load(std::memory_order_acquire);
  while (given - taken < wanted(lane, taken)) {
    const std::size_t missing = wanted(lane, taken) - (given - taken);
    std::array<UniqueFd, kBatch> fresh;
    std::array<int, kBatch> numbers{};
    std::size_t count = 0;
    while (count < std::min(missing, kBatch)) {
      IoResult<UniqueFd> socket = make_socket(static_cast<GuestSocketKind>(lane_index));
      if (!socket) break;  // Out of descriptors: the next request tries again.
      numbers[count] = socket->get();
      fresh[count++] = std::move(*socket);
    }
    // So few octets are written all or not at all (PIPE_BUF, pipe(7)). syscalls: write
    const auto size = static_cast<ssize_t>(count * sizeof(int));
    if (count == 0 || write(lane.give.get(), numbers.data(), count * sizeof(int)) != size) return;
    for (UniqueFd& socket : fresh) (void)socket.release();  // The main thread's from here on.
    given += static_cast<std::uint32_t>(count);
  }
}

bool GuestSocketPool::close_soon(std::span<UniqueFd> ended) {
  if (!ended_.push(ended)) return false;
  request(1);
  return true;
}

void GuestSocketPool::stop() { request(kStop); }

void GuestSocketPool::ask_for_steering() { request(kSteering); }

void GuestSocketPool::request(std::uint64_t value) {
  // A full eventfd has requests enough. syscalls: write
  (void)!write(wake_.get(), &value, sizeof(value));
}

IoResult<UniqueFd> GuestSocketPool::take(GuestSocketKind kind) {
  Lane& lane = lanes_[static_cast<std::size_t>(kind)];
  if (lane.stocked == 0) {
    // syscalls: read
    const ssize_t size = read(lane.take.get(), lane.stock.data(), sizeof(lane.stock));
    if (size > 0) lane.stocked = static_cast<std::size_t>(size) / sizeof(int);
  }
  if (lane.stocked == 0) {
    request(1);
    return std::unexpected(Errno{ENOBUFS});
  }
  UniqueFd socket(lane.stock[--lane.stocked]);
  const std::uint32_t taken = lane.taken.load(std::memory_order_relaxed) + 1;
  lane.taken.store(taken, std::memory_order_release);
  // One request for half of the reserve, so that the guest side wakes once for many flows.
  if (taken == 1 || taken % (kReserve / 2) == 0) request(1);
  return socket;
}

}  // namespace cordon
