#include "netstack/base/token_bucket.h"

#include <gtest/gtest.h>

namespace cordon {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

int take_all(TokenBucket& bucket, Instant now) {
  int taken = 0;
  while (taken < 100'000 && bucket.take(now)) ++taken;
  return taken;
}

TEST(TokenBucket, TheBurstIsThereFromTheStart) {
  TokenBucket bucket(100, 50);
  EXPECT_EQ(take_all(bucket, Instant{}), 50);
}

TEST(TokenBucket, TokensComeBackAtTheRate) {
  TokenBucket bucket(100, 50);
  Instant now{seconds(5)};
  EXPECT_EQ(take_all(bucket, now), 50);
  now += milliseconds(10) - nanoseconds(1);
  EXPECT_EQ(take_all(bucket, now), 0);
  now += nanoseconds(1);
  EXPECT_EQ(take_all(bucket, now), 1);
  now += milliseconds(200);
  EXPECT_EQ(take_all(bucket, now), 20);
}

TEST(TokenBucket, ALongPauseFillsItAndNoMore) {
  TokenBucket bucket(100, 50);
  EXPECT_EQ(take_all(bucket, Instant{}), 50);
  EXPECT_EQ(take_all(bucket, Instant{hours(24 * 365 * 100)}), 50);
}

TEST(TokenBucket, TimeThatGoesBackGivesNothing) {
  TokenBucket bucket(10, 1);
  const Instant now{seconds(100)};
  EXPECT_TRUE(bucket.take(now));
  EXPECT_FALSE(bucket.take(now - seconds(50)));
  EXPECT_FALSE(bucket.take(now));
  EXPECT_TRUE(bucket.take(now + milliseconds(100)));
}

TEST(TokenBucket, TheRateHoldsOverManySmallSteps) {
  TokenBucket bucket(2000, 4000);
  Instant now{};
  int taken = take_all(bucket, now);
  for (int i = 0; i < 10'000; ++i) {
    now += milliseconds(1);
    taken += take_all(bucket, now);
  }
  EXPECT_EQ(taken, 4000 + 20'000);
}

}  // namespace
}  // namespace cordon
