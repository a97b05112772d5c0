#include "launcher/audit/servers.h"

#include <array>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "launcher/audit/socket_address.h"

namespace cordon::audit {
namespace {

constexpr std::string_view kNonce = "0123456789abcdef";

class ServersTest : public ::testing::Test {
 protected:
  void turns() {
    for (int i = 0; i < 5; ++i) waiter_.wait(50);
  }

  UniqueFd dial(int type, std::uint16_t port) {
    UniqueFd socket(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
    const SocketAddress address = socket_address({loopback(Family::kIpv4), port});
    EXPECT_EQ(::connect(socket.get(), address.get(), address.size), 0);
    return socket;
  }

  void say(const UniqueFd& socket, const std::string& text) {
    EXPECT_EQ(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL), ssize_t(text.size()));
  }

  std::string answer(const UniqueFd& socket) {
    std::array<char, 64> buffer;
    const ssize_t size = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    return size > 0 ? std::string(buffer.data(), static_cast<std::size_t>(size)) : "";
  }

  Waiter waiter_;
  Evidence evidence_;
  Servers servers_{waiter_, evidence_, std::string(kNonce)};
};

TEST_F(ServersTest, WriteDownTheTokensThatTheyHearAndAnswer) {
  const auto port = servers_.open_pair(loopback(Family::kIpv4), 0);
  ASSERT_TRUE(port) << port.error().message();
  for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
    const UniqueFd socket = dial(type, *port);
    say(socket, write_token(kNonce, {Leak::kGateway, type == SOCK_STREAM ? "tcp" : "udp"}));
    turns();
    EXPECT_EQ(answer(socket), write_answer(kNonce));
  }
  ASSERT_EQ(evidence_.of(Leak::kGateway).size(), 2U);
  EXPECT_EQ(evidence_.of(Leak::kGateway)[0].words,
            "tcp reached 127.0.0.1:" + std::to_string(*port) + " (from 127.0.0.1)");
}

TEST_F(ServersTest, HearNothingInWhatOthersSay) {
  const auto port = servers_.open_pair(loopback(Family::kIpv4), 0);
  ASSERT_TRUE(port);
  const UniqueFd socket = dial(SOCK_STREAM, *port);
  say(socket, write_token("fedcba9876543210", {Leak::kGateway, "tcp"}));
  turns();
  EXPECT_EQ(answer(socket), "");
  EXPECT_TRUE(evidence_.of(Leak::kGateway).empty());
}

TEST_F(ServersTest, HearATokenThatComesInPieces) {
  const auto port = servers_.open_one(Transport::kTcp, {loopback(Family::kIpv4), 0}, 0);
  ASSERT_TRUE(port);
  const UniqueFd socket = dial(SOCK_STREAM, *port);
  const std::string token = write_token(kNonce, {Leak::kLoopbackV4, "tcp"});
  say(socket, token.substr(0, 20));
  turns();
  say(socket, token.substr(20));
  turns();
  EXPECT_EQ(evidence_.of(Leak::kLoopbackV4).size(), 1U);
}

TEST_F(ServersTest, TakeAForgedSourceForForgedOnlyWhereItStillIs) {
  const auto port = servers_.open_one(Transport::kUdp, {loopback(Family::kIpv4), 0}, 0);
  ASSERT_TRUE(port);
  say(dial(SOCK_DGRAM, *port), write_token(kNonce, {Leak::kRawPackets, "udp, forged"}));
  turns();
  EXPECT_TRUE(evidence_.of(Leak::kRawPackets).empty());
}

TEST_F(ServersTest, HearAbstractUnixSockets) {
  const std::string name = "@cordon-servers-test-" + std::to_string(::getpid());
  ASSERT_TRUE(servers_.open_unix(name));
  EXPECT_FALSE(servers_.open_unix(name)) << "the name is taken";
  EXPECT_FALSE(servers_.open_unix(std::string(200, 'x')));
}

}  // namespace
}  // namespace cordon::audit
