#include "netstack/policy/sorted_numbers.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

namespace cordon {
namespace {

TEST(SortedNumbers, CountAsASearchThroughTheListDoes) {
  std::mt19937_64 random(1);
  // Sizes around one block, two lists and three, with few different numbers and with many.
  for (const std::size_t size :
       {0, 1, 2, 15, 16, 17, 31, 32, 33, 255, 256, 257, 4095, 4096, 4097}) {
    for (const std::uint64_t limit : {std::uint64_t{3}, std::uint64_t{300}, UINT64_MAX}) {
      std::vector<std::uint64_t> numbers(size);
      for (std::uint64_t& number : numbers) number = random() % limit;
      std::ranges::sort(numbers);
      const SortedNumbers sorted(numbers);
      for (int i = 0; i < 400; ++i) {
        const std::uint64_t near = size == 0 ? 0 : numbers[random() % size];
        for (const std::uint64_t wanted : {near - 1, near, near + 1, random() % limit}) {
          const auto behind = std::ranges::upper_bound(numbers, wanted);
          ASSERT_EQ(sorted.count_up_to(wanted), static_cast<std::size_t>(behind - numbers.begin()))
              << size << " numbers, " << wanted;
        }
      }
      EXPECT_EQ(sorted.count_up_to(UINT64_MAX), size);
    }
  }
}

TEST(SortedNumbers, WithoutAnyThereIsNone) { EXPECT_EQ(SortedNumbers().count_up_to(7), 0U); }

}  // namespace
}  // namespace cordon
