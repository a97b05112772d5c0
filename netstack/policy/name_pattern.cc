#include "netstack/policy/name_pattern.h"

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

#include "netstack/address/classes.h"
#include "netstack/base/text.h"

namespace cordon {
namespace {

constexpr std::size_t kLongestNameText = kLongestDnsName - 2;  // RFC 1035 3.1: without the lengths

// The text in lower case, and how much stood before it in what the user wrote.
struct NameText {
  std::string text;
  std::size_t offset = 0;
};

bool is_of_host_name(char character) {
  return (character >= 'a' && character <= 'z') || is_digit(character) || character == '-' ||
         character == '_';
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& character : out) {
    if (character >= 'A' && character <= 'Z')
      character = static_cast<char>(character + ('a' - 'A'));
  }
  return out;
}

std::string shown(char character) {
  const auto octet = static_cast<std::uint8_t>(character);
  if (octet <= 0x20 || octet >= 0x7f) return fmt::format("octet 0x{:02x}", octet);
  return fmt::format("\"{}\"", character);
}

std::optional<NameFault> fault_of_label(std::string_view label, std::size_t offset) {
  const auto fault = [offset](std::string why, std::size_t at = 0) {
    return NameFault{.offset = offset + at, .why = std::move(why)};
  };
  if (label.empty()) return fault("a label is missing: there is a dot too many");
  const std::size_t asterisk = label.find('*');
  if (asterisk != std::string_view::npos) {
    return fault("\"*\" stands alone at the front, as in *.example.com, and covers every depth",
                 asterisk);
  }
  for (std::size_t i = 0; i < label.size(); ++i) {
    if (is_of_host_name(label[i])) continue;
    return fault(fmt::format("{} has no place in a name: letters, digits, hyphens and dots have",
                             shown(label[i])),
                 i);
  }
  if (label.front() == '-' || label.back() == '-') {
    return fault("a label neither starts nor ends with a hyphen");
  }
  if (label.size() > kLongestDnsLabel) {
    return fault(fmt::format("a label has at most {} characters", kLongestDnsLabel));
  }
  return std::nullopt;
}

// WHATWG URL 3.5.3: what ends in a number is an address, or a mistake.
bool is_numeric(std::string_view label) {
  if (label.starts_with("0x")) {
    return label.find_first_not_of("0123456789abcdef", 2) == std::string_view::npos;
  }
  return std::ranges::all_of(label, is_digit);
}

std::optional<NameFault> fault_of_meaning(const NameText& name, NamePattern::Kind kind) {
  const std::string_view text = name.text;
  const auto fault = [&name](std::string why) {
    return NameFault{.offset = name.offset, .why = std::move(why)};
  };
  const std::size_t last_dot = text.rfind('.');
  const bool is_one_label = last_dot == std::string_view::npos;
  if (is_numeric(text.substr(is_one_label ? 0 : last_dot + 1))) {
    return fault("no name ends in a number; an IPv4 address is four numbers, as in 198.51.100.7");
  }
  if (kind != NamePattern::Kind::kExact) {
    if (!is_one_label) return std::nullopt;
    return fault(
        fmt::format("a whole top-level domain is too wide: name a domain below it, as in "
                    "*.example.{}, or write @public for the public internet",
                    text));
  }
  if (text == "localhost" || text.ends_with(".localhost")) {
    return fault(
        "localhost is the guest itself, which needs no rule; a port of the host's "
        "loopback is written host:5432");
  }
  if (text == "host" || text == "host.cordon.internal") {
    return fault("the host door is written with a port and in lower case, as in host:5432");
  }
  if (is_one_label && parse_class(text)) {
    return fault(fmt::format("a class of addresses is written @{}", text));
  }
  return std::nullopt;
}

}  // namespace

std::expected<NamePattern, NameFault> parse_name_pattern(std::string_view text) {
  NamePattern pattern;
  NameText name;
  if (text.starts_with("*.")) {
    pattern.kind = NamePattern::Kind::kSubdomains;
    name.offset = 2;
  } else if (text.starts_with('.')) {
    pattern.kind = NamePattern::Kind::kSuffix;
    name.offset = 1;
  }
  name.text = lower(text.substr(name.offset));
  if (name.text.ends_with('.')) name.text.pop_back();
  for (std::size_t start = 0; start <= name.text.size();) {
    const std::size_t dot = std::min(name.text.find('.', start), name.text.size());
    const std::string_view label = std::string_view(name.text).substr(start, dot - start);
    if (auto fault = fault_of_label(label, name.offset + start)) {
      return std::unexpected(*std::move(fault));
    }
    start = dot + 1;
  }
  const std::optional<DnsName> parsed = DnsName::parse(name.text);
  if (!parsed) {
    return std::unexpected(
        NameFault{.offset = name.offset,
                  .why = fmt::format("a name has at most {} characters", kLongestNameText)});
  }
  if (auto fault = fault_of_meaning(name, pattern.kind)) return std::unexpected(*std::move(fault));
  pattern.name = *parsed;
  return pattern;
}

bool may_have_rule(const DnsName& name) {
  std::array<char, kLongestDnsName> octets{};
  std::size_t size = 0;
  std::size_t last_label = 0;
  for (Bytes rest = name.wire(); !rest.empty() && rest[0] != 0;) {
    if (size > 0) octets.at(size++) = '.';
    last_label = size;
    for (const std::uint8_t octet : rest.subspan(1, rest[0])) {
      const auto character = static_cast<char>(lower_dns_octet(octet));
      if (!is_of_host_name(character)) return false;
      octets.at(size++) = character;
    }
    if (octets.at(last_label) == '-' || octets.at(size - 1) == '-') return false;
    rest = rest.subspan(std::size_t{1} + rest[0]);
  }
  const std::string_view text(octets.data(), size);
  return last_label > 0 && !is_numeric(text.substr(last_label)) &&
         text.substr(last_label) != "localhost" && text != "host.cordon.internal";
}

bool NamePattern::matches(const DnsName& other) const {
  switch (kind) {
    case Kind::kExact:
      return other == name;
    case Kind::kSubdomains:
      return other.wire().size() > name.wire().size() && other.ends_with(name);
    case Kind::kSuffix:
      return other.ends_with(name);
  }
  return false;
}

std::string NamePattern::to_string() const {
  switch (kind) {
    case Kind::kExact:
      return name.to_string();
    case Kind::kSubdomains:
      return "*." + name.to_string();
    case Kind::kSuffix:
      return "." + name.to_string();
  }
  return {};
}

}  // namespace cordon
