#include "netstack/base/siphash.h"

#include <array>

#include <gtest/gtest.h>

namespace cordon {
namespace {

// Key 00 01 … 0f, as in the paper's appendix A.
constexpr SipKey kPaperKey{.k0 = 0x0706050403020100ULL, .k1 = 0x0f0e0d0c0b0a0908ULL};

TEST(SipHash, ExampleOfThePapersAppendixA) {
  std::array<std::uint8_t, 15> input{};
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<std::uint8_t>(i);
  EXPECT_EQ(siphash(kPaperKey, input), 0xa129ca6149be45e5ULL);
}

// From the reference implementation's vectors: input 00 01 … of each length.
TEST(SipHash, ReferenceVectorsAroundTheWordBoundary) {
  struct Row {
    std::size_t size;
    std::uint64_t hash;
  };
  const Row rows[] = {
      {0, 0x726fdb47dd0e0e31ULL}, {1, 0x74f839c593dc67fdULL}, {7, 0xab0200f58b01d137ULL},
      {8, 0x93f5f5799a932462ULL}, {9, 0x9e0082df0ba9e4b0ULL},
  };
  std::array<std::uint8_t, 16> input{};
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<std::uint8_t>(i);
  for (const Row& row : rows) {
    EXPECT_EQ(siphash(kPaperKey, Bytes(input).first(row.size)), row.hash) << row.size;
  }
}

TEST(SipHash, BothHalvesOfTheKeyCount) {
  const std::array<std::uint8_t, 4> input{1, 2, 3, 4};
  EXPECT_NE(siphash({.k0 = 1, .k1 = 0}, input), siphash({.k0 = 0, .k1 = 1}, input));
  EXPECT_NE(siphash({.k0 = 1, .k1 = 0}, input), siphash({.k0 = 1, .k1 = 1}, input));
}

TEST(SipHash, TrailingZerosAreNotTheSameInput) {
  const std::array<std::uint8_t, 8> zeros{};
  EXPECT_NE(siphash(kPaperKey, Bytes(zeros).first(3)), siphash(kPaperKey, Bytes(zeros).first(4)));
}

}  // namespace
}  // namespace cordon
