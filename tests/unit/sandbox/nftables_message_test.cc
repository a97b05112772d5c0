// The octets of expressions, as `nft --debug=mnl` shows them for the same rule (attributes in host
// byte order, numbers of nf_tables in network order). The netns suite shows that the kernel takes
// them.

#include "sandbox/nftables_message.h"

#include <array>

#include <gtest/gtest.h>

namespace cordon {
namespace {

using Octets = std::vector<std::uint8_t>;

TEST(NftExpressions, MetaLoadOfTheMark) {
  NftExpressions rule;
  rule.load_mark();
  EXPECT_EQ(rule.bytes(), (Octets{0x24, 0x00, 0x01, 0x80,  // list element
                                  0x09, 0x00, 0x01, 0x00, 'm',  'e',  't',  'a',  0,  // name
                                  0x00, 0x00, 0x00,                                   // padding
                                  0x14, 0x00, 0x02, 0x80,                             // data
                                  0x08, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x03,     // key: mark
                                  0x08, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x01}));  // reg 1
}

TEST(NftExpressions, CompareOfOneOctetIsPaddedButNotLengthened) {
  NftExpressions rule;
  rule.expect_equal(std::array<std::uint8_t, 1>{6});
  EXPECT_EQ(rule.bytes(), (Octets{0x2c, 0x00, 0x01, 0x80,                             //
                                  0x08, 0x00, 0x01, 0x00, 'c',  'm',  'p',  0,        //
                                  0x20, 0x00, 0x02, 0x80,                             //
                                  0x08, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x01,     // reg 1
                                  0x08, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,     // eq
                                  0x0c, 0x00, 0x03, 0x80,                             // data
                                  0x05, 0x00, 0x01, 0x00, 0x06, 0x00, 0x00, 0x00}));  // 6
}

TEST(NftExpressions, EachIsAppendedBehindTheLast) {
  NftExpressions rule;
  rule.load_protocol();
  const std::size_t one = rule.bytes().size();
  rule.set_mark();
  EXPECT_EQ(rule.bytes().size(), 2 * one);
  EXPECT_EQ(rule.bytes().size() % 4, 0U);
}

}  // namespace
}  // namespace cordon
