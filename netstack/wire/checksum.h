// The Internet checksum (RFC 1071) and the pseudo-headers of RFC 793 and RFC 8200 section 8.1.
#pragma once

#include <cstdint>

#include "netstack/address/ip_address.h"
#include "netstack/base/bytes.h"

namespace cordon {

/// One's-complement sum of `bytes` added to `initial`, folded to 16 bits, not inverted. An odd last
/// octet counts as the high octet of a word, so only the last span of a chain may be odd.
[[nodiscard]] std::uint16_t checksum_sum(Bytes bytes, std::uint16_t initial = 0);

/// The sum of the pseudo-header; both addresses of one family.
[[nodiscard]] std::uint16_t pseudo_header_sum(const IpAddress& source, const IpAddress& destination,
                                              std::uint8_t protocol, std::uint32_t length);

/// The checksum field's value for a sum: inverted.
[[nodiscard]] constexpr std::uint16_t checksum_of(std::uint16_t sum) {
  return static_cast<std::uint16_t>(~sum);
}

}  // namespace cordon
