// Binary search without branches that depend on what is found: a mispredicted one costs more than
// the comparison, and in a large table every second one is.
#pragma once

#include <cstddef>
#include <span>

namespace cordon {

/// How many of `sorted` are before the first for which `is_before` is false.
template <class T, class IsBefore>
[[nodiscard]] std::size_t count_before(std::span<const T> sorted, IsBefore is_before) {
  if (sorted.empty()) return 0;
  const T* base = sorted.data();
  std::size_t size = sorted.size();
  while (size > 1) {
    const std::size_t half = size / 2;
    base += half & -static_cast<std::size_t>(is_before(base[half - 1]));
    size -= half;
  }
  return static_cast<std::size_t>(base - sorted.data()) + (is_before(*base) ? 1 : 0);
}

}  // namespace cordon
