#include "launcher/policy/policy_values.h"

#include <array>
#include <charconv>
#include <limits>
#include <optional>

#include <fmt/format.h>

namespace cordon {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// The first of a factor is how it is written back.
constexpr auto kOctetUnits = std::to_array<Unit>({
    {"B", 1},
    {"kB", 1'000},
    {"KB", 1'000},
    {"MB", 1'000'000},
    {"GB", 1'000'000'000},
    {"TB", 1'000'000'000'000},
    {"KiB", std::uint64_t{1} << 10},
    {"MiB", std::uint64_t{1} << 20},
    {"GiB", std::uint64_t{1} << 30},
    {"TiB", std::uint64_t{1} << 40},
});

constexpr auto kTimeUnits = std::to_array<Unit>({{"d", 86'400}, {"h", 3'600}, {"m", 60}, {"s", 1}});

/// The digits at the front, cut off; nullopt where there are none or too many.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
  return number;
}

std::optional<std::uint64_t> product(std::uint64_t one, std::uint64_t other) {
  if (other != 0 && one > std::numeric_limits<std::uint64_t>::max() / other) return std::nullopt;
  return one * other;
}

/// Up to three digits behind a decimal point, in octets; they must come out even.
std::optional<std::uint64_t> take_fraction(std::string_view& text, std::uint64_t factor) {
  constexpr std::uint64_t kFinest = 1'000;
  std::uint64_t digits = 0;
  std::uint64_t parts = 1;
  while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
    if (parts == kFinest) return std::nullopt;
    digits = digits * 10 + static_cast<std::uint64_t>(text[0] - '0');
    parts *= 10;
    text.remove_prefix(1);
  }
  const auto octets = product(digits, factor);
  if (parts == 1 || !octets || *octets % parts != 0) return std::nullopt;
  return *octets / parts;
}

std::optional<std::uint64_t> octets_of(std::string_view text) {
  for (const Unit& unit : kOctetUnits) {
    if (!text.ends_with(unit.name)) continue;
    std::string_view rest = text.substr(0, text.size() - unit.name.size());
    if (rest.empty() || (rest.back() != ' ' && (rest.back() < '0' || rest.back() > '9'))) continue;
    if (rest.back() == ' ') rest.remove_suffix(1);
    const auto whole = take_number(rest);
    if (!whole) return std::nullopt;
    const auto octets = product(*whole, unit.factor);
    if (!octets || rest.empty()) return octets;
    if (rest[0] != '.') return std::nullopt;
    rest.remove_prefix(1);
    const auto fraction = take_fraction(rest, unit.factor);
    if (!fraction || !rest.empty()) return std::nullopt;
    if (*octets > std::numeric_limits<std::uint64_t>::max() - *fraction) return std::nullopt;
    return *octets + *fraction;
  }
  return std::nullopt;
}

}  // namespace

Result<std::uint64_t> parse_octets(std::string_view text) {
  const auto octets = octets_of(text);
  if (!octets) {
    return plain_error(fmt::format(
        "'{}' is not an amount of data; write a number and its unit, as in 5MB or 512KiB", text));
  }
  if (*octets == 0)
    return plain_error("0 would allow nothing; leave it out, or deny the destination");
  return *octets;
}

Result<std::uint64_t> parse_rate(std::string_view text) {
  const auto octets =
      text.ends_with("/s") ? octets_of(text.substr(0, text.size() - 2)) : std::nullopt;
  if (!octets) {
    return plain_error(fmt::format("'{}' is not a rate; write data a second, as in 1MB/s", text));
  }
  if (*octets == 0)
    return plain_error("0 would allow nothing; leave it out, or deny the destination");
  return *octets;
}

Result<std::uint32_t> parse_duration(std::string_view text) {
  const auto refuse = [text] {
    return plain_error(
        fmt::format("'{}' is not a time; write numbers and units, as in 90s, 10m or 1h30m", text));
  };
  std::uint64_t seconds = 0;
  std::size_t next_unit = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto number = take_number(rest);
    if (!number || rest.empty()) return refuse();
    // From long to short, each unit once: "10m1h" is a typing error.
    while (next_unit < kTimeUnits.size() && kTimeUnits[next_unit].name[0] != rest[0]) ++next_unit;
    if (next_unit == kTimeUnits.size()) return refuse();
    const auto part = product(*number, kTimeUnits[next_unit].factor);
    if (!part || *part > std::numeric_limits<std::uint32_t>::max()) return refuse();
    seconds += *part;
    rest.remove_prefix(1);
    ++next_unit;
  }
  if (text.empty() || seconds > std::numeric_limits<std::uint32_t>::max()) return refuse();
  if (seconds == 0) return plain_error("a time of 0 would allow nothing; leave it out");
  return static_cast<std::uint32_t>(seconds);
}

Result<std::uint32_t> parse_per_minute(std::string_view text) {
  std::string_view rest = text;
  const auto number = take_number(rest);
  if (!number || rest != "/min" || *number == 0 || *number > 1'000'000) {
    return plain_error(
        fmt::format("'{}' is not a budget of names; write how many a minute, as in 60/min", text));
  }
  return static_cast<std::uint32_t>(*number);
}

std::string format_octets(std::uint64_t octets) {
  const Unit* best = kOctetUnits.data();
  for (const Unit& unit : kOctetUnits) {
    if (octets % unit.factor == 0 && unit.factor > best->factor) best = &unit;
  }
  return fmt::format("{}{}", octets / best->factor, best->name);
}

std::string format_duration(std::uint32_t seconds) {
  std::string text;
  std::uint64_t rest = seconds;
  for (const Unit& unit : kTimeUnits) {
    if (rest / unit.factor > 0) text += fmt::format("{}{}", rest / unit.factor, unit.name);
    rest %= unit.factor;
  }
  return text;
}

}  // namespace cordon
