#include "netstack/wire/checksum.h"

#include <random>

#include <gtest/gtest.h>

#include "tests/unit/wire/packets.h"

namespace cordon {
namespace {

using testing::get16;
using testing::hex;
using testing::ip;
using testing::ipv4;
using testing::Octets;
using testing::operator+;
using testing::plain_sum;

TEST(Checksum, ExampleOfRfc1071Section3) {
  EXPECT_EQ(checksum_sum(hex("0001 f203 f4f5 f6f7")), 0xddf2);
  EXPECT_EQ(checksum_of(0xddf2), 0x220d);
}

TEST(Checksum, NothingSumsToNothing) {
  EXPECT_EQ(checksum_sum({}), 0);
  EXPECT_EQ(checksum_sum({}, 0xffff), 0xffff);
  EXPECT_EQ(checksum_sum({}, 0x1234), 0x1234);
}

TEST(Checksum, ZeroAndAllOnesStayApart) {
  for (std::size_t size = 1; size < 200; ++size) {
    EXPECT_EQ(checksum_sum(Octets(size, 0)), 0) << size;
    EXPECT_EQ(checksum_sum(Octets(size, 0), 0xffff), 0xffff) << size;
    EXPECT_EQ(checksum_sum(Octets(size, 0xff)), plain_sum(Octets(size, 0xff))) << size;
  }
  EXPECT_EQ(checksum_sum(Octets(65536, 0xff)), 0xffff);
}

TEST(Checksum, OddLastOctetIsTheHighOneOfAWord) {
  EXPECT_EQ(checksum_sum(hex("12")), 0x1200);
  EXPECT_EQ(checksum_sum(hex("0001 ff")), 0xff01);
}

TEST(Checksum, AgreesWithTheWordByWordSumAtEveryAlignmentAndLength) {
  std::mt19937_64 random(4711);
  Octets octets(4096 + 16);
  for (std::uint8_t& octet : octets) octet = static_cast<std::uint8_t>(random());
  for (std::size_t align = 0; align < 9; ++align) {
    for (std::size_t size = 0; size < 300; ++size) {
      const Bytes span = Bytes(octets).subspan(align, size);
      ASSERT_EQ(checksum_sum(span), plain_sum(span)) << align << ' ' << size;
    }
  }
}

// U-04
TEST(Checksum, AgreesWithTheWordByWordSumForAHundredThousandRandomInputs) {
  std::mt19937_64 random(1071);
  Octets octets(2048 + 8);
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t choice = random();
    const std::size_t align = choice % 8;
    // Mostly header-sized, now and then a whole frame.
    const std::size_t size = (choice >> 8) % ((choice >> 60) == 0 ? 2048 : 96);
    const auto initial = static_cast<std::uint16_t>(choice >> 24);
    // Runs of 0x00 and 0xff are where carries go wrong.
    const std::uint64_t kind = (choice >> 40) % 4;
    const Bytes span = Bytes(octets).subspan(align, size);
    for (std::size_t j = align; j < align + size; ++j) {
      octets[j] = kind == 0 ? 0xff : kind == 1 ? 0x00 : static_cast<std::uint8_t>(random());
    }
    ASSERT_EQ(checksum_sum(span, initial), plain_sum(span, initial)) << i;
  }
}

TEST(Checksum, ASpanMayBeSummedInEvenPieces) {
  std::mt19937_64 random(7);
  Octets octets(1001);
  for (std::uint8_t& octet : octets) octet = static_cast<std::uint8_t>(random());
  const std::uint16_t whole = checksum_sum(octets);
  for (std::size_t cut = 0; cut <= octets.size(); cut += 2) {
    const Bytes bytes(octets);
    EXPECT_EQ(checksum_sum(bytes.subspan(cut), checksum_sum(bytes.first(cut))), whole) << cut;
  }
}

TEST(Checksum, SummingOverTheRightFieldGivesAllOnes) {
  const Octets packet = ipv4({}, {});
  EXPECT_EQ(checksum_sum(packet), 0xffff);
}

TEST(PseudoHeader, Ipv4IsRfc793) {
  const IpAddress source = ip("198.51.100.2");
  const IpAddress destination = ip("198.51.100.20");
  EXPECT_EQ(pseudo_header_sum(source, destination, 6, 20),
            plain_sum(hex("c6336402 c6336414 00 06 0014")));
}

TEST(PseudoHeader, Ipv6IsRfc8200Section81) {
  const IpAddress source = ip("2001:db8::2");
  const IpAddress destination = ip("2001:db8::20");
  EXPECT_EQ(pseudo_header_sum(source, destination, 58, 0x12345),
            plain_sum(hex("20010db8000000000000000000000002 20010db8000000000000000000000020"
                          "00012345 000000 3a")));
}

}  // namespace
}  // namespace cordon
