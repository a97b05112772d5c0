#include "netstack/flow/destination_load.h"

#include <gtest/gtest.h>

namespace cordon {
namespace {

using namespace std::chrono_literals;

const IpAddress kBusy = IpAddress::v4({198, 51, 100, 17});
const IpAddress kOther = IpAddress::v4({198, 51, 100, 18});
constexpr Instant kStart = Instant{} + 1h;

TEST(DestinationLoad, DialsOfOneAddressAreCountedUntilTheyEnd) {
  DestinationLoad load({.k0 = 1, .k1 = 2});
  for (std::size_t i = 0; i < kMaxHalfOpenPerAddress; ++i) {
    EXPECT_TRUE(load.may_dial(kBusy));
    load.dial_began(kBusy);
  }
  EXPECT_FALSE(load.may_dial(kBusy));
  EXPECT_TRUE(load.may_dial(kOther));
  load.dial_ended(kBusy);
  EXPECT_TRUE(load.may_dial(kBusy));
}

TEST(DestinationLoad, NewFlowsHaveABurstAndARate) {
  DestinationLoad load({.k0 = 1, .k1 = 2});
  const auto begin = [&](Instant now) {
    std::size_t begun = 0;
    while (load.may_begin(kBusy, now)) ++begun;
    return begun;
  };
  EXPECT_EQ(begin(kStart), kNewFlowsBurst);
  EXPECT_EQ(begin(kStart), 0U);
  EXPECT_TRUE(load.may_begin(kOther, kStart));
  EXPECT_EQ(begin(kStart + 100ms), kNewFlowsPerSecond / 10);
  EXPECT_EQ(begin(kStart + 24h), kNewFlowsBurst);
}

TEST(DestinationLoad, WhoSharesABucketDependsOnTheKey) {
  // Of addresses that share kBusy's limit under one key few share it under another.
  const auto sharing = [](const SipKey& key) {
    DestinationLoad load(key);
    for (std::size_t i = 0; i < kMaxHalfOpenPerAddress; ++i) load.dial_began(kBusy);
    std::vector<std::uint32_t> found;
    for (std::uint32_t i = 0; i < 20000; ++i) {
      if (!load.may_dial(IpAddress::v4(0x0a000000 + i))) found.push_back(i);
    }
    return found;
  };
  const std::vector<std::uint32_t> one = sharing({.k0 = 1, .k1 = 2});
  const std::vector<std::uint32_t> other = sharing({.k0 = 3, .k1 = 4});
  EXPECT_FALSE(one.empty());
  EXPECT_LT(one.size(), 60U);
  EXPECT_NE(one, other);
}

}  // namespace
}  // namespace cordon
