// Socket manners that the streams rely on: splice, what a close says to the peer, discarding, and
// what a vanished local address looks like.
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/platform/support.h"

namespace cordon::platform {
namespace {

struct Pair {
  UniqueFd client;
  UniqueFd server;
};

Pair connected(const std::string& server_address, const std::string& client_address = "") {
  const Address local(server_address, 0);
  const UniqueFd listener = open_socket(local.family(), SOCK_STREAM);
  EXPECT_EQ(bind(listener.get(), local.data(), local.size), 0) << std::strerror(errno);
  EXPECT_EQ(listen(listener.get(), 1), 0);
  Pair pair{open_socket(local.family(), SOCK_STREAM), UniqueFd()};
  if (!client_address.empty()) {
    const Address own(client_address, 0);
    EXPECT_EQ(bind(pair.client.get(), own.data(), own.size), 0);
  }
  const Address server = own_address(listener.get());
  EXPECT_EQ(connect(pair.client.get(), server.data(), server.size), 0) << std::strerror(errno);
  pair.server.reset(accept(listener.get(), nullptr, nullptr));
  return pair;
}

class Stream : public NetworkTest, public ::testing::WithParamInterface<std::string> {};

INSTANTIATE_TEST_SUITE_P(BothFamilies, Stream, ::testing::Values("127.0.0.1", "::1"),
                         [](const auto& row) { return row.param == "::1" ? "V6" : "V4"; });

TEST_P(Stream, SpliceMovesOctetsAndReportsTheEnd) {
  const Pair in = connected(GetParam());
  const Pair out = connected(GetParam());
  // SPLICE_F_NONBLOCK speaks of the pipe alone: a socket that blocks would block here.
  ASSERT_EQ(fcntl(in.server.get(), F_SETFL, O_NONBLOCK), 0);
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  const auto fill = [&] {
    return splice(in.server.get(), nullptr, write_end.get(), nullptr, 65536,
                  SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  };
  EXPECT_EQ(fill(), -1);
  EXPECT_EQ(errno, EAGAIN);
  send_text(in.client.get(), "through a pipe");
  ASSERT_TRUE(wait_for(in.server.get(), POLLIN, 2000));
  EXPECT_EQ(fill(), 14);
  EXPECT_EQ(splice(read_end.get(), nullptr, out.client.get(), nullptr, 14, SPLICE_F_MOVE), 14);
  EXPECT_EQ(receive_text(out.server.get(), 14), "through a pipe");
  shutdown(in.client.get(), SHUT_WR);
  ASSERT_TRUE(wait_for(in.server.get(), POLLIN, 2000));
  EXPECT_EQ(fill(), 0) << "end of file";
}

TEST_P(Stream, SpliceFromAResetConnectionIsEconnreset) {
  Pair in = connected(GetParam());
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  const linger abort{.l_onoff = 1, .l_linger = 0};
  setsockopt(in.client.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  in.client.reset();
  ASSERT_TRUE(wait_for(in.server.get(), POLLIN, 2000));
  EXPECT_EQ(splice(in.server.get(), nullptr, write_end.get(), nullptr, 65536, SPLICE_F_NONBLOCK),
            -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_P(Stream, ZeroLingerResetsThePeer) {
  Pair pair = connected(GetParam());
  const linger abort{.l_onoff = 1, .l_linger = 0};
  setsockopt(pair.client.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  pair.client.reset();
  char octet = 0;
  EXPECT_EQ(recv(pair.server.get(), &octet, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_P(Stream, CloseWithUnreadDataResetsThePeer) {
  Pair pair = connected(GetParam());
  send_text(pair.server.get(), "never read");
  ASSERT_TRUE(wait_for(pair.client.get(), POLLIN, 2000));
  pair.client.reset();
  ASSERT_TRUE(wait_for(pair.server.get(), POLLIN, 2000));
  char octet = 0;
  EXPECT_EQ(recv(pair.server.get(), &octet, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_P(Stream, MsgTruncDiscardsWithoutCopying) {
  Pair pair = connected(GetParam());
  send_text(pair.client.get(), "skipped kept");
  ASSERT_TRUE(wait_for(pair.server.get(), POLLIN, 2000));
  EXPECT_EQ(recv(pair.server.get(), nullptr, 8, MSG_TRUNC), 8);
  EXPECT_EQ(receive_text(pair.server.get(), 4), "kept");
}

TEST_P(Stream, PeekOffsetWalksForward) {
  Pair pair = connected(GetParam());
  set_option(pair.server.get(), SOL_SOCKET, SO_PEEK_OFF, 0);
  send_text(pair.client.get(), "abcdef");
  ASSERT_TRUE(wait_for(pair.server.get(), POLLIN, 2000));
  std::array<char, 3> text{};
  ASSERT_EQ(recv(pair.server.get(), text.data(), 3, MSG_PEEK), 3);
  EXPECT_EQ(std::string(text.data(), 3), "abc");
  ASSERT_EQ(recv(pair.server.get(), text.data(), 3, MSG_PEEK), 3);
  EXPECT_EQ(std::string(text.data(), 3), "def");
}

TEST_P(Stream, SocketMarksNeedNoMoreThanTheNamespace) {
  const UniqueFd fd = open_socket(GetParam() == "::1" ? AF_INET6 : AF_INET, SOCK_STREAM);
  set_option(fd.get(), SOL_SOCKET, SO_MARK, 0x10000000);
}

class LocalAddress : public NetworkTest {};

TEST_F(LocalAddress, RemovedUnderAnEstablishedStreamStallsItInSilence) {
  command("ip address add 198.51.100.2/32 dev lo && ip address add 198.51.100.17/32 dev lo");
  const Pair pair = connected("198.51.100.17", "198.51.100.2");
  command("ip address del 198.51.100.2/32 dev lo");
  send_text(pair.client.get(), "into the void");
  EXPECT_FALSE(wait_for(pair.server.get(), POLLIN, 300));
  EXPECT_FALSE(wait_for(pair.client.get(), POLLIN | POLLERR | POLLHUP, 0));
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(pair.client.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  EXPECT_EQ(error, 0);
}

TEST_F(LocalAddress, ConnectedUdpSaysEconnrefused) {
  const Address closed("127.0.0.1", 9);
  const UniqueFd fd = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(connect(fd.get(), closed.data(), closed.size), 0);
  send_text(fd.get(), "x");
  char octet = 0;
  EXPECT_EQ(recv(fd.get(), &octet, 1, 0), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
}

}  // namespace
}  // namespace cordon::platform
