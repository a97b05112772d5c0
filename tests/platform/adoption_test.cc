// Outbound kernel streams (performance.md §1): a socket that is the remote end of a connection
// whose SYN was seen on the tap, and the rules that bring everything after the SYN to it.
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <linux/capability.h>
#include <linux/tcp.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/platform/handshake.h"

namespace cordon::platform {
namespace {

struct Stream {
  UniqueFd guest;
  UniqueFd remote;
  Syn syn;
};

class Adoption : public NetworkTest, public ::testing::WithParamInterface<Link> {
 protected:
  void SetUp() override {
    NetworkTest::SetUp();
    tap_ = make_guest_link();
    steer();
  }

  UniqueFd dial(std::uint16_t port) {
    const Address remote(GetParam().remote, port);
    UniqueFd guest = open_socket(remote.family(), SOCK_STREAM | SOCK_NONBLOCK);
    EXPECT_EQ(connect(guest.get(), remote.data(), remote.size), -1);
    EXPECT_EQ(errno, EINPROGRESS);
    return guest;
  }

  Stream open_stream(std::uint16_t port) {
    Stream stream;
    stream.guest = dial(port);
    const std::optional<Syn> syn = next_syn(tap_.get());
    EXPECT_TRUE(syn.has_value()) << "no SYN on the tap";
    if (syn) {
      stream.syn = *syn;
      stream.remote = adopt(*syn);
      write_syn_ack(tap_.get(), *syn);
      EXPECT_TRUE(wait_for(stream.guest.get(), POLLOUT, 2000)) << "connect() did not end";
    }
    return stream;
  }

