// Numbers as the kernel's tables below /proc/net write them.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace cordon::audit {

/// nullopt unless the whole text is one number.
[[nodiscard]] inline std::optional<std::uint32_t> parse_hexadecimal(std::string_view text) {
  std::uint32_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number, 16);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return number;
}

}  // namespace cordon::audit
