// Amounts for people: three digits or so say it all.
#pragma once

#include <cstdint>
#include <string>

namespace cordon {

/// "512 B", "1.5 kB", "2.0 MB"; steps of a thousand. policy_values.h writes what is read back.
[[nodiscard]] std::string readable_octets(std::uint64_t octets);

}  // namespace cordon
