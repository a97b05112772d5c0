#include "netstack/host/descriptor_ring.h"

#include <fcntl.h>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace cordon {
namespace {

UniqueFd any_descriptor() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

std::vector<UniqueFd> some_descriptors(std::size_t count) {
  std::vector<UniqueFd> descriptors;
  for (std::size_t i = 0; i < count; ++i) descriptors.push_back(any_descriptor());
  return descriptors;
}

TEST(DescriptorRing, GivesBackWhatWasPutInAndInThatOrder) {
  DescriptorRing ring;
  EXPECT_FALSE(ring.pop().is_open());
  for (int round = 0; round < 100; ++round) {
    std::vector<UniqueFd> put = some_descriptors(3);
    const std::vector<int> numbers{put[0].get(), put[1].get(), put[2].get()};
    ASSERT_TRUE(ring.push(put));
    for (const int number : numbers) EXPECT_EQ(ring.pop().get(), number);
    EXPECT_FALSE(ring.pop().is_open());
  }
}

TEST(DescriptorRing, TakesAllOrNone) {
  DescriptorRing ring;
  std::vector<UniqueFd> most = some_descriptors(127);
  ASSERT_TRUE(ring.push(most));
  std::vector<UniqueFd> two = some_descriptors(2);
  EXPECT_FALSE(ring.push(two));
  EXPECT_TRUE(two[0].is_open());
  EXPECT_TRUE(two[1].is_open());
  EXPECT_TRUE(ring.push(std::span(two).first(1)));
}

TEST(DescriptorRing, ClosesWhatIsLeftInIt) {
  int number = -1;
  {
    DescriptorRing ring;
    std::vector<UniqueFd> one = some_descriptors(1);
    number = one[0].get();
    ASSERT_TRUE(ring.push(one));
  }
  EXPECT_EQ(fcntl(number, F_GETFD), -1);
}

TEST(DescriptorRing, LosesNothingBetweenThreads) {
  constexpr int kAll = 20000;
  DescriptorRing ring;
  int closed = 0;
  std::thread reader([&] {
    while (closed < kAll) {
      if (ring.pop().is_open()) ++closed;
    }
  });
  for (int put = 0; put < kAll;) {
    std::vector<UniqueFd> one = some_descriptors(1);
    while (!ring.push(one)) std::this_thread::yield();
    ++put;
  }
  reader.join();
  EXPECT_EQ(closed, kAll);
}

}  // namespace
}  // namespace cordon
