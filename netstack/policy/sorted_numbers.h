// A sorted list of numbers that is searched in few cache lines: a tree without pointers. The list
// is cut into blocks; the first numbers of the blocks are the list above it, and so on up to a list
// of one block. A search reads one block of each list, five for a million numbers, and has no
// branch that depends on what is found. A policy is asked once a flow, so that its tables are
// mostly cold.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace cordon {

class SortedNumbers {
 public:
  SortedNumbers() = default;
  /// In ascending order, equal ones among them or not.
  explicit SortedNumbers(std::vector<std::uint64_t> numbers) {
    lists_.push_back(std::move(numbers));
    while (lists_.back().size() > kBlock) {
      std::vector<std::uint64_t> firsts;
      for (std::size_t i = 0; i < lists_.back().size(); i += kBlock) {
        firsts.push_back(lists_.back()[i]);
      }
      lists_.push_back(std::move(firsts));
    }
    std::ranges::reverse(lists_);
  }

  /// How many are not above `wanted`.
  [[nodiscard]] std::size_t count_up_to(std::uint64_t wanted) const {
    std::size_t count = 0;
    for (const std::vector<std::uint64_t>& list : lists_) {
      // The block whose first number is the last that is not above.
      const std::size_t start = count == 0 ? 0 : (count - 1) * kBlock;
      const std::size_t size = std::min(kBlock, list.size() - start);
      count = start;
      for (const std::uint64_t number : std::span(list).subspan(start, size)) {
        count += number <= wanted ? 1 : 0;
      }
      if (count == 0) return 0;
    }
    return count;
  }

 private:
  static constexpr std::size_t kBlock = 16;  // two cache lines, which processors fetch together
  std::vector<std::vector<std::uint64_t>> lists_;  // from the top
};

}  // namespace cordon
