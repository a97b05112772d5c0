#include "netstack/base/siphash.h"

#include <array>
#include <bit>
#include <cstring>

namespace cordon {
namespace {

using State = std::array<std::uint64_t, 4>;

void sip_round(State& v) {
  v[0] += v[1];
  v[1] = std::rotl(v[1], 13) ^ v[0];
  v[0] = std::rotl(v[0], 32);
  v[2] += v[3];
  v[3] = std::rotl(v[3], 16) ^ v[2];
  v[0] += v[3];
  v[3] = std::rotl(v[3], 21) ^ v[0];
  v[2] += v[1];
  v[1] = std::rotl(v[1], 17) ^ v[2];
  v[2] = std::rotl(v[2], 32);
}

// The algorithm reads little-endian words whatever the machine is.
std::uint64_t load_word(Bytes bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes.data(), sizeof(word));
  if constexpr (std::endian::native == std::endian::big) word = std::byteswap(word);
  return word;
}

std::uint64_t load_rest(Bytes bytes) {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) word |= std::uint64_t{bytes[i]} << (8 * i);
  return word;
}

}  // namespace

std::uint64_t siphash(const SipKey& key, Bytes input) {
  State v{0x736f6d6570736575ULL ^ key.k0, 0x646f72616e646f6dULL ^ key.k1,
          0x6c7967656e657261ULL ^ key.k0, 0x7465646279746573ULL ^ key.k1};
  const std::uint64_t length_octet = std::uint64_t{input.size() & 0xff} << 56;
  while (input.size() >= 8) {
    const std::uint64_t word = load_word(input);
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
    input = input.subspan(8);
  }
  const std::uint64_t last = load_rest(input) | length_octet;
  v[3] ^= last;
  sip_round(v);
  sip_round(v);
  v[0] ^= last;
  v[2] ^= 0xff;
  for (int i = 0; i < 4; ++i) sip_round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

}  // namespace cordon
