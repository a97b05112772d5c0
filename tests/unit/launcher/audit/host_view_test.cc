#include "launcher/audit/host_view.h"

#include <set>

#include <gtest/gtest.h>

namespace cordon::audit {
namespace {

IpAddress address(const char* text) { return *IpAddress::parse(text); }

TEST(Gateways, AreReadFromTheKernelsTables) {
  EXPECT_EQ(parse_gateways_v4("Iface\tDestination\tGateway \tFlags\tRefCnt\n"
                              "eth0\t00000000\t016433C6\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
                              "eth0\t006433C6\t00000000\t0001\t0\t0\t0\tF0FFFFFF\t0\t0\t0\n"
                              "eth1\t00000000\t016433C6\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"),
            std::vector{address("198.51.100.1")});
  EXPECT_EQ(parse_gateways_v6(
                "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
                "20010db8000000000000000000000001 00000400 00000001 00000000 00000003 uplink\n"
                "20010db8000000000000000000000000 40 00000000000000000000000000000000 00 "
                "00000000000000000000000000000000 00000100 00000001 00000000 00000001 uplink\n"),
            std::vector{address("2001:db8::1")});
  EXPECT_TRUE(parse_gateways_v4("").empty());
  EXPECT_TRUE(parse_gateways_v6("nonsense\n\n 1 2 3 4 xyz\n").empty());
}

TEST(UnusedNeighbour, LiesInThePrefixAndIsNobodyKnown) {
  const Prefix prefix = *Prefix::parse("198.51.100.0/29");
  std::vector<IpAddress> known;
  // Six hosts; the network's own and the broadcast address are never told.
  for (int i = 0; i < 6; ++i) {
    const auto neighbour = unused_neighbour(prefix, 3, known);
    ASSERT_TRUE(neighbour);
    EXPECT_TRUE(prefix.contains(*neighbour));
    EXPECT_NE(*neighbour, address("198.51.100.0"));
    EXPECT_NE(*neighbour, address("198.51.100.7"));
    known.push_back(*neighbour);
  }
  EXPECT_EQ(unused_neighbour(prefix, 3, known), std::nullopt);
}

TEST(UnusedNeighbour, IsAnotherOneForAnotherSalt) {
  std::set<std::string> seen;
  for (std::uint64_t salt = 1; salt <= 50; ++salt) {
    seen.insert(
        unused_neighbour(*Prefix::parse("2001:db8::/64"), salt * 0x123456789, {})->to_string());
  }
  EXPECT_EQ(seen.size(), 50U);
  EXPECT_EQ(unused_neighbour(*Prefix::parse("198.51.100.0/30"), 1, {}), std::nullopt);
  EXPECT_EQ(unused_neighbour(*Prefix::parse("2001:db8::/127"), 1, {}), std::nullopt);
}

TEST(WrappedForms, CarryTheAddressWhereTheirRfcsPutIt) {
  std::vector<std::string> forms;
  for (const IpAddress& form : wrapped_forms(address("198.51.100.2"))) {
    forms.push_back(form.to_string());
  }
  EXPECT_EQ(forms,
            (std::vector<std::string>{"::ffff:c633:6402", "::c633:6402", "64:ff9b::c633:6402",
                                      "2002:c633:6402::", "2001::39cc:9bfd"}));
}

TEST(LeakOfAddress, GoesByWhereTheAddressIs) {
  EXPECT_EQ(leak_of_address(address("127.0.0.53")), Leak::kLoopbackV4);
  EXPECT_EQ(leak_of_address(address("::1")), Leak::kLoopbackV6);
  EXPECT_EQ(leak_of_address(address("fe80::1")), Leak::kHostLinkLocal);
  EXPECT_EQ(leak_of_address(address("169.254.1.1")), Leak::kHostLinkLocal);
  EXPECT_EQ(leak_of_address(address("10.0.0.1")), Leak::kHostAddressV4);
  EXPECT_EQ(leak_of_address(address("2001:db8::1")), Leak::kHostAddressV6);
}

}  // namespace
}  // namespace cordon::audit
