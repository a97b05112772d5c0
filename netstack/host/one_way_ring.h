// Values on their way from one thread to another: one writes, one reads, nobody waits.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

namespace cordon {

template <class T, std::uint32_t kSize>
class OneWayRing {
  static_assert(std::has_single_bit(kSize), "the counters wrap");
  static_assert(std::is_trivially_default_constructible_v<T>, "values stay unwritten at first");

 public:
  OneWayRing() = default;
  OneWayRing(const OneWayRing&) = delete;
  OneWayRing& operator=(const OneWayRing&) = delete;
  OneWayRing(OneWayRing&&) = delete;
  OneWayRing& operator=(OneWayRing&&) = delete;
  ~OneWayRing() = default;

  /// The writer: all of them, or none where there is no room for all.
  [[nodiscard]] bool push(std::span<const T> values) {
    const std::uint32_t end = end_.load(std::memory_order_relaxed);
    const std::uint32_t used = end - begin_.load(std::memory_order_acquire);
    if (values.size() > kSize - used) return false;
    std::uint32_t at = end;
    for (const T& value : values) values_[at++ % kSize] = value;
    end_.store(at, std::memory_order_release);
    return true;
  }

  /// The reader: the next one.
  [[nodiscard]] std::optional<T> pop() {
    const std::uint32_t begin = begin_.load(std::memory_order_relaxed);
    if (begin == end_.load(std::memory_order_acquire)) return std::nullopt;
    const T value = values_[begin % kSize];
    begin_.store(begin + 1, std::memory_order_release);
    return value;
  }

 private:
  std::array<T, kSize> values_;  // unwritten until it is used: a large one costs no memory
  std::atomic<std::uint32_t> begin_{0};
  std::atomic<std::uint32_t> end_{0};
};

}  // namespace cordon
