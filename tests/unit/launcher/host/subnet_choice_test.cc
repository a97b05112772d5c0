#include "launcher/host/subnet_choice.h"

#include <gtest/gtest.h>

namespace cordon {
namespace {

HostNetwork network(const char* prefix, const char* what = "route") {
  return HostNetwork{.prefix = *Prefix::parse(prefix), .what = what};
}

std::string chosen(Family family, const std::vector<HostNetwork>& used) {
  const auto subnet = choose_subnet(family, used);
  return subnet ? subnet->to_string() : subnet.error().message();
}

TEST(ChooseSubnet, TakesTheFirstCandidateOnAHostWithoutRoutes) {
  EXPECT_EQ(chosen(Family::kIpv4, {}), "10.77.0.0/24");
  EXPECT_EQ(chosen(Family::kIpv6, {}), "fd63:6f72:646f::/64");
}

TEST(ChooseSubnet, GoesAroundARouteThatCoversACandidate) {
  EXPECT_EQ(chosen(Family::kIpv4, {network("10.0.0.0/8")}), "172.30.77.0/24");
  EXPECT_EQ(chosen(Family::kIpv6, {network("fd63:6f72:646f::/64")}), "fd63:6f72:646f:1::/64");
}

TEST(ChooseSubnet, GoesAroundAnAddressInsideACandidate) {
  EXPECT_EQ(chosen(Family::kIpv4, {network("10.77.0.9/32")}), "10.177.42.0/24");
}

TEST(ChooseSubnet, IgnoresTheOtherFamily) {
  EXPECT_EQ(chosen(Family::kIpv4, {network("fd00::/8")}), "10.77.0.0/24");
  EXPECT_EQ(chosen(Family::kIpv6, {network("10.0.0.0/8")}), "fd63:6f72:646f::/64");
}

TEST(ChooseSubnet, NeverOverlapsWhatItWasGiven) {
  std::vector<HostNetwork> used;
  for (;;) {
    const auto subnet = choose_subnet(Family::kIpv4, used);
    if (!subnet) break;
    for (const HostNetwork& other : used) EXPECT_FALSE(other.prefix.overlaps(*subnet));
    EXPECT_TRUE(check_subnet(*subnet, used)) << subnet->to_string();
    used.push_back(HostNetwork{.prefix = *subnet, .what = "taken"});
    ASSERT_LT(used.size(), 100U);
  }
  EXPECT_GE(used.size(), 10U);
}

TEST(ChooseSubnet, AsksForSubnetWhereNothingIsFree) {
  const auto subnet = choose_subnet(
      Family::kIpv4, std::vector<HostNetwork>{network("10.0.0.0/8"), network("172.16.0.0/12"),
                                              network("192.168.0.0/16")});
  ASSERT_FALSE(subnet);
  EXPECT_NE(subnet.error().message().find("--subnet"), std::string::npos);
}

TEST(CheckSubnet, NamesTheRouteThatItOverlaps) {
  const std::vector<HostNetwork> used{network("10.9.0.0/16", "route 10.9.0.0/16 dev eth0")};
  const auto status = check_subnet(*Prefix::parse("10.9.8.0/24"), used);
  ASSERT_FALSE(status);
  EXPECT_EQ(
      status.error().message(),
      "--subnet 10.9.8.0/24: overlaps the host's route 10.9.0.0/16 dev eth0; choose another, or "
      "leave --subnet out and one is found");
}

TEST(CheckSubnet, HasRoomForFourAddressesAndIsPrivate) {
  EXPECT_TRUE(check_subnet(*Prefix::parse("10.9.8.0/29"), {}));
  EXPECT_FALSE(check_subnet(*Prefix::parse("10.9.8.0/30"), {}));
  EXPECT_TRUE(check_subnet(*Prefix::parse("fd00:1::/125"), {}));
  EXPECT_FALSE(check_subnet(*Prefix::parse("fd00:1::/126"), {}));
  EXPECT_TRUE(check_subnet(*Prefix::parse("192.168.7.0/24"), {}));
  EXPECT_FALSE(check_subnet(*Prefix::parse("198.51.100.0/24"), {}));
  EXPECT_FALSE(check_subnet(*Prefix::parse("2001:db8::/64"), {}));
  EXPECT_FALSE(check_subnet(*Prefix::parse("127.0.0.0/24"), {}));
  EXPECT_FALSE(check_subnet(*Prefix::parse("0.0.0.0/0"), {}));
  EXPECT_FALSE(check_subnet(*Prefix::parse("10.0.0.0/7"), {}));
}

TEST(LayOut, CountsFromTheSubnetsOwnAddress) {
  const LinkFamily v4 = lay_out(*Prefix::parse("10.9.8.32/29"));
  EXPECT_EQ(v4.gateway.to_string(), "10.9.8.33");
  EXPECT_EQ(v4.guest.to_string(), "10.9.8.34");
  EXPECT_EQ(v4.resolver.to_string(), "10.9.8.35");
  EXPECT_EQ(v4.host_door.to_string(), "10.9.8.36");
  const LinkFamily v6 = lay_out(*Prefix::parse("fd00:1::/64"));
  EXPECT_EQ(v6.gateway.to_string(), "fd00:1::1");
  EXPECT_EQ(v6.guest.to_string(), "fd00:1::2");
  EXPECT_EQ(v6.resolver.to_string(), "fd00:1::3");
  EXPECT_EQ(v6.host_door.to_string(), "fd00:1::4");
}

TEST(ReadHostNetworks, LeavesOutWhatEveryHostHas) {
  const auto networks = read_host_networks();
  ASSERT_TRUE(networks) << networks.error().message();
  for (const HostNetwork& found : *networks) {
    EXPECT_GE(found.prefix.length(), 2U) << found.what;
    EXPECT_FALSE(found.prefix.address().is_loopback()) << found.what;
    EXPECT_FALSE(found.what.empty());
  }
}

}  // namespace
}  // namespace cordon
