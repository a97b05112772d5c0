#include "netstack/names/host_name.h"

#include <algorithm>

namespace cordon {
namespace {

bool is_host_character(char character) {
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
         (character >= '0' && character <= '9') || character == '-' || character == '_' ||
         character == '.';
}

}  // namespace

std::optional<DnsName> parse_host_name(std::string_view text) {
  if (text == "." || !std::ranges::all_of(text, is_host_character)) return std::nullopt;
  return DnsName::parse(text);
}

}  // namespace cordon
