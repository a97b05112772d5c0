#include "netstack/host/one_way_ring.h"

#include <array>
#include <thread>

#include <gtest/gtest.h>

namespace cordon {
namespace {

TEST(OneWayRing, GivesValuesInTheirOrderForEver) {
  OneWayRing<int, 4> ring;
  EXPECT_FALSE(ring.pop());
  for (int round = 0; round < 100; ++round) {
    const std::array three{round, round + 1, round + 2};
    ASSERT_TRUE(ring.push(three));
    for (const int value : three) EXPECT_EQ(ring.pop(), value);
    EXPECT_FALSE(ring.pop());
  }
}

TEST(OneWayRing, TakesAllOrNone) {
  OneWayRing<int, 4> ring;
  ASSERT_TRUE(ring.push(std::array{1, 2, 3}));
  EXPECT_FALSE(ring.push(std::array{4, 5}));
  EXPECT_TRUE(ring.push(std::array{4}));
  EXPECT_FALSE(ring.push(std::array{5}));
  for (int value = 1; value <= 4; ++value) EXPECT_EQ(ring.pop(), value);
  EXPECT_FALSE(ring.pop());
}

TEST(OneWayRing, LosesNothingBetweenThreads) {
  constexpr int kAll = 100000;
  OneWayRing<int, 64> ring;
  std::thread reader([&] {
    for (int wanted = 0; wanted < kAll;) {
      if (const std::optional<int> value = ring.pop()) {
        ASSERT_EQ(*value, wanted);
        ++wanted;
      }
    }
  });
  for (int value = 0; value < kAll;) {
    if (ring.push(std::array{value})) ++value;
  }
  reader.join();
}

}  // namespace
}  // namespace cordon
