#include "netstack/wire/drop.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace cordon {
namespace {

TEST(DropNames, EveryReasonHasOneOfItsOwn) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kDropReasons; ++i) {
    const std::string_view name = drop_name(static_cast<Drop>(i));
    EXPECT_NE(name, "unknown") << i;
    EXPECT_TRUE(names.insert(name).second) << name;
    // Lower case and hyphens: the names are searched for in logs.
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz-"), std::string_view::npos)
        << name;
  }
  EXPECT_EQ(drop_name(Drop::kTruncated), "truncated");
  EXPECT_EQ(drop_name(Drop::kBadIpChecksum), "bad-ip-checksum");
  EXPECT_EQ(drop_name(Drop::kTooBig), "too-big");
}

TEST(DropCounters, EachReasonIsCountedByItself) {
  DropCounters counters;
  counters.add(Drop::kDenied);
  counters.add(Drop::kDenied);
  counters.add(Drop::kTooBig);
  EXPECT_EQ(counters.of(Drop::kDenied), 2U);
  EXPECT_EQ(counters.of(Drop::kTooBig), 1U);
  EXPECT_EQ(counters.of(Drop::kTruncated), 0U);
}

}  // namespace
}  // namespace cordon
