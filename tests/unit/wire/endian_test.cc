#include "netstack/wire/endian.h"

#include <gtest/gtest.h>

#include "tests/unit/wire/packets.h"

namespace cordon {
namespace {

using testing::hex;
using testing::Octets;
using testing::operator+;

TEST(Endian, FieldsAreBigEndianWhateverTheMachineIs) {
  Octets out(6);
  ASSERT_TRUE(store(out, Be16(0x1234)));
  ASSERT_TRUE(store(MutableBytes(out).subspan(2), Be32(0x56789abc)));
  EXPECT_EQ(out, hex("1234 56789abc"));
  EXPECT_EQ(load<Be16>(out)->get(), 0x1234);
  EXPECT_EQ(load<Be32>(Bytes(out).subspan(2))->get(), 0x56789abcU);
}

TEST(Endian, TheHighestBitIsNoSign) {
  EXPECT_EQ(Be16(0xffff).get(), 0xffff);
  EXPECT_EQ(Be32(0xffffffff).get(), 0xffffffffU);
}

TEST(Endian, WhatDoesNotFitIsNeitherReadNorWritten) {
  Octets out = hex("aabbcc");
  EXPECT_FALSE(store(out, Be32(1)));
  EXPECT_EQ(out, hex("aabbcc"));
  EXPECT_FALSE(load<Be32>(out).has_value());
  EXPECT_FALSE(load<Be16>(Bytes()).has_value());
}

}  // namespace
}  // namespace cordon
