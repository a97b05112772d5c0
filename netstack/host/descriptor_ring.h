// Descriptors on their way from one thread to another. What nobody took is closed with the ring.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "netstack/host/descriptor/unique_fd.h"
#include "netstack/host/one_way_ring.h"

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
    std::array<int, kSize> numbers{};
    if (descriptors.size() > kSize) return false;
    for (std::size_t i = 0; i < descriptors.size(); ++i) numbers[i] = descriptors[i].get();
    if (!ring_.push(std::span<const int>(numbers).first(descriptors.size()))) return false;
    for (UniqueFd& descriptor : descriptors) (void)descriptor.release();
    return true;
  }

  /// The reader: the next one, or none that is open.
  [[nodiscard]] UniqueFd pop() { return UniqueFd(ring_.pop().value_or(-1)); }

 private:
  static constexpr std::size_t kSize = 128;
  OneWayRing<int, kSize> ring_;
};

}  // namespace cordon