  UniqueFd tap_;
};

INSTANTIATE_TEST_SUITE_P(BothFamilies, Adoption, ::testing::Values(kLink4, kLink6),
                         [](const auto& row) { return row.param.option == "-4" ? "V4" : "V6"; });

TEST_P(Adoption, AdoptedSocketCarriesDataBothWays) {
  const Stream stream = open_stream(80);
  send_text(stream.guest.get(), "question");
  EXPECT_EQ(receive_text(stream.remote.get(), 8), "question");
  send_text(stream.remote.get(), "answer");
  EXPECT_EQ(receive_text(stream.guest.get(), 6), "answer");
}

TEST_P(Adoption, GuestSeesTheTrueRemoteAddress) {
  const Stream stream = open_stream(443);
  EXPECT_EQ(peer_address(stream.guest.get()).text(), Address(GetParam().remote, 443).text());
  EXPECT_EQ(own_address(stream.remote.get()).text(), Address(GetParam().remote, 443).text());
}

TEST_P(Adoption, AfterTheSynNothingOfTheStreamReachesTheTap) {
  const Stream stream = open_stream(80);
  const std::string bulk(200'000, 'x');
  send_text(stream.guest.get(), bulk.substr(0, 60'000));
  EXPECT_EQ(receive_text(stream.remote.get(), 60'000).size(), 60'000U);
  send_text(stream.remote.get(), "answer");
  EXPECT_EQ(receive_text(stream.guest.get(), 6), "answer");
  EXPECT_EQ(tcp_frames(tap_.get(), 100), 0);
}

TEST_P(Adoption, LeavingRepairWithoutProbeSendsNothing) {
  const UniqueFd guest = dial(80);
  const std::optional<Syn> syn = next_syn(tap_.get());
  ASSERT_TRUE(syn.has_value());
  const UniqueFd remote = adopt(*syn);
  // A probe would be an ACK with an old sequence number, which the guest answers with a reset in
  // SYN-SENT.
  EXPECT_FALSE(wait_for(guest.get(), POLLOUT | POLLERR, 100));
  EXPECT_FALSE(wait_for(remote.get(), POLLIN | POLLERR, 0));
  EXPECT_EQ(tcp_frames(tap_.get(), 0), 0);
}

TEST_P(Adoption, SeveralSocketsMayBeBoundToOneRemoteEndpoint) {
  const Stream first = open_stream(80);
  const Stream second = open_stream(80);
  const Stream third = open_stream(80);
  send_text(second.guest.get(), "second");
  send_text(third.guest.get(), "third");
  send_text(first.guest.get(), "first");
  EXPECT_EQ(receive_text(first.remote.get(), 5), "first");
  EXPECT_EQ(receive_text(second.remote.get(), 6), "second");
  EXPECT_EQ(receive_text(third.remote.get(), 5), "third");
}

TEST_P(Adoption, HalfCloseIsAnEndOfFileAndLeavesTheOtherDirectionOpen) {
  const Stream stream = open_stream(80);
  ASSERT_EQ(shutdown(stream.guest.get(), SHUT_WR), 0);
  EXPECT_TRUE(wait_for(stream.remote.get(), POLLIN, 2000));
  char octet = 0;
  EXPECT_EQ(recv(stream.remote.get(), &octet, 1, 0), 0);
  send_text(stream.remote.get(), "still here");
  EXPECT_EQ(receive_text(stream.guest.get(), 10), "still here");
}

TEST_P(Adoption, CloseWithZeroLingerResetsTheGuest) {
  Stream stream = open_stream(80);
  const linger abort{.l_onoff = 1, .l_linger = 0};
  setsockopt(stream.remote.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  stream.remote.reset();
  EXPECT_TRUE(wait_for(stream.guest.get(), POLLIN, 2000));
  char octet = 0;
  EXPECT_EQ(recv(stream.guest.get(), &octet, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_P(Adoption, ResetOfAGuestThatGaveUpWhileDiallingReachesTheAdoptedSocket) {
  UniqueFd guest = dial(80);
  const std::optional<Syn> syn = next_syn(tap_.get());
  ASSERT_TRUE(syn.has_value());
  guest.reset();
  EXPECT_EQ(tcp_frames(tap_.get(), 50), 0) << "a socket in SYN-SENT closes in silence";
  const UniqueFd remote = adopt(*syn);
  write_syn_ack(tap_.get(), *syn);
  EXPECT_TRUE(wait_for(remote.get(), POLLIN | POLLHUP, 2000));
  char octet = 0;
  EXPECT_EQ(recv(remote.get(), &octet, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_P(Adoption, TimestampsGoOnFromTheMonotonicClock) {
  const Stream stream = open_stream(80);
  int timestamp = 0;
  socklen_t size = sizeof timestamp;
  ASSERT_EQ(getsockopt(stream.remote.get(), IPPROTO_TCP, TCP_TIMESTAMP, &timestamp, &size), 0);
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const auto milliseconds = static_cast<std::uint32_t>(now.tv_sec * 1000 + now.tv_nsec / 1'000'000);
  EXPECT_LT(milliseconds - static_cast<std::uint32_t>(timestamp), 1000U);
}

TEST_P(Adoption, SocketsBoundToTheDeviceAreCarriedToo) {
  const Address remote(GetParam().remote, 80);
  const UniqueFd guest = open_socket(remote.family(), SOCK_STREAM | SOCK_NONBLOCK);
  ASSERT_EQ(setsockopt(guest.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5), 0);
  ASSERT_EQ(connect(guest.get(), remote.data(), remote.size), -1);
  const std::optional<Syn> syn = next_syn(tap_.get());
  ASSERT_TRUE(syn.has_value());
  const UniqueFd adopted = adopt(*syn);
  write_syn_ack(tap_.get(), *syn);
  ASSERT_TRUE(wait_for(guest.get(), POLLOUT, 2000));
  send_text(guest.get(), "bound");
  EXPECT_EQ(receive_text(adopted.get(), 5), "bound");
}

TEST_P(Adoption, WithoutNetAdminThereIsNoRepair) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> held{};
  ASSERT_EQ(syscall(SYS_capget, &header, held.data()), 0);
  auto without = held;
  without[0].effective &= ~(1U << CAP_NET_ADMIN);
  ASSERT_EQ(syscall(SYS_capset, &header, without.data()), 0);
  const UniqueFd fd = open_socket(AF_INET, SOCK_STREAM);
  const int on = TCP_REPAIR_ON;
  const int answer = setsockopt(fd.get(), IPPROTO_TCP, TCP_REPAIR, &on, sizeof on);
  const int error = errno;
  ASSERT_EQ(syscall(SYS_capset, &header, held.data()), 0);
  EXPECT_EQ(answer, -1);
  EXPECT_EQ(error, EPERM);
}

}  // namespace
}  // namespace cordon::platform
