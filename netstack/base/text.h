// Octets seen as text and text seen as octets, for protocols whose words are ASCII. The one place
// where the pointer's type changes; both views end with what they were made of.
#pragma once

#include <string_view>

#include "netstack/base/bytes.h"

namespace cordon {

[[nodiscard]] inline std::string_view as_text(Bytes octets) {
  return {reinterpret_cast<const char*>(octets.data()), octets.size()};
}

[[nodiscard]] inline Bytes as_octets(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

[[nodiscard]] constexpr bool is_digit(char character) {
  return character >= '0' && character <= '9';
}

}  // namespace cordon
