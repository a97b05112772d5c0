// A new policy over thousands of living flows: what it no longer allows is reset within a second,
// and nothing else notices.
#include <gtest/gtest.h>

#include "tests/world/world.h"

namespace cordon::world {
namespace {

constexpr std::uint16_t kFlows = 5000;

std::string server(bool is_kept) { return is_kept ? "198.51.100.17:80" : "198.51.100.34:80"; }

struct Living {
  Living() : world({.max_tcp_flows = 8192}) {
    for (std::uint16_t i = 0; i < kFlows; ++i) {
      world.guest_connects(server(i % 2 == 0), static_cast<std::uint16_t>(20000 + i));
      hosts.push_back(world.host_socket().handle);
    }
  }
  [[nodiscard]] std::size_t open(bool is_kept) const {
    std::size_t count = 0;
    for (std::size_t i = 0; i < hosts.size(); ++i) {
      if ((i % 2 == 0) == is_kept && world.sockets.is_open(hosts[i])) ++count;
    }
    return count;
  }
  World world;
  std::vector<SocketHandle> hosts;
};

TEST(Reload, ResetsWhatIsNoLongerAllowedWithinASecondAndLeavesTheRest) {
  Living living;
  World& world = living.world;
  ASSERT_EQ(living.open(true), kFlows / 2);
  ASSERT_EQ(living.open(false), kFlows / 2);
  const std::size_t resets = world.tap.sent;
  // The loop does a piece a turn; the clock stands still meanwhile, and the sweep needs none of it.
  world.changes_policy({.deny = {"198.51.100.32/28"}, .max_tcp_flows = 8192});
  world.advance(1s);
  EXPECT_EQ(living.open(false), 0U);
  EXPECT_EQ(living.open(true), kFlows / 2);
  EXPECT_EQ(world.events.denials.size(), kFlows / 2);
  EXPECT_EQ(world.tap.sent, resets) << "streams are reset by their sockets, not by the tap";
  // Those that stay still move octets.
  world.arrives(living.hosts[0], 1000);
  EXPECT_EQ(world.sockets.was(living.hosts[0]).unread, 0U);
  // And so does a policy that has thousands of rules more.
  WorldOptions large{.deny = {"198.51.100.32/28"}, .max_tcp_flows = 8192};
  for (int i = 0; i < 20'000; ++i) {
    large.deny.push_back("2001:db8:" + std::to_string(i / 10'000) + ":" +
                         std::to_string(i % 10'000) + "::/64");
  }
  world.changes_policy(large);
  world.advance(1s);
  EXPECT_EQ(living.open(true), kFlows / 2);
}

TEST(Reload, OfTheSamePolicyTouchesNobody) {
  Living living;
  living.world.changes_policy({.max_tcp_flows = 8192});
  living.world.advance(1s);
  EXPECT_EQ(living.open(true) + living.open(false), kFlows);
  EXPECT_TRUE(living.world.events.denials.empty());
}

TEST(Reload, DoesASmallPieceOfTheSweepInATurn) {
  Living living;
  World& world = living.world;
  world.translator.set_policy(world.now, make_policy({.deny = {"198.51.100.32/28"}}), {});
  // A turn of the loop: at most so many flows are judged.
  world.translator.on_deadline(world.now);
  EXPECT_GE(living.open(false), kFlows / 2 - 256U);
  EXPECT_LE(world.translator.next_deadline(), world.now) << "and the next turn comes at once";
  world.run_due();
  EXPECT_EQ(living.open(false), 0U);
  EXPECT_EQ(living.open(true), kFlows / 2);
}

}  // namespace
}  // namespace cordon::world
