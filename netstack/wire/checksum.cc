// Sums eight octets at a time in the machine's own byte order: the one's-complement sum is the same
// in either order but for a swap of the result (RFC 1071 section 2 B), so one swap at the end is
// enough. Carries go back in at the bottom of each 64-bit lane; four lanes keep the additions
// independent.
#include "netstack/wire/checksum.h"

#include <array>
#include <bit>
#include <cstring>

namespace cordon {
namespace {

// End-around carry: never gives 0 unless both are 0, as the folded 16-bit sum never does.
std::uint64_t add(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t sum = a + b;
  return sum + (sum < b ? 1 : 0);
}

std::uint64_t load_word(const std::uint8_t* octets) {
  std::uint64_t word = 0;
  std::memcpy(&word, octets, sizeof word);
  return word;
}

std::uint16_t fold(std::uint64_t sum) {
  sum = (sum >> 32) + (sum & 0xffffffff);
  sum = (sum >> 32) + (sum & 0xffffffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  return static_cast<std::uint16_t>(sum);
}

std::uint16_t network_order(std::uint16_t value) {
  return std::endian::native == std::endian::little ? std::byteswap(value) : value;
}

}  // namespace

std::uint16_t checksum_sum(Bytes bytes, std::uint16_t initial) {
  const std::uint8_t* octets = bytes.data();
  std::size_t left = bytes.size();
  std::array<std::uint64_t, 4> lanes{network_order(initial), 0, 0, 0};
  for (; left >= 32; left -= 32, octets += 32) {
    for (std::size_t i = 0; i < lanes.size(); ++i) {
      lanes[i] = add(lanes[i], load_word(octets + 8 * i));
    }
  }
  for (; left >= 8; left -= 8, octets += 8) lanes[0] = add(lanes[0], load_word(octets));
  if (left > 0) {
    std::array<std::uint8_t, 8> tail{};
    std::memcpy(tail.data(), octets, left);
    lanes[1] = add(lanes[1], load_word(tail.data()));
  }
  return network_order(fold(add(add(lanes[0], lanes[1]), add(lanes[2], lanes[3]))));
}

std::uint16_t pseudo_header_sum(const IpAddress& source, const IpAddress& destination,
                                std::uint8_t protocol, std::uint32_t length) {
  // Both families sum to the same: a 16-bit length is a 32-bit one whose upper word is zero.
  const std::array<std::uint8_t, 6> rest{static_cast<std::uint8_t>(length >> 24),
                                         static_cast<std::uint8_t>(length >> 16),
                                         static_cast<std::uint8_t>(length >> 8),
                                         static_cast<std::uint8_t>(length),
                                         std::uint8_t{0},
                                         protocol};
  return checksum_sum(rest, checksum_sum(destination.octets(), checksum_sum(source.octets())));
}

}  // namespace cordon
