#include "sandbox/descriptors.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace cordon {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

// In a child, because the test runner has descriptors of its own. The status is a bit per
// descriptor from 40 to 45 that is open afterwards.
int left_open(const std::vector<int>& kept) {
  const pid_t child = ::fork();
  if (child == 0) {
    for (int fd = 40; fd <= 45; ++fd) ::dup2(0, fd);
    if (!close_all_but(kept)) ::_exit(255);
    int bits = 0;
    for (int fd = 40; fd <= 45; ++fd) bits |= is_open(fd) ? 1 << (fd - 40) : 0;
    ::_exit(bits);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

TEST(CloseAllBut, ClosesEverythingAboveTheStandardStreams) { EXPECT_EQ(left_open({}), 0); }

TEST(CloseAllBut, KeepsWhatIsNamedInAnyOrder) {
  EXPECT_EQ(left_open({43, 40, 41}), 0b001011);
  EXPECT_EQ(left_open({45}), 0b100000);
}

TEST(CloseAllBut, TakesDoublesStandardStreamsAndNoneAtAll) {
  EXPECT_EQ(left_open({42, 42, 0, 2, -1}), 0b000100);
}

TEST(OpenPacketPair, KeepsBordersAndEndsWithTheOtherSide) {
  auto pair = open_packet_pair();
  ASSERT_TRUE(pair);
  ASSERT_EQ(::write(pair->first.get(), "ab", 2), 2);
  ASSERT_EQ(::write(pair->first.get(), "c", 1), 1);
  char octets[8];
  EXPECT_EQ(::read(pair->second.get(), octets, sizeof(octets)), 2);
  EXPECT_EQ(::read(pair->second.get(), octets, sizeof(octets)), 1);
  pair->first.reset();
  EXPECT_EQ(::read(pair->second.get(), octets, sizeof(octets)), 0);
}

TEST(WriteFile, SaysWhichFileAndWhy) {
  const Status outcome = write_file("/proc/sys/not/there", "1");
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message(), "open /proc/sys/not/there: No such file or directory");
}

}  // namespace
}  // namespace cordon
