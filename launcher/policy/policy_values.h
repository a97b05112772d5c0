// Amounts as people write them in policy files: data, rates, times.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "netstack/base/result.h"

namespace cordon {

/// "5MB", "512KiB", "1.5GB", "100B": octets. kB, MB, GB and TB are powers of 1000, KiB, MiB, GiB
/// and TiB of 1024. Never 0. The error says how it is written right.
[[nodiscard]] Result<std::uint64_t> parse_octets(std::string_view text);
/// "1MB/s": octets a second.
[[nodiscard]] Result<std::uint64_t> parse_rate(std::string_view text);
/// "90s", "10m", "1h30m", "2d": seconds, at most 2^32 - 1. Never 0.
[[nodiscard]] Result<std::uint32_t> parse_duration(std::string_view text);
/// "60/min".
[[nodiscard]] Result<std::uint32_t> parse_per_minute(std::string_view text);

/// What the functions above read back: "5MB", "512KiB"; "1h30m".
[[nodiscard]] std::string format_octets(std::uint64_t octets);
[[nodiscard]] std::string format_duration(std::uint32_t seconds);

}  // namespace cordon
