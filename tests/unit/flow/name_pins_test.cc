#include "netstack/flow/name_pins.h"

#include <algorithm>
#include <chrono>

#include <gtest/gtest.h>

#include "netstack/flow/timeouts.h"

namespace cordon {
namespace {

using namespace std::chrono_literals;  // NOLINT: the tests' own language

constexpr Instant kStart = Instant{} + 1h;

class Pins : public testing::Test {
 protected:
  const IpAddress address_ = *IpAddress::parse("198.51.100.7");
  const DnsName one_ = *DnsName::parse("one.example");
  const DnsName two_ = *DnsName::parse("two.example");
  NamePins pins_{SipKey{.k0 = 1, .k1 = 2}};
};

TEST_F(Pins, HoldForTheTtlAndAtLeastAnHour) {
  pins_.pin(kStart, address_, one_, 1s);
  pins_.pin(kStart, address_, two_, 5h);
  ASSERT_EQ(pins_.at(address_).size(), 2U);
  EXPECT_EQ(pins_.at(address_)[0].until, kStart + kNamePin);
  EXPECT_EQ(pins_.at(address_)[1].until, kStart + 5h);
  EXPECT_TRUE(pins_.at(*IpAddress::parse("198.51.100.8")).empty());
}

TEST_F(Pins, AreRenewedAndNeverCutShort) {
  pins_.pin(kStart, address_, one_, 5h);
  pins_.pin(kStart + 1h, address_, one_, 1s);
  ASSERT_EQ(pins_.at(address_).size(), 1U);
  EXPECT_EQ(pins_.at(address_)[0].until, kStart + 5h);
  pins_.pin(kStart + 10h, address_, one_, 1s);
  EXPECT_EQ(pins_.at(address_)[0].until, kStart + 10h + kNamePin);
}

TEST_F(Pins, OfManyNamesTheOneThatEndsFirstMakesRoom) {
  std::vector<DnsName> names;
  for (std::size_t i = 0; i <= kMaxNamesPerAddress; ++i) {
    names.push_back(*DnsName::parse("n" + std::to_string(i) + ".example"));
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    pins_.pin(kStart + i * 1s, address_, names[i], 1s);
  }
  const auto found = pins_.at(address_);
  EXPECT_EQ(found.size(), kMaxNamesPerAddress);
  const auto has = [&](const DnsName& name) {
    return std::ranges::any_of(found, [&](const NamePins::Pin& pin) { return pin.name == &name; });
  };
  EXPECT_FALSE(has(names.front()));
  EXPECT_TRUE(has(names.back()));
}

TEST_F(Pins, AddressesMakeRoomForNewOnes) {
  for (std::uint32_t i = 0; i <= kMaxPinnedAddresses; ++i) {
    pins_.pin(kStart, IpAddress::v4(0x0a000000 + i), one_, 1s);
  }
  EXPECT_TRUE(pins_.at(IpAddress::v4(0x0a000000)).empty());
  EXPECT_EQ(pins_.at(IpAddress::v4(0x0a000000 + kMaxPinnedAddresses)).size(), 1U);
}

}  // namespace
}  // namespace cordon
