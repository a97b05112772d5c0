// Which of the host's own addresses the kernel admits to. The policy's class "self" rests on
// RTM_GETROUTE; these tests show that nothing simpler would do.
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <cstring>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <unistd.h>

#include "tests/platform/support.h"

namespace cordon::platform {
namespace {

class Route : public NetworkTest {
 protected:
  void SetUp() override {
    NetworkTest::SetUp();
    command("ip link add br0 type bridge && ip link set br0 up");
    command("ip address add 10.9.0.1/24 dev br0 && ip address add 10.9.0.2/24 dev br0");
    command(
        "ip -6 address add fd09::1/64 dev br0 nodad && ip -6 address add fd09::2/64 dev br0 nodad");
    command("ip route add local 10.77.0.0/16 dev lo && ip -6 route add local fd77::/64 dev lo");
  }
};

struct Request {
  nlmsghdr header{};
  rtmsg route{};
  rtattr attribute{};
  std::array<std::uint8_t, 16> address{};
};

/// The type of the route that the kernel would take, or -errno.
int route_type(const std::string& destination) {
  Request request;
  const bool is_v4 = destination.find(':') == std::string::npos;
  const std::size_t size = is_v4 ? 4 : 16;
  inet_pton(is_v4 ? AF_INET : AF_INET6, destination.c_str(), request.address.data());
  request.header.nlmsg_len =
      static_cast<std::uint32_t>(NLMSG_LENGTH(sizeof(rtmsg)) + RTA_LENGTH(size));
  request.header.nlmsg_type = RTM_GETROUTE;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.route.rtm_family = is_v4 ? AF_INET : AF_INET6;
  request.route.rtm_dst_len = static_cast<std::uint8_t>(size * 8);
  request.route.rtm_flags = RTM_F_FIB_MATCH;
  request.attribute.rta_type = RTA_DST;
  request.attribute.rta_len = static_cast<std::uint16_t>(RTA_LENGTH(size));

  const UniqueFd netlink = open_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  EXPECT_EQ(send(netlink.get(), &request, request.header.nlmsg_len, 0),
            static_cast<ssize_t>(request.header.nlmsg_len));
  alignas(nlmsghdr) std::array<char, 8192> answer{};
  EXPECT_GT(recv(netlink.get(), answer.data(), answer.size(), 0), 0);
  const auto* header = reinterpret_cast<const nlmsghdr*>(answer.data());
  if (header->nlmsg_type == NLMSG_ERROR) {
    return static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
  }
  return static_cast<const rtmsg*>(NLMSG_DATA(header))->rtm_type;
}

TEST_F(Route, IsLocalForEveryAddressOfTheHost) {
  for (const char* address : {"10.9.0.1", "10.9.0.2", "fd09::1", "fd09::2", "127.0.0.1", "::1"}) {
    EXPECT_EQ(route_type(address), RTN_LOCAL) << address;
  }
}

TEST_F(Route, IsLocalForWholeLocalRoutes) {
  EXPECT_EQ(route_type("10.77.3.4"), RTN_LOCAL);
  EXPECT_EQ(route_type("fd77::99"), RTN_LOCAL);
}

TEST_F(Route, IsUnicastForANeighbourAndBroadcastForTheLastAddress) {
  EXPECT_EQ(route_type("10.9.0.7"), RTN_UNICAST);
  EXPECT_EQ(route_type("fd09::7"), RTN_UNICAST);
  EXPECT_EQ(route_type("10.9.0.255"), RTN_BROADCAST);
}

TEST_F(Route, WithoutAnyRouteTheAnswerIsAnError) {
  EXPECT_EQ(route_type("198.51.100.17"), -ENETUNREACH);
}

TEST_F(Route, GetsocknameMissesSecondaryAddresses) {
  const Address secondary("10.9.0.2", 53);
  const UniqueFd fd = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(connect(fd.get(), secondary.data(), secondary.size), 0);
  EXPECT_EQ(own_address(fd.get()).text().substr(0, 9), "10.9.0.1:");
}

TEST_F(Route, AddressesShowAtOnce) {
  EXPECT_NE(route_type("198.51.100.99"), RTN_LOCAL);
  command("ip address add 198.51.100.99/32 dev br0");
  EXPECT_EQ(route_type("198.51.100.99"), RTN_LOCAL);
}

TEST_F(Route, UnspecifiedMeansLoopbackToConnect) {
  for (const auto& [unspecified, loopback] :
       {std::pair{"0.0.0.0", "127.0.0.1"}, std::pair{"::", "::1"}}) {
    const Address local(loopback, 0);
    const UniqueFd listener = open_socket(local.family(), SOCK_STREAM);
    ASSERT_EQ(bind(listener.get(), local.data(), local.size), 0);
    ASSERT_EQ(listen(listener.get(), 1), 0);
    const std::string bound = own_address(listener.get()).text();
    const Address dialled(
        unspecified, static_cast<std::uint16_t>(std::stoi(bound.substr(bound.rfind(':') + 1))));
    const UniqueFd fd = open_socket(local.family(), SOCK_STREAM);
    ASSERT_EQ(connect(fd.get(), dialled.data(), dialled.size), 0) << unspecified;
    EXPECT_EQ(peer_address(fd.get()).text(), bound);
  }
}

TEST_F(Route, BroadcastNeedsItsOwnOption) {
  const Address broadcast("10.9.0.255", 9);
  const UniqueFd fd = open_socket(AF_INET, SOCK_DGRAM);
  EXPECT_EQ(connect(fd.get(), broadcast.data(), broadcast.size), -1);
  EXPECT_EQ(errno, EACCES);
}

TEST_F(Route, ConnectedUdpIsEnetunreachOnceItsAddressIsGone) {
  command("ip address add 198.51.100.2/28 dev br0");
  const Address remote("198.51.100.3", 9);
  const UniqueFd fd = open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(connect(fd.get(), remote.data(), remote.size), 0);
  command("ip address del 198.51.100.2/28 dev br0");
  EXPECT_EQ(send(fd.get(), "x", 1, 0), -1);
  EXPECT_EQ(errno, ENETUNREACH);
}

}  // namespace
}  // namespace cordon::platform
