#include "netstack/flow/descriptor_share.h"

#include <gtest/gtest.h>

namespace cordon {
namespace {

TEST(DescriptorShare, ThirtyThousandFlowsFitTheTranslatorsLimit) {
  EXPECT_GE(tcp_flows_within(65536), 30000U);
}

TEST(DescriptorShare, TwoDescriptorsAreEnoughForAFlow) {
  EXPECT_EQ(tcp_flows_within(20000), (20000U - 128 - 1024) / 2);
  EXPECT_GE(tcp_flows_within(21200), 10000U);
}

TEST(DescriptorShare, NoLimitGivesMoreFlowsThanTheTableHas) {
  EXPECT_EQ(tcp_flows_within(1'048'576), kMaxFlows);
}

TEST(DescriptorShare, ASmallLimitIsSharedToo) {
  EXPECT_EQ(tcp_flows_within(256), 48U);
  EXPECT_EQ(tcp_flows_within(20), kFewestTcpFlows);
}

TEST(DescriptorShare, FlowsNeverTakeWhatIsLeftToOthers) {
  for (std::size_t limit = 256; limit < 131072; limit += 111) {
    const std::size_t others = limit - 2 * tcp_flows_within(limit);
    EXPECT_GE(others, std::min<std::size_t>(limit / 4, 1024)) << limit;
  }
}

TEST(DescriptorShare, RelaysMakeUpForALimitThatIsTooSmall) {
  EXPECT_EQ(relays_for_flows(1'048'576), 0U);
  EXPECT_EQ(relays_for_flows(524'288), 0U);
  EXPECT_EQ(relays_for_flows(20000), 3U);
  EXPECT_EQ(tcp_capacity(20000, 3).flows, kMaxFlows);
  EXPECT_EQ(tcp_capacity(20000, 3).held, tcp_flows_within(20000));
}

TEST(DescriptorShare, RelaysAreFewHoweverSmallTheLimitIs) {
  EXPECT_EQ(relays_for_flows(4096), kMaxRelaysForFlows);
  EXPECT_EQ(tcp_capacity(4096, kMaxRelaysForFlows).flows, tcp_flows_within(4096) + 4 * 1856);
  EXPECT_EQ(relays_for_flows(1024), kMaxRelaysForFlows);
  EXPECT_EQ(relays_for_flows(256), 0U) << "none would have room";
  EXPECT_EQ(tcp_capacity(256, 1).flows, tcp_flows_within(256));
}

TEST(DescriptorShare, ARelaysTableHoldsItsStreamsAndWhatItNeedsItself) {
  for (std::size_t limit = 256; limit < 131072; limit += 111) {
    EXPECT_LE(2 * relayed_streams_within(limit) + std::min(limit, kDescriptorsOfRelay), limit);
  }
}

}  // namespace
}  // namespace cordon
