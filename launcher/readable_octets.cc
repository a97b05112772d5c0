#include "launcher/readable_octets.h"

#include <string_view>

#include <fmt/format.h>

namespace cordon {

std::string readable_octets(std::uint64_t octets) {
  constexpr double kStep = 1000;
  auto amount = static_cast<double>(octets);
  std::string_view unit = "B";
  for (const std::string_view next : {"kB", "MB", "GB", "TB"}) {
    if (amount < kStep) break;
    amount /= kStep;
    unit = next;
  }
  return unit == "B" ? fmt::format("{} B", octets) : fmt::format("{:.1f} {}", amount, unit);
}

}  // namespace cordon
