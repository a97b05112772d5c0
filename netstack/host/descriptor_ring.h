// Descriptors on their way from one thread to another: one writes, one reads, nobody waits.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "netstack/base/unique_fd.h"

namespace cordon {

class DescriptorRing {
 public:
  DescriptorRing() = default;
  DescriptorRing(const DescriptorRing&) = delete;
  DescriptorRing& operator=(const DescriptorRing&) = delete;
  DescriptorRing(DescriptorRing&&) = delete;
  DescriptorRing& operator=(DescriptorRing&&) = delete;
  ~DescriptorRing() {
    while (pop().is_open()) {
    }
  }

  /// The writer: takes all of them, or none where there is no room for all.
  [[nodiscard]] bool push(std::span<UniqueFd> descriptors) {
    const std::uint32_t end = end_.load(std::memory_order_relaxed);
    const std::uint32_t used = end - begin_.load(std::memory_order_acquire);
    if (descriptors.size() > numbers_.size() - used) return false;
    std::uint32_t at = end;
    for (UniqueFd& descriptor : descriptors) numbers_[at++ % kSize] = descriptor.release();
    end_.store(at, std::memory_order_release);
    return true;
  }

  /// The reader: the next one, or none that is open.
  [[nodiscard]] UniqueFd pop() {
    const std::uint32_t begin = begin_.load(std::memory_order_relaxed);
    if (begin == end_.load(std::memory_order_acquire)) return {};
    UniqueFd descriptor(numbers_[begin % kSize]);
    begin_.store(begin + 1, std::memory_order_release);
    return descriptor;
  }

 private:
  static constexpr std::uint32_t kSize = 128;  // a power of two: the counters wrap
  std::array<int, kSize> numbers_{};
  std::atomic<std::uint32_t> begin_{0};
  std::atomic<std::uint32_t> end_{0};
};

}  // namespace cordon
