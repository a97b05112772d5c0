#include "netstack/host/descriptor/unique_fd.h"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace cordon {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

int open_one() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

TEST(UniqueFd, TheDescriptorIsClosedWithItsOwner) {
  int fd = -1;
  {
    const UniqueFd owner(open_one());
    fd = owner.get();
    ASSERT_TRUE(is_open(fd));
  }
  EXPECT_FALSE(is_open(fd));
}

TEST(UniqueFd, MovingLeavesOneOwner) {
  UniqueFd first(open_one());
  const int fd = first.get();
  UniqueFd second(std::move(first));
  EXPECT_EQ(second.get(), fd);
  UniqueFd third(open_one());
  const int replaced = third.get();
  third = std::move(second);
  EXPECT_EQ(third.get(), fd);
  EXPECT_FALSE(is_open(replaced));
  EXPECT_TRUE(is_open(fd));
}

TEST(UniqueFd, AReleasedDescriptorStaysOpen) {
  UniqueFd owner(open_one());
  const int fd = owner.release();
  EXPECT_FALSE(owner.is_open());
  EXPECT_TRUE(is_open(fd));
  ::close(fd);
}

TEST(UniqueFd, ClosingLeavesErrnoAsItWas) {
  UniqueFd bad(1'000'000);
  errno = ENOENT;
  bad.reset();
  EXPECT_EQ(errno, ENOENT);
}

}  // namespace
}  // namespace cordon
