// The ports of a rule: one range, every port, or the two of the web that a bare name stands for.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace cordon {

inline constexpr std::uint16_t kHttpPort = 80;
inline constexpr std::uint16_t kHttpsPort = 443;

/// Inclusive; {0, 65535} is every port. first <= last by construction.
struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 65535;
  [[nodiscard]] constexpr bool contains(std::uint16_t port) const {
    return first <= port && port <= last;
  }
  friend constexpr bool operator==(const PortRange&, const PortRange&) = default;
};

class PortSet {
 public:
  /// Every port.
  constexpr PortSet() = default;
  constexpr explicit PortSet(const PortRange& range) : ranges_{range} {}
  constexpr explicit PortSet(std::uint16_t port)
      : ranges_{PortRange{.first = port, .last = port}} {}

  /// 80 and 443: what a name without a port means in an allow rule.
  [[nodiscard]] static constexpr PortSet web() {
    PortSet set(kHttpPort);
    set.ranges_[1] = {.first = kHttpsPort, .last = kHttpsPort};
    set.count_ = 2;
    return set;
  }

  /// In ascending order, one or two.
  [[nodiscard]] constexpr std::span<const PortRange> ranges() const {
    return std::span(ranges_).first(count_);
  }
  [[nodiscard]] constexpr bool contains(std::uint16_t port) const {
    return ranges_[0].contains(port) || (count_ == 2 && ranges_[1].contains(port));
  }
  [[nodiscard]] constexpr bool is_all() const { return *this == PortSet(); }
  [[nodiscard]] constexpr bool is_web() const { return *this == web(); }

  friend constexpr bool operator==(const PortSet&, const PortSet&) = default;

 private:
  std::array<PortRange, 2> ranges_{};
  std::uint8_t count_ = 1;
};

}  // namespace cordon
