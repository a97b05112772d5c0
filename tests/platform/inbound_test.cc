// Inbound kernel streams (performance.md §1): a socket bound to the client's own address connects
// to the guest's listener, wherever that listens, and the guest sees the client.
#include <cerrno>
#include <cstring>
#include <linux/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "tests/platform/handshake.h"

namespace cordon::platform {
namespace {

constexpr int kMark = 0x10000000;

struct Row {
  const char* name;
  Link link;
  std::string listens_on;  // empty: the wildcard
  std::string reached_at;
  bool bound_to_device = false;
};

class Inbound : public NetworkTest, public ::testing::WithParamInterface<Row> {
 protected:
  void SetUp() override {
    NetworkTest::SetUp();
    tap_ = make_guest_link();
    steer();
  }
  UniqueFd tap_;
};

UniqueFd connect_as(const Address& client, const Address& guest) {
  UniqueFd fd = open_socket(client.family(), SOCK_STREAM);
  if (client.family() == AF_INET) {
    set_option(fd.get(), IPPROTO_IP, IP_TRANSPARENT, 1);
  } else {
    set_option(fd.get(), IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
  }
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  set_option(fd.get(), SOL_SOCKET, SO_MARK, kMark);
  EXPECT_EQ(bind(fd.get(), client.data(), client.size), 0) << std::strerror(errno);
  const timeval limit{.tv_sec = 2, .tv_usec = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(fd.get(), guest.data(), guest.size) != 0) {
    const int error = errno;
    fd.reset();
    errno = error;
  }
  return fd;
}

TEST_P(Inbound, ListenerSeesTheClientsOwnAddress) {
  const Row& row = GetParam();
  const std::string any = row.link.option == "-4" ? "0.0.0.0" : "::";
  const Address local(row.listens_on.empty() ? any : row.listens_on, 8080);
  const UniqueFd listener = open_socket(local.family(), SOCK_STREAM);
  if (row.bound_to_device) {
    ASSERT_EQ(setsockopt(listener.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5), 0);
  }
  set_option(listener.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  ASSERT_EQ(bind(listener.get(), local.data(), local.size), 0) << std::strerror(errno);
  ASSERT_EQ(listen(listener.get(), 4), 0);

  const Address client(row.link.remote, 40000);
  const UniqueFd inbound = connect_as(client, Address(row.reached_at, 8080));
  ASSERT_TRUE(inbound.is_open()) << std::strerror(errno);
  ASSERT_TRUE(wait_for(listener.get(), POLLIN, 2000));
  const UniqueFd accepted(accept(listener.get(), nullptr, nullptr));
  EXPECT_EQ(peer_address(accepted.get()).text(), client.text());
  send_text(inbound.get(), "question");
  EXPECT_EQ(receive_text(accepted.get(), 8), "question");
  send_text(accepted.get(), "answer");
  EXPECT_EQ(receive_text(inbound.get(), 6), "answer");
  EXPECT_EQ(tcp_frames(tap_.get(), 20), 0);
}

INSTANTIATE_TEST_SUITE_P(Listeners, Inbound,
                         ::testing::Values(Row{"V4Wildcard", kLink4, "", kLink4.guest},
                                           Row{"V4OwnAddress", kLink4, kLink4.guest, kLink4.guest},
                                           Row{"V4Loopback", kLink4, "127.0.0.1", "127.0.0.1"},
                                           Row{"V4BoundToDevice", kLink4, "", kLink4.guest, true},
                                           Row{"V6Wildcard", kLink6, "", kLink6.guest},
                                           Row{"V6OwnAddress", kLink6, kLink6.guest, kLink6.guest},
                                           Row{"V6Loopback", kLink6, "::1", "::1"},
                                           Row{"V6BoundToDevice", kLink6, "", kLink6.guest, true}),
                         [](const auto& row) { return row.param.name; });

class InboundWithoutListener : public Inbound {};

TEST_P(InboundWithoutListener, IsRefused) {
  const UniqueFd inbound =
      connect_as(Address(GetParam().link.remote, 40000), Address(GetParam().reached_at, 8081));
  EXPECT_FALSE(inbound.is_open());
  EXPECT_EQ(errno, ECONNREFUSED);
}

INSTANTIATE_TEST_SUITE_P(BothFamilies, InboundWithoutListener,
                         ::testing::Values(Row{"V4", kLink4, "", kLink4.guest},
                                           Row{"V6", kLink6, "", kLink6.guest}),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace cordon::platform
