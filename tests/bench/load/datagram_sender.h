// Datagrams of one size, at a rate or as fast as it goes, by sendmmsg() or as UDP_SEGMENT trains.
#pragma once

#include <cstdint>

#include "tests/bench/load/sockets.h"

namespace cordon::bench {

struct DatagramPlan {
  std::uint32_t session = 0;
  char kind = 0;
  std::size_t octets = 0;
  std::size_t segments = 1;  // datagrams of one system call's train; 1: no train
  double rate = 0;           // bits of payload a second; 0: as fast as it goes
  double seconds = 0;
};

/// The largest train of datagrams of `octets` that one UDP_SEGMENT call takes.
std::size_t largest_train(std::size_t octets);

/// Sends until the time is up and returns how many datagrams the kernel took. `to` is null for a
/// connected socket.
std::uint64_t send_datagrams(int fd, const SocketAddress* to, const DatagramPlan& plan);

}  // namespace cordon::bench
