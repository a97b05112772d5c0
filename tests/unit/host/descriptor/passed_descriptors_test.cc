#include "netstack/host/descriptor/passed_descriptors.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

namespace cordon {
namespace {

class PassedDescriptorsTest : public testing::Test {
 protected:
  PassedDescriptorsTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends.data()), 0);
    ours = UniqueFd(ends[0]);
    theirs = UniqueFd(ends[1]);
  }
  /// The write ends of pipes, whose read ends say by their end that nobody has them any more.
  std::vector<int> pipes(std::size_t count) {
    std::vector<int> numbers;
    for (std::size_t i = 0; i < count; ++i) {
      std::array<int, 2> ends{};
      EXPECT_EQ(pipe2(ends.data(), O_NONBLOCK), 0);
      readers.emplace_back(ends[0]);
      writers.emplace_back(ends[1]);
      numbers.push_back(ends[1]);
    }
    return numbers;
  }
  [[nodiscard]] bool is_gone(std::size_t pipe) const {
    char octet = 0;
    return read(readers.at(pipe).get(), &octet, 1) == 0;
  }

  UniqueFd ours;
  UniqueFd theirs;
  std::vector<UniqueFd> readers;
  std::vector<UniqueFd> writers;
  std::array<std::byte, 4> words{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  std::array<std::byte, 4> heard{};
};

TEST_F(PassedDescriptorsTest, ArriveWithTheirPacketInTheirOrder) {
  const std::vector<int> numbers = pipes(kMaxPassedDescriptors);
  ASSERT_TRUE(pass_descriptors(ours.get(), words, numbers));
  writers.clear();
  std::array<UniqueFd, kMaxPassedDescriptors> taken;
  const auto packet = take_descriptors(theirs.get(), heard, taken);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->octets, 4U);
  EXPECT_EQ(heard, words);
  ASSERT_EQ(packet->descriptors, kMaxPassedDescriptors);
  for (std::size_t i = 0; i < taken.size(); ++i) {
    EXPECT_EQ(fcntl(taken[i].get(), F_GETFD), FD_CLOEXEC);
    ASSERT_EQ(write(taken[i].get(), "x", 1), 1);
    char octet = 0;
    EXPECT_EQ(read(readers[i].get(), &octet, 1), 1) << i;
    taken[i].reset();
    EXPECT_TRUE(is_gone(i));
  }
}

TEST_F(PassedDescriptorsTest, AreClosedWhereThereIsNoPlaceForThem) {
  ASSERT_TRUE(pass_descriptors(ours.get(), words, pipes(3)));
  writers.clear();
  std::array<UniqueFd, 1> taken;
  const auto packet = take_descriptors(theirs.get(), heard, taken);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->descriptors, 1U);
  EXPECT_FALSE(is_gone(0));
  EXPECT_TRUE(is_gone(1));
  EXPECT_TRUE(is_gone(2));
}

TEST_F(PassedDescriptorsTest, AreNeverMoreThanAPacketHasRoomFor) {
  const IoStatus passed = pass_descriptors(ours.get(), words, pipes(kMaxPassedDescriptors + 1));
  ASSERT_FALSE(passed);
  EXPECT_EQ(passed.error().value, E2BIG);
}

TEST_F(PassedDescriptorsTest, MayBeNone) {
  ASSERT_TRUE(pass_descriptors(ours.get(), words, {}));
  const auto packet = take_descriptors(theirs.get(), heard, {});
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->octets, 4U);
  EXPECT_EQ(packet->descriptors, 0U);
}

TEST_F(PassedDescriptorsTest, SayWhenTheOtherSideHasClosedOrNothingWaits) {
  const auto nothing = take_descriptors(theirs.get(), heard, {}, MSG_DONTWAIT);
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().value, EAGAIN);
  ours.reset();
  const auto end = take_descriptors(theirs.get(), heard, {});
  ASSERT_TRUE(end);
  EXPECT_EQ(end->octets, 0U);
  const IoStatus passed = pass_descriptors(theirs.get(), words, {});
  ASSERT_FALSE(passed);
  EXPECT_EQ(passed.error().value, EPIPE);
}

}  // namespace
}  // namespace cordon
