// The list of living flows: in pieces, complete, and where there is no room the same piece again.
#include <gtest/gtest.h>

#include "tests/world/world.h"

namespace cordon::world {
namespace {

std::size_t list_all(World& world, int* pieces = nullptr) {
  world.events.list.clear();
  std::uint64_t cursor = 0;
  for (int i = 0; i < 1000 && cursor != Translator::kAllListed; ++i) {
    cursor = world.translator.list_flows(cursor);
    if (pieces != nullptr) ++*pieces;
  }
  EXPECT_EQ(cursor, Translator::kAllListed);
  return world.events.list.size();
}

TEST(FlowList, HasEveryLivingFlowOnce) {
  World world;
  EXPECT_EQ(list_all(world), 0U);
  world.guest_connects("198.51.100.17:80");
  ASSERT_EQ(list_all(world), 1U);
  const FlowReport& flow = world.events.list[0];
  EXPECT_EQ(flow.request.dialled, endpoint("198.51.100.17:80"));
  EXPECT_EQ(flow.end, std::nullopt);
  EXPECT_GT(flow.id, 0U);
}

TEST(FlowList, WaitsWhereThereIsNoRoom) {
  World world;
  world.guest_connects("198.51.100.17:80");
  world.events.list_room = 0;
  const std::uint64_t again = world.translator.list_flows(0);
  EXPECT_EQ(again, 0U);
  EXPECT_TRUE(world.events.list.empty());
  world.events.list_room = 10;
  EXPECT_EQ(list_all(world), 1U);
}

TEST(FlowList, AnyCursorIsSafe) {
  World world;
  world.guest_connects("198.51.100.17:80");
  for (const std::uint64_t cursor :
       {std::uint64_t{1}, std::uint64_t{1} << 32, std::uint64_t{3} << 32, ~std::uint64_t{0} - 1}) {
    (void)world.translator.list_flows(cursor);
  }
  EXPECT_LE(world.events.list.size(), 1U);
}

}  // namespace
}  // namespace cordon::world
