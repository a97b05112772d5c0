// What the fuzz targets share: a check that ends the run, octets taken from the front of the input,
// and buffers of the exact size, so that AddressSanitizer sees the first octet past an end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "netstack/base/bytes.h"

namespace cordon::fuzz {

/// Ends the process where `claim` does not hold; works in every build type.
inline void check(bool claim, const char* what) {
  if (claim) return;
  std::fprintf(stderr, "claim does not hold: %s\n", what);
  std::abort();
}

/// Whether `view` lies inside `whole`. An empty view lies anywhere.
inline bool is_inside(Bytes view, Bytes whole) {
  if (view.empty()) return true;
  return view.data() >= whole.data() && view.data() + view.size() <= whole.data() + whole.size();
}

inline bool is_equal(Bytes a, Bytes b) { return std::ranges::equal(a, b); }

/// The input as decisions: what is missing at its end reads as 0.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : left_(data, size) {}

  [[nodiscard]] bool is_empty() const { return left_.empty(); }
  std::uint8_t octet() {
    if (left_.empty()) return 0;
    const std::uint8_t value = left_[0];
    left_ = left_.subspan(1);
    return value;
  }
  std::uint16_t word() {
    const unsigned high = octet();
    return static_cast<std::uint16_t>((high << 8) | octet());
  }
  /// Up to `most` octets, in a buffer of their own.
  std::vector<std::uint8_t> octets(std::size_t most) {
    const Bytes taken = left_.first(std::min(most, left_.size()));
    left_ = left_.subspan(taken.size());
    return {taken.begin(), taken.end()};
  }
  std::vector<std::uint8_t> rest() { return octets(left_.size()); }

 private:
  Bytes left_;
};

/// An output buffer that knows whether anything was written behind what was said to be written.
class Output {
 public:
  explicit Output(std::size_t size) : octets_(size, kFill) {}
  [[nodiscard]] MutableBytes span() { return octets_; }
  [[nodiscard]] Bytes written(std::size_t size) const {
    check(size <= octets_.size(), "no more is written than fits");
    check(std::all_of(octets_.begin() + static_cast<std::ptrdiff_t>(size), octets_.end(),
                      [](std::uint8_t octet) { return octet == kFill; }),
          "nothing is written behind the size returned");
    return Bytes(octets_).first(size);
  }

 private:
  static constexpr std::uint8_t kFill = 0xa5;
  std::vector<std::uint8_t> octets_;
};

}  // namespace cordon::fuzz
