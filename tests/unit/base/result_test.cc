#include "netstack/base/result.h"

#include <cerrno>
#include <memory>

#include <gtest/gtest.h>

namespace cordon {
namespace {

TEST(Error, TheMessageIsTheChainAndTheErrno) {
  const Error error{.code = EACCES, .what = "open /proc/42/ns/net"};
  EXPECT_EQ(error.message(), "open /proc/42/ns/net: Permission denied");
}

TEST(Error, WithoutAnErrnoTheMessageIsTheChain) {
  EXPECT_EQ(plain_error("no such option").error().message(), "no such option");
}

TEST(Error, AnErrnoThatNobodyKnowsIsANumber) {
  EXPECT_EQ(errno_error(99'999, "call").error().message(), "call: errno 99999");
}

TEST(Error, TheErrnoIsThatOfTheCallBefore) {
  errno = ENOENT;
  EXPECT_EQ(errno_error("open x").error().code, ENOENT);
}

TEST(Error, WrappingPutsTheOuterStepInFront) {
  const Error error = wrap("attach 42", Error{.code = EPERM, .what = "setns"}).error();
  EXPECT_EQ(error.message(), "attach 42: setns: Operation not permitted");
}

Result<int> half(int value) {
  if (value % 2 != 0) return plain_error("odd");
  return value / 2;
}

Result<int> quarter(int value) {
  CORDON_TRY(const int first, half(value));
  CORDON_TRY(const int second, half(first));
  return second;
}

Status check_quarter(int value) {
  CORDON_TRY_STATUS(quarter(value));
  return {};
}

Result<std::unique_ptr<int>> make(int value) { return std::make_unique<int>(value); }

Result<int> read_moved() {
  CORDON_TRY(const std::unique_ptr<int> pointer, make(5));
  return *pointer;
}

TEST(Try, TheValueIsDeclaredOrTheErrorReturned) {
  EXPECT_EQ(quarter(12).value(), 3);
  EXPECT_EQ(quarter(6).error().what, "odd");
  EXPECT_EQ(quarter(5).error().what, "odd");
  EXPECT_TRUE(check_quarter(8));
  EXPECT_FALSE(check_quarter(7));
}

TEST(Try, AValueThatCannotBeCopiedIsMoved) { EXPECT_EQ(read_moved().value(), 5); }

}  // namespace
}  // namespace cordon
