#include "netstack/wire/dns_name.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "netstack/base/text.h"

namespace cordon {
namespace {

constexpr std::size_t kHeaderOctets = 12;
// As many as a name has labels. Pointers only lead backwards and so end by themselves, but
// thousands of them in every record of a message would cost seconds.
constexpr unsigned kMostPointers = 127;

// Length octets are at most 63 and so no letters: whole wire forms compare octet by octet.
bool is_equal_without_case(Bytes one, Bytes other) {
  return std::equal(
      one.begin(), one.end(), other.begin(), other.end(),
      [](std::uint8_t a, std::uint8_t b) { return lower_dns_octet(a) == lower_dns_octet(b); });
}

// The labels of a name from the left; empty behind the last.
Bytes take_label(Bytes& rest) {
  if (rest.empty() || rest[0] == 0) return {};
  const Bytes label = rest.subspan(1, rest[0]);
  rest = rest.subspan(std::size_t{1} + rest[0]);
  return label;
}

std::optional<std::uint8_t> number_of(std::string_view text, int base) {
  std::uint8_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  const bool has_leading_zero = text.size() > 1 && text[0] == '0';
  if (error != std::errc() || stop != end || has_leading_zero) return std::nullopt;
  return value;
}

}  // namespace

bool DnsName::append(Bytes label) {
  if (label.empty() || label.size() > kLongestDnsLabel) return false;
  if (size_ + label.size() + 1 > kLongestDnsName) return false;
  octets_[size_ - 1U] = static_cast<std::uint8_t>(label.size());
  std::ranges::copy(label, octets_.begin() + size_);
  size_ = static_cast<std::uint8_t>(size_ + label.size() + 1);
  octets_[size_ - 1U] = 0;
  return true;
}

std::optional<DnsName> DnsName::parse(std::string_view text) {
  DnsName name;
  if (text == ".") return name;
  if (text.ends_with('.')) text.remove_suffix(1);
  while (true) {
    const std::size_t dot = text.find('.');
    const std::string_view label = text.substr(0, dot);
    const bool is_plain = std::ranges::all_of(label, [](char character) {
      return character > ' ' && character < 0x7f && character != '\\';
    });
    if (!is_plain || !name.append(as_octets(label))) return std::nullopt;
    if (dot == std::string_view::npos) return name;
    text.remove_prefix(dot + 1);
  }
}

std::optional<DnsName> DnsName::read(Bytes message, std::size_t& offset) {
  DnsName name;
  std::size_t at = offset;
  std::size_t behind = 0;        // where the caller reads on; 0 until a pointer or the end is met
  std::size_t ceiling = offset;  // a pointer must lead below this
  unsigned pointers = 0;
  while (at < message.size()) {
    const std::uint8_t length = message[at];
    if (length == 0) {
      offset = behind == 0 ? at + 1 : behind;
      return name;
    }
    if (length <= kLongestDnsLabel) {
      if (message.size() - at - 1 < length) return std::nullopt;
      if (!name.append(message.subspan(at + 1, length))) return std::nullopt;
      at += std::size_t{1} + length;
      continue;
    }
    const bool is_pointer = (length & 0xc0) == 0xc0;
    if (!is_pointer || message.size() - at < 2) return std::nullopt;
    const std::size_t target = (std::size_t{length & 0x3fU} << 8) | message[at + 1];
    if (target < kHeaderOctets || target >= ceiling || ++pointers > kMostPointers) {
      return std::nullopt;
    }
    if (behind == 0) behind = at + 2;
    ceiling = target;
    at = target;
  }
  return std::nullopt;
}

DnsName DnsName::of_address(const IpAddress& address) {
  std::string text;
  const Bytes octets = address.octets();
  for (std::size_t i = octets.size(); i-- > 0;) {
    text += address.is_v4() ? fmt::format("{}.", octets[i])
                            : fmt::format("{:x}.{:x}.", octets[i] & 0xf, octets[i] >> 4);
  }
  text += address.is_v4() ? "in-addr.arpa" : "ip6.arpa";
  return parse(text).value_or(DnsName());
}

std::optional<IpAddress> DnsName::to_address() const {
  std::array<Bytes, 35> labels;
  std::size_t count = 0;
  Bytes rest = wire();
  for (Bytes label = take_label(rest); !label.empty(); label = take_label(rest)) {
    if (count == labels.size()) return std::nullopt;
    labels[count++] = label;
  }
  if (count < 2 || !is_equal_without_case(labels[count - 1], as_octets("arpa")))
    return std::nullopt;
  const bool is_v4 = count == 6 && is_equal_without_case(labels[4], as_octets("in-addr"));
  const bool is_v6 = count == 34 && is_equal_without_case(labels[32], as_octets("ip6"));
  std::array<std::uint8_t, 16> octets{};
  if (is_v4) {
    for (std::size_t i = 0; i < 4; ++i) {
      const std::optional<std::uint8_t> octet = number_of(as_text(labels[i]), 10);
      if (!octet) return std::nullopt;
      octets[3 - i] = *octet;
    }
    return IpAddress::from_octets(Bytes(octets).first(4));
  }
  if (!is_v6) return std::nullopt;
  for (std::size_t i = 0; i < 32; ++i) {
    const std::optional<std::uint8_t> nibble = number_of(as_text(labels[i]), 16);
    if (!nibble || labels[i].size() != 1) return std::nullopt;
    std::uint8_t& octet = octets[15 - i / 2];
    octet = static_cast<std::uint8_t>(octet | (*nibble << (i % 2 == 0 ? 0 : 4)));
  }
  return IpAddress::v6(octets);
}

bool DnsName::ends_with(const DnsName& suffix) const {
  Bytes rest = wire();
  while (rest.size() > suffix.wire().size()) (void)take_label(rest);  // Only its step is wanted.
  return is_equal_without_case(rest, suffix.wire());
}

DnsName DnsName::lower_case() const {
  DnsName name = *this;
  std::ranges::transform(name.octets_, name.octets_.begin(), lower_dns_octet);
  return name;
}

std::string DnsName::to_string() const {
  if (is_root()) return ".";
  std::string text;
  Bytes rest = wire();
  for (Bytes label = take_label(rest); !label.empty(); label = take_label(rest)) {
    if (!text.empty()) text += '.';
    for (const std::uint8_t octet : label) {
      if (octet <= ' ' || octet >= 0x7f) {
        text += fmt::format("\\{:03}", octet);
      } else {
        if (octet == '.' || octet == '\\') text += '\\';
        text += static_cast<char>(octet);
      }
    }
  }
  return text;
}

bool operator==(const DnsName& one, const DnsName& other) {
  return is_equal_without_case(one.wire(), other.wire());
}

}  // namespace cordon
