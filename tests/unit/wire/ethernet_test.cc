#include "netstack/wire/ethernet.h"

#include <gtest/gtest.h>

#include "tests/unit/wire/packets.h"

namespace cordon {
namespace {

using testing::ethernet;
using testing::hex;
using testing::Octets;
using testing::operator+;
using testing::text;

TEST(ParseEthernet, AddressesTypeAndPayloadAreWhereIeee8023PutsThem) {
  const Octets frame = hex("0a0b0c0d0e0f 010203040506 86dd") + text("payload");
  const Parsed<EthernetFrame> parsed = parse_ethernet(frame);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->destination, (MacAddress{0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f}));
  EXPECT_EQ(parsed->source, (MacAddress{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(parsed->ether_type, EtherType::kIpv6);
  EXPECT_EQ(parsed->payload.data(), frame.data() + 14);
  EXPECT_EQ(parsed->payload.size(), 7U);
}

TEST(ParseEthernet, BroadcastAndMulticastDestinationsPass) {
  EXPECT_TRUE(parse_ethernet(hex("ffffffffffff 020000000002 0806")));
  EXPECT_TRUE(parse_ethernet(hex("333300000001 020000000002 86dd")));
}

TEST(ParseEthernet, AHeaderAloneHasAnEmptyPayload) {
  const Octets frame = ethernet(0x0800, {});
  const Parsed<EthernetFrame> parsed = parse_ethernet(frame);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->payload.empty());
}

TEST(ParseEthernet, OnlyThreeTypesPass) {
  for (unsigned type = 0; type <= 0xffff; ++type) {
    const Octets frame = ethernet(type, text("x"));
    const Parsed<EthernetFrame> parsed = parse_ethernet(frame);
    const bool is_known = type == 0x0800 || type == 0x0806 || type == 0x86dd;
    ASSERT_EQ(parsed.has_value(), is_known) << type;
    if (!is_known) {
      ASSERT_EQ(parsed.error(), Drop::kBadEtherType) << type;
    }
  }
}

TEST(ParseEthernet, LengthFramesAndVlanTagsAreRefusedByName) {
  struct Row {
    const char* what;
    unsigned type;
  };
  for (const Row& row : {Row{"802.3 length", 46}, Row{"802.3 length", 1500},
                         Row{"802.1Q tag", 0x8100}, Row{"802.1ad tag", 0x88a8}}) {
    const Octets frame = ethernet(row.type, testing::ipv4({}, {}));
    const Parsed<EthernetFrame> parsed = parse_ethernet(frame);
    ASSERT_FALSE(parsed) << row.what;
    EXPECT_EQ(parsed.error(), Drop::kBadEtherType) << row.what;
  }
}

}  // namespace
}  // namespace cordon
