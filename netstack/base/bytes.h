// Octet spans: how raw bytes travel through the program. A span never owns; whoever passes one
// keeps the storage alive for the call and no longer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cordon {

using Bytes = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;

}  // namespace cordon
