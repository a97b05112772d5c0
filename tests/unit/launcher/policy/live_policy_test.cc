#include "launcher/policy/live_policy.h"

#include <gtest/gtest.h>

namespace cordon {
namespace {

Rule rule_for(const char* text, Action action = Action::kAllow) {
  return Rule{.to = *parse_destination(text), .action = action, .text = text, .origin = "test"};
}

Request to(const char* address) {
  Request request;
  request.dialled = {*IpAddress::parse(address), 443};
  request.address_class = AddressClass::kPublic;
  return request;
}

PolicySnapshot denying() {
  PolicySnapshot snapshot;
  snapshot.policy.default_action = DefaultAction::kDeny;
  return snapshot;
}

constexpr Instant kNow = Instant(std::chrono::hours(1));

TEST(LivePolicy, ARuleThatIsAddedCountsAndStaysAfterAReload) {
  LivePolicy live(denying());
  EXPECT_EQ(live.current().evaluate(to("198.51.100.7")).action, Action::kDeny);
  live.add(rule_for("198.51.100.7"), kNever);
  EXPECT_EQ(live.generation(), 1U);
  EXPECT_EQ(live.current().evaluate(to("198.51.100.7")).action, Action::kAllow);
  live.replace(denying());
  EXPECT_EQ(live.current().evaluate(to("198.51.100.7")).action, Action::kAllow);
  EXPECT_EQ(live.snapshot().policy.rules.size(), 1U);
}

TEST(LivePolicy, ARuleGoesWhenItsTimeIsOver) {
  LivePolicy live(denying());
  live.add(rule_for("198.51.100.7"), kNow);
  live.add(rule_for("198.51.100.8"), kNow + std::chrono::seconds(1));
  EXPECT_EQ(live.next_expiry(), kNow);
  EXPECT_FALSE(live.expire(kNow - std::chrono::nanoseconds(1)));
  EXPECT_TRUE(live.expire(kNow));
  EXPECT_EQ(live.current().evaluate(to("198.51.100.7")).action, Action::kDeny);
  EXPECT_EQ(live.current().evaluate(to("198.51.100.8")).action, Action::kAllow);
  EXPECT_EQ(live.generation(), 3U);
}

TEST(LivePolicy, ARuleIsTakenBackByItsActionAndDestinationHoweverOftenItWasAdded) {
  LivePolicy live(denying());
  live.add(rule_for("198.51.100.7"), kNow);
  live.add(rule_for("198.51.100.7"), kNever);
  live.add(rule_for("198.51.100.7", Action::kDeny), kNever);
  live.add(rule_for("198.51.100.8"), kNever);
  ASSERT_EQ(live.added().size(), 4U);
  const std::uint32_t generation = live.generation();
  for (const char* other : {"198.51.100.7:443", "198.51.100.9", "tcp/198.51.100.7", "@public"}) {
    EXPECT_FALSE(live.take_back(Action::kAllow, *parse_destination(other))) << other;
  }
  EXPECT_EQ(live.generation(), generation);
  EXPECT_TRUE(live.take_back(Action::kDeny, *parse_destination("198.51.100.7")));
  EXPECT_EQ(live.current().evaluate(to("198.51.100.7")).action, Action::kAllow);
  EXPECT_TRUE(live.take_back(Action::kAllow, *parse_destination("198.51.100.7/32")));
  EXPECT_EQ(live.current().evaluate(to("198.51.100.7")).action, Action::kDeny);
  EXPECT_EQ(live.next_expiry(), kNever);
  ASSERT_EQ(live.added().size(), 1U);
  EXPECT_EQ(live.added()[0].rule.text, "198.51.100.8");
  EXPECT_FALSE(live.take_back(Action::kAllow, *parse_destination("198.51.100.7")));
}

TEST(LivePolicy, ARuleOfTheFilesIsNotTakenBack) {
  PolicySnapshot base = denying();
  base.policy.rules.push_back(rule_for("198.51.100.7"));
  LivePolicy live(base);
  EXPECT_FALSE(live.take_back(Action::kAllow, *parse_destination("198.51.100.7")));
  EXPECT_EQ(live.current().evaluate(to("198.51.100.7")).action, Action::kAllow);
}

TEST(LivePolicy, ADenialIsToldWithThePolicyThatDenied) {
  LivePolicy live(denying());
  PolicySnapshot other = denying();
  other.policy.rules.push_back(rule_for("198.51.100.7", Action::kDeny));
  live.replace(other);
  // Still in the translator's old words.
  EXPECT_EQ(live.of(0).rules().size(), 0U);
  EXPECT_EQ(live.of(1).rules().size(), 1U);
  live.moved_on(1);
  EXPECT_EQ(live.of(0).rules().size(), 1U);
  live.moved_on(77);
  EXPECT_EQ(live.generation(), 1U);
}

TEST(LivePolicy, OldGenerationsOfASilentTranslatorDoNotPileUp) {
  LivePolicy live(denying());
  for (int i = 0; i < 1000; ++i) live.replace(denying());
  EXPECT_EQ(live.generation(), 1000U);
  EXPECT_EQ(&live.of(3), &live.current());
  EXPECT_NE(&live.of(999), &live.current());
}

}  // namespace
}  // namespace cordon
