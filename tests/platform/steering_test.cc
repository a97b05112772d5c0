// What the steering rules decide, asked of the kernel's own route lookup.
#include "tests/platform/handshake.h"

namespace cordon::platform {
namespace {

class Steering : public NetworkTest {
 protected:
  void SetUp() override {
    NetworkTest::SetUp();
    tap_ = make_guest_link();
    command("ip link add br0 type bridge && ip link set br0 up");
    command("ip address add 10.9.0.1/24 dev br0 && ip -6 address add fd09::1/64 dev br0 nodad");
    steer();
  }
  UniqueFd tap_;
};

std::string route(const std::string& destination, bool is_marked) {
  return output_of("ip -o route get " + destination + (is_marked ? " mark 0x10000000" : ""));
}

TEST_F(Steering, MarkedPacketsForTheWorldStayHere) {
  EXPECT_EQ(route("198.51.100.17", true).find("local 198.51.100.17 dev lo"), 0U)
      << route("198.51.100.17", true);
  EXPECT_NE(route("2001:db8:1::17", true).find("local"), std::string::npos)
      << route("2001:db8:1::17", true);
}

TEST_F(Steering, UnmarkedPacketsLeaveByTheTap) {
  EXPECT_NE(route("198.51.100.17", false).find("via 10.0.2.2 dev eth0"), std::string::npos);
  EXPECT_NE(route("2001:db8:1::17", false).find("via fd00:2::2 dev eth0"), std::string::npos);
}

TEST_F(Steering, MarkedPacketsForAnotherDeviceKeepTheirWay) {
  EXPECT_NE(route("10.9.0.7", true).find("dev br0"), std::string::npos) << route("10.9.0.7", true);
  EXPECT_EQ(route("10.9.0.7", true).find("local"), std::string::npos);
  EXPECT_NE(route("fd09::7", true).find("dev br0"), std::string::npos) << route("fd09::7", true);
}

TEST_F(Steering, AMarkOfTheGuestsOwnBesideOursIsNoObstacle) {
  const std::string answer = output_of("ip -o route get 198.51.100.17 mark 0x10000001");
  EXPECT_EQ(answer.find("local"), 0U) << answer;
}

TEST_F(Steering, SysctlsOfTheRecipeAreWritableByTheNamespacesOwner) {
  set_sysctl("net.ipv4.tcp_fwmark_accept", "1");
  set_sysctl("net.ipv4.tcp_max_tw_buckets", "0");
  set_sysctl("net.ipv4.tcp_congestion_control", "reno");
  set_sysctl("net.ipv4.ip_unprivileged_port_start", "0");
  set_sysctl("net.ipv4.ping_group_range", "0 0");
}

}  // namespace
}  // namespace cordon::platform
