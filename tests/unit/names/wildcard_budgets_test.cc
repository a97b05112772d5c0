#include "netstack/names/wildcard_budgets.h"

#include <chrono>
#include <string>

#include <gtest/gtest.h>

namespace cordon {
namespace {

using namespace std::chrono_literals;  // NOLINT: the tests' own language

constexpr Instant kStart = Instant{} + 1h;

class Wildcards : public testing::Test {
 protected:
  bool take(Duration after, const std::string& name, const char* suffix = "wild.example",
            std::uint32_t most = 3) {
    const NamePattern pattern{.kind = NamePattern::Kind::kSubdomains,
                              .name = *DnsName::parse(suffix)};
    return budgets_.take(kStart + after, pattern, *DnsName::parse(name), most);
  }
  WildcardBudgets budgets_{SipKey{.k0 = 1, .k1 = 2}};
};

TEST_F(Wildcards, CountANameOnceHoweverOftenItIsAsked) {
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(take(0s, "A.wild.example"));
  EXPECT_TRUE(take(0s, "b.wild.example"));
  EXPECT_TRUE(take(0s, "c.wild.example"));
  EXPECT_FALSE(take(0s, "d.wild.example"));
  EXPECT_TRUE(take(0s, "a.wild.example"));
}

TEST_F(Wildcards, AreForEachSuffix) {
  for (const char* name : {"a.wild.example", "b.wild.example", "c.wild.example"}) {
    EXPECT_TRUE(take(0s, name));
  }
  EXPECT_FALSE(take(0s, "d.wild.example"));
  EXPECT_TRUE(take(0s, "d.other.example", "other.example"));
}

TEST_F(Wildcards, ComeBackWhenAMinuteHasPassedSinceEachName) {
  EXPECT_TRUE(take(0s, "a.wild.example"));
  EXPECT_TRUE(take(30s, "b.wild.example"));
  EXPECT_TRUE(take(31s, "c.wild.example"));
  EXPECT_FALSE(take(59s, "d.wild.example"));
  EXPECT_TRUE(take(60s, "d.wild.example"));
  EXPECT_FALSE(take(61s, "a.wild.example"));
  EXPECT_TRUE(take(90s, "a.wild.example"));
}

TEST_F(Wildcards, CountTheOctetsOfLabels) {
  const std::string label(63, 'x');
  std::size_t taken = 0;
  for (int i = 0; i < 100; ++i) {
    if (take(0s, label + "." + std::to_string(100 + i) + ".wild.example", "wild.example", 1000))
      ++taken;
  }
  EXPECT_EQ(taken, kWildcardOctetsPerMinute / (64 + 4));
}

TEST_F(Wildcards, OfMoreSuffixesThanHaveRoomAreUsedUp) {
  for (std::size_t i = 0; i < kMaxBudgetedSuffixes; ++i) {
    const std::string suffix = "s" + std::to_string(i) + ".example";
    EXPECT_TRUE(take(0s, "a." + suffix, suffix.c_str()));
  }
  EXPECT_FALSE(take(0s, "a.more.example", "more.example"));
  EXPECT_TRUE(take(61s, "a.more.example", "more.example"));
}

}  // namespace
}  // namespace cordon
