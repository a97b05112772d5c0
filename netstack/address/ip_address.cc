#include "netstack/address/ip_address.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace cordon {
namespace {

// A decimal number of at most three digits without a leading zero: "010" is octal to some readers
// and ten to others, so it is refused (RFC 6943 section 3.1.1).
std::optional<unsigned> parse_decimal(std::string_view text, unsigned limit) {
  if (text.empty() || text.size() > 3 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > limit) {
    return std::nullopt;
  }
  return value;
}

std::optional<std::array<std::uint8_t, 4>> parse_v4(std::string_view text) {
  std::array<std::uint8_t, 4> octets{};
  for (std::size_t i = 0; i < octets.size(); ++i) {
    const std::size_t dot = i < 3 ? text.find('.') : text.size();
    if (dot == std::string_view::npos) return std::nullopt;
    const std::optional<unsigned> value = parse_decimal(text.substr(0, dot), 255);
    if (!value) return std::nullopt;
    octets[i] = static_cast<std::uint8_t>(*value);
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  return octets;
}

// Up to eight groups separated by single colons, the last possibly a dotted quad. Returns the
// octets written, or nullopt. An empty text is zero groups.
std::optional<std::size_t> parse_groups(std::string_view text, MutableBytes out) {
  std::size_t written = 0;
  while (!text.empty()) {
    const std::size_t colon = text.find(':');
    const std::string_view group = text.substr(0, colon);
    if (colon == std::string_view::npos && group.find('.') != std::string_view::npos) {
      const auto quad = parse_v4(group);
      if (!quad || out.size() - written < 4) return std::nullopt;
      std::ranges::copy(*quad, out.begin() + static_cast<std::ptrdiff_t>(written));
      return written + 4;
    }
    if (group.empty() || group.size() > 4 || out.size() - written < 2) return std::nullopt;
    unsigned value = 0;
    const auto [end, error] = std::from_chars(group.data(), group.data() + group.size(), value, 16);
    if (error != std::errc() || end != group.data() + group.size()) return std::nullopt;
    out[written++] = static_cast<std::uint8_t>(value >> 8);
    out[written++] = static_cast<std::uint8_t>(value);
    if (colon == std::string_view::npos) return written;
    text.remove_prefix(colon + 1);
    if (text.empty()) return std::nullopt;  // A colon at the end that is no "::".
  }
  return written;
}

std::optional<std::array<std::uint8_t, 16>> parse_v6(std::string_view text) {
  std::array<std::uint8_t, 16> octets{};
  const std::size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    const auto written = parse_groups(text, octets);
    if (!written || *written != 16) return std::nullopt;
    return octets;
  }
  std::array<std::uint8_t, 16> tail{};
  const auto head_octets = parse_groups(text.substr(0, gap), octets);
  const auto tail_octets = parse_groups(text.substr(gap + 2), tail);
  // "::" stands for at least one group (RFC 4291 section 2.2).
  if (!head_octets || !tail_octets || *head_octets + *tail_octets > 14) return std::nullopt;
  if (text.substr(0, gap).find('.') != std::string_view::npos) return std::nullopt;
  std::copy_n(tail.begin(), *tail_octets, octets.end() - static_cast<std::ptrdiff_t>(*tail_octets));
  return octets;
}

// RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups shortened, the
// first one where two are equal.
std::string format_v6(Bytes octets) {
  std::array<unsigned, 8> groups{};
  for (std::size_t i = 0; i < groups.size(); ++i) {
    groups[i] = (unsigned{octets[2 * i]} << 8) | unsigned{octets[2 * i + 1]};
  }
  std::size_t best = 0;
  std::size_t best_length = 1;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    std::size_t length = 0;
    while (i + length < groups.size() && groups[i + length] == 0) ++length;
    if (length > best_length) {
      best = i;
      best_length = length;
    }
  }
  const bool has_gap = best_length > 1;
  std::string text;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (has_gap && i == best) {
      text += "::";
      i += best_length - 1;
      continue;
    }
    if (!text.empty() && text.back() != ':') text += ':';
    text += fmt::format("{:x}", groups[i]);
  }
  return text;
}

std::uint8_t mask_octet(unsigned length, std::size_t index) {
  const unsigned first_bit = static_cast<unsigned>(index) * 8;
  if (length >= first_bit + 8) return 0xff;
  if (length <= first_bit) return 0;
  return static_cast<std::uint8_t>(0xff << (8 - (length - first_bit)));
}

}  // namespace

IpAddress IpAddress::from_octets(Bytes octets) {
  IpAddress address;
  if (octets.size() == 16) {
    address.family_ = Family::kIpv6;
  } else if (octets.size() != 4) {
    return address;
  }
  std::ranges::copy(octets, address.octets_.begin());
  return address;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (text.find(':') != std::string_view::npos) {
    const auto octets = parse_v6(text);
    if (!octets) return std::nullopt;
    return v6(*octets);
  }
  const auto octets = parse_v4(text);
  if (!octets) return std::nullopt;
  return v4(*octets);
}

bool IpAddress::is_unspecified() const {
  return std::ranges::all_of(octets_, [](std::uint8_t octet) { return octet == 0; });
}

bool IpAddress::is_multicast_or_broadcast() const {
  if (is_v6()) return octets_[0] == 0xff;
  return (octets_[0] & 0xf0) == 0xe0 || v4_number() == 0xffffffff;
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return octets_[0] == 127;
  return std::all_of(octets_.begin(), octets_.end() - 1,
                     [](std::uint8_t octet) { return octet == 0; }) &&
         octets_[15] == 1;
}

bool IpAddress::is_link_local() const {
  if (is_v4()) return octets_[0] == 169 && octets_[1] == 254;
  return octets_[0] == 0xfe && (octets_[1] & 0xc0) == 0x80;
}

std::string IpAddress::to_string() const {
  if (is_v6()) return format_v6(octets_);
  return fmt::format("{}.{}.{}.{}", octets_[0], octets_[1], octets_[2], octets_[3]);
}

std::string Endpoint::to_string() const {
  if (address.is_v6()) return fmt::format("[{}]:{}", address.to_string(), port);
  return fmt::format("{}:{}", address.to_string(), port);
}

Prefix::Prefix(const IpAddress& address, unsigned length)
    : length_(static_cast<std::uint8_t>(std::min(length, address.bits()))) {
  std::array<std::uint8_t, 16> octets{};
  const Bytes given = address.octets();
  for (std::size_t i = 0; i < given.size(); ++i) {
    octets[i] = static_cast<std::uint8_t>(given[i] & mask_octet(length_, i));
  }
  address_ = IpAddress::from_octets(Bytes(octets).first(given.size()));
}

std::optional<Prefix> Prefix::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::optional<IpAddress> address = IpAddress::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  if (slash == std::string_view::npos) return Prefix(*address, address->bits());
  const std::optional<unsigned> length = parse_decimal(text.substr(slash + 1), address->bits());
  if (!length) return std::nullopt;
  const Prefix prefix(*address, *length);
  if (prefix.address() != *address) return std::nullopt;
  return prefix;
}

bool Prefix::overlaps(const Prefix& other) const {
  return contains(other.address_) || other.contains(address_);
}

std::string Prefix::to_string() const {
  return fmt::format("{}/{}", address_.to_string(), length_);
}

}  // namespace cordon
