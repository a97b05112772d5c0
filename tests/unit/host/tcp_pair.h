// Two connected TCP sockets over the loopback, for what pairs of unix sockets do not show: urgent
// marks, segments, resets.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

struct TcpPair {
  UniqueFd peer;      // blocking
  UniqueFd accepted;  // non-blocking
};

inline TcpPair tcp_pair() {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);  // NOLINT: what the calls take
  EXPECT_EQ(bind(listener.get(), any, size), 0);
  EXPECT_EQ(listen(listener.get(), 1), 0);
  EXPECT_EQ(getsockname(listener.get(), any, &size), 0);
  TcpPair pair{.peer = UniqueFd(::socket(AF_INET, SOCK_STREAM, 0)), .accepted = {}};
  EXPECT_EQ(connect(pair.peer.get(), any, size), 0);
  pair.accepted.reset(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
  return pair;
}

}  // namespace cordon
