// Big-endian field types for wire formats: octet arrays underneath, so alignment is 1 and no cast
// over a buffer is ever needed. Conversion is explicit both ways.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>

#include "netstack/base/bytes.h"

namespace cordon {

class Be16 {
 public:
  constexpr Be16() = default;
  constexpr explicit Be16(std::uint16_t value)
      : octets_{static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)} {}
  [[nodiscard]] constexpr std::uint16_t get() const {
    return static_cast<std::uint16_t>((octets_[0] << 8) | octets_[1]);
  }

 private:
  std::array<std::uint8_t, 2> octets_{};
};

class Be32 {
 public:
  constexpr Be32() = default;
  constexpr explicit Be32(std::uint32_t value)
      : octets_{static_cast<std::uint8_t>(value >> 24), static_cast<std::uint8_t>(value >> 16),
                static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)} {}
  [[nodiscard]] constexpr std::uint32_t get() const {
    return (std::uint32_t{octets_[0]} << 24) | (std::uint32_t{octets_[1]} << 16) |
           (std::uint32_t{octets_[2]} << 8) | std::uint32_t{octets_[3]};
  }

 private:
  std::array<std::uint8_t, 4> octets_{};
};

/// A header read out of the front of `bytes`, or nullopt where there are too few.
template <class T>
[[nodiscard]] std::optional<T> load(Bytes bytes) {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) == 1);
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

/// Writes a header to the front of `out`; false, and nothing written, where it does not fit.
template <class T>
[[nodiscard]] bool store(MutableBytes out, const T& value) {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) == 1);
  if (out.size() < sizeof(T)) return false;
  std::memcpy(out.data(), &value, sizeof(T));
  return true;
}

}  // namespace cordon
