#include "sandbox/isolation_steps.h"

#include <gtest/gtest.h>

namespace cordon {
namespace {

TEST(IsolationSteps, AFailureNamesActorStepAndErrno) {
  const IsolationSteps steps("guest", "");
  const Status outcome = steps.check("mount /proc", errno_error(EPERM, ""));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message(), "guest: mount /proc: Operation not permitted");
}

TEST(IsolationSteps, AFailuresOwnWordsStandBehindTheStep) {
  const IsolationSteps steps("translator", "");
  const Status outcome = steps.check("limits", errno_error(EINVAL, "setrlimit 7"));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message(), "translator: limits: setrlimit 7: Invalid argument");
}

TEST(IsolationSteps, WhatGoesWellGoesOn) {
  EXPECT_TRUE(IsolationSteps("guest", "").check("limits", Status()));
  EXPECT_TRUE(IsolationSteps("guest", "landlock").check("limits", Status()));
}

TEST(IsolationSteps, TheStepThatIsToFailFails) {
  const Status outcome = IsolationSteps("guest", "limits").check("limits", Status());
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message(), "guest: limits: Operation not permitted");
}

}  // namespace
}  // namespace cordon
