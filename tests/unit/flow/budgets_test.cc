// What a rule lets pass, and what passes in all: exact counts, a rate without sleeping, an end.
#include "netstack/flow/budgets.h"

#include <chrono>

#include <gtest/gtest.h>

namespace cordon {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kFirst = 0;
constexpr std::uint32_t kSecond = 1;
const Instant kStart = Instant{} + 1h;

Rule rule(const char* text, const RuleLimits& limits, const char* origin = "policy.toml:1") {
  return Rule{.to = parse_destination(text).value_or(Destination{}),
              .text = text,
              .origin = origin,
              .limits = limits};
}

Policy policy(std::vector<Rule> rules, const RuleLimits& limits = {}) {
  return Policy(PolicyInput{.rules = std::move(rules), .limits = limits});
}

/// Moves as much as it may until `until`, and sleeps as it is told.
std::uint64_t pour(Budgets& budgets, BudgetAccount account, Instant from, Instant until) {
  std::uint64_t octets = 0;
  for (Instant now = from; now < until;) {
    const Grant grant = budgets.grant(now, account, Way::kUp);
    if (grant.octets == 0) {
      EXPECT_GT(grant.again, now) << "nobody is told to come at once";
      now = grant.again;
      continue;
    }
    octets += grant.octets;
    budgets.spend(account, Way::kUp, grant.octets);
  }
  return octets;
}

TEST(Budgets, WithoutALimitAskNobody) {
  Budgets budgets(kStart, policy({rule("@public", {})}));
  EXPECT_FALSE(budgets.is_limited());
  const BudgetAccount account = budgets.account_of(kFirst);
  EXPECT_EQ(account, BudgetAccount{});
  EXPECT_TRUE(budgets.may_open(account));
  EXPECT_GT(budgets.grant(kStart, account, Way::kUp).octets, std::uint64_t{1} << 60);
  EXPECT_EQ(budgets.next_deadline(), kNever);
}

TEST(Budgets, AreExactToTheOctetAndOfOneWay) {
  Budgets budgets(kStart, policy({rule("@public", {.up_bytes = 1000})}));
  const BudgetAccount account = budgets.account_of(kFirst);
  EXPECT_EQ(budgets.grant(kStart, account, Way::kUp).octets, 1000U);
  budgets.spend(account, Way::kUp, 999);
  EXPECT_EQ(budgets.grant(kStart, account, Way::kUp).octets, 1U);
  EXPECT_TRUE(budgets.may_open(account));
  budgets.spend(account, Way::kUp, 1);
  const Grant none = budgets.grant(kStart, account, Way::kUp);
  EXPECT_EQ(none.octets, 0U);
  EXPECT_TRUE(none.is_used_up);
  EXPECT_FALSE(budgets.may_open(account));
  EXPECT_TRUE(budgets.may_go_on(account));
  EXPECT_FALSE(budgets.grant(kStart, account, Way::kDown).is_used_up);
}

TEST(Budgets, OfARuleAreForThatRuleAlone) {
  Budgets budgets(kStart, policy({rule("@public", {.down_bytes = 10}), rule("@lan", {}),
                                  rule("@vpn", {.down_bytes = 20})}));
  budgets.spend(budgets.account_of(kFirst), Way::kDown, 10);
  EXPECT_FALSE(budgets.may_open(budgets.account_of(kFirst)));
  EXPECT_TRUE(budgets.may_open(budgets.account_of(kSecond)));
  EXPECT_EQ(budgets.grant(kStart, budgets.account_of(2), Way::kDown).octets, 20U);
  EXPECT_TRUE(budgets.may_open(budgets.account_of(std::nullopt)));
  EXPECT_EQ(budgets.account_of(99), BudgetAccount{});
}

TEST(Budgets, OfEverythingCountEveryRule) {
  Budgets budgets(kStart,
                  policy({rule("@public", {.up_bytes = 60}), rule("@lan", {})}, {.up_bytes = 100}));
  budgets.spend(budgets.account_of(kSecond), Way::kUp, 50);
  EXPECT_EQ(budgets.grant(kStart, budgets.account_of(kFirst), Way::kUp).octets, 50U);
  budgets.spend(budgets.account_of(kFirst), Way::kUp, 50);
  EXPECT_TRUE(budgets.grant(kStart, budgets.account_of(kSecond), Way::kUp).is_used_up);
  EXPECT_TRUE(budgets.grant(kStart, budgets.account_of(kFirst), Way::kUp).is_used_up);
}

TEST(Budgets, CountFlowsThatLive) {
  Budgets budgets(kStart, policy({rule("@public", {.flows = 2})}, {.flows = 3}));
  const BudgetAccount account = budgets.account_of(kFirst);
  const BudgetAccount other = budgets.account_of(std::nullopt);
  budgets.join(account);
  EXPECT_TRUE(budgets.may_open(account));
  budgets.join(account);
  EXPECT_FALSE(budgets.may_open(account));
  EXPECT_TRUE(budgets.may_open(other));
  budgets.join(other);
  EXPECT_FALSE(budgets.may_open(other));
  budgets.leave(account);
  EXPECT_TRUE(budgets.may_open(account));
  EXPECT_TRUE(budgets.may_open(other));
}

class BudgetRate : public testing::TestWithParam<std::uint64_t> {};

TEST_P(BudgetRate, HoldsOverAnyTimeToWithinABurst) {
  const std::uint64_t rate = GetParam();
  Budgets budgets(kStart, policy({rule("@public", {.bytes_per_second = rate})}));
  const BudgetAccount account = budgets.account_of(kFirst);
  const std::uint64_t burst = std::max<std::uint64_t>(rate / 10, kMinRateBurst);
  const std::uint64_t octets = pour(budgets, account, kStart, kStart + 100s);
  EXPECT_LE(octets, 100 * rate + burst);
  EXPECT_GE(octets, 100 * rate - rate / 10);
}

INSTANTIATE_TEST_SUITE_P(Rates, BudgetRate,
                         testing::Values(1, 7, 1000, 65536, 1'000'000, 999'999'937,
                                         50'000'000'000));

TEST(BudgetRate, IsNoFasterForWhoAsksMoreOften) {
  Budgets budgets(kStart, policy({rule("@public", {.bytes_per_second = 1000})}));
  const BudgetAccount account = budgets.account_of(kFirst);
  std::uint64_t octets = 0;
  for (Instant now = kStart; now < kStart + 60s; now += 1500us) {
    const Grant grant = budgets.grant(now, account, Way::kDown);
    budgets.spend(account, Way::kDown, grant.octets);
    octets += grant.octets;
  }
  EXPECT_LE(octets, 60'000 + kMinRateBurst);
  EXPECT_GE(octets, 60'000 + kMinRateBurst - 1000);
}

TEST(BudgetRate, GivesALongPauseNoMoreThanABurst) {
  Budgets budgets(kStart, policy({rule("@public", {.bytes_per_second = 1'000'000})}));
  const BudgetAccount account = budgets.account_of(kFirst);
  EXPECT_EQ(budgets.grant(kStart + 24h * 365, account, Way::kUp).octets, 100'000U);
}

TEST(BudgetRate, IsOfBothWaysTogether) {
  Budgets budgets(kStart, policy({rule("@public", {.bytes_per_second = 1'000'000})}));
  const BudgetAccount account = budgets.account_of(kFirst);
  budgets.spend(account, Way::kDown, 100'000);
  EXPECT_EQ(budgets.grant(kStart, account, Way::kUp).octets, 0U);
  EXPECT_FALSE(budgets.grant(kStart, account, Way::kUp).is_used_up);
}

TEST(BudgetRate, LetsTheRestOfABudgetPassThatIsLessThanAQuantum) {
  Budgets budgets(
      kStart,
      policy({rule("@public", {.up_bytes = kMinRateBurst + 5, .bytes_per_second = 100'000})}));
  const BudgetAccount account = budgets.account_of(kFirst);
  budgets.spend(account, Way::kUp, kMinRateBurst);
  const Grant wait = budgets.grant(kStart, account, Way::kUp);
  EXPECT_EQ(wait.octets, 0U);
  EXPECT_LE(wait.again, kStart + 1ms);
  EXPECT_EQ(budgets.grant(wait.again, account, Way::kUp).octets, 5U);
}

TEST(Budgets, TakeADatagramWholeOrNotAtAll) {
  Budgets budgets(kStart, policy({rule("@public", {.up_bytes = 2000})}));
  const BudgetAccount account = budgets.account_of(kFirst);
  EXPECT_TRUE(budgets.take(kStart, account, Way::kUp, 1400).passes);
  const Taken past = budgets.take(kStart, account, Way::kUp, 601);
  EXPECT_FALSE(past.passes);
  EXPECT_EQ(past.used_up.limit, Limit::kUp);
  EXPECT_TRUE(past.used_up.is_of_rule);
  EXPECT_TRUE(budgets.take(kStart, account, Way::kUp, 600).passes);
  EXPECT_FALSE(budgets.take(kStart, account, Way::kUp, 0).passes) << "not even an empty one";
  EXPECT_TRUE(budgets.take(kStart, account, Way::kDown, 1400).passes);
}

TEST(Budgets, TakeTheFirstWholeDatagramsOfATrain) {
  Budgets budgets(kStart, policy({rule("@public", {.up_bytes = 5000})}, {.up_bytes = 4000}));
  const BudgetAccount account = budgets.account_of(kFirst);
  const Taken taken = budgets.take(kStart, account, Way::kUp, 4500, 1000);
  EXPECT_TRUE(taken.passes);
  EXPECT_EQ(taken.octets, 4000U);
  EXPECT_EQ(taken.used_up.limit, Limit::kUp);
  EXPECT_FALSE(taken.used_up.is_of_rule);
  EXPECT_EQ(budgets.grant(kStart, account, Way::kUp).octets, 0U);
}

TEST(BudgetRate, LetsEveryDatagramPassInItsTime) {
  constexpr std::uint64_t kRate = 10'000;
  constexpr std::uint64_t kLargest = 65'507;  // more than the bucket holds
  Budgets budgets(kStart, policy({rule("@public", {.bytes_per_second = kRate})}));
  const BudgetAccount account = budgets.account_of(kFirst);
  std::uint64_t passed = 0;
  for (Instant now = kStart; now < kStart + 1000s; now += 10ms) {
    const Taken taken = budgets.take(now, account, Way::kUp, kLargest);
    EXPECT_EQ(taken.used_up.limit, Limit::kNone) << "nothing is used up by a rate";
    passed += taken.octets;
  }
  EXPECT_GE(passed, 1000 * kRate - kLargest);
  EXPECT_LE(passed, 1000 * kRate + kMinRateBurst + kLargest);
}

TEST(Budgets, SayWhatIsUsedUpAndWhose) {
  Budgets budgets(kStart, policy({rule("@public", {.down_bytes = 10, .flows = 1})},
                                 {.flows = 2, .until_seconds = 60}));
  const BudgetAccount account = budgets.account_of(kFirst);
  EXPECT_EQ(budgets.used_up(account).limit, Limit::kNone);
  budgets.join(account);
  EXPECT_EQ(budgets.used_up(account).limit, Limit::kFlows);
  EXPECT_TRUE(budgets.used_up(account).is_of_rule);
  EXPECT_EQ(budgets.used_up({}).limit, Limit::kNone);
  budgets.join({});
  EXPECT_EQ(budgets.used_up({}).limit, Limit::kFlows);
  budgets.spend(account, Way::kDown, 10);
  EXPECT_EQ(budgets.used_up(account).limit, Limit::kDown);
  EXPECT_TRUE(budgets.on_deadline(kStart + 60s));
  EXPECT_EQ(budgets.used_up({}).limit, Limit::kTime);
  EXPECT_FALSE(budgets.used_up({}).is_of_rule);
}

TEST(Budgets, EndWhenTheTimeOfARuleIsOver) {
  Budgets budgets(kStart, policy({rule("@public", {.until_seconds = 60}), rule("@lan", {})},
                                 {.until_seconds = 120}));
  const BudgetAccount first = budgets.account_of(kFirst);
  const BudgetAccount second = budgets.account_of(kSecond);
  EXPECT_EQ(budgets.next_deadline(), kStart + 60s);
  EXPECT_FALSE(budgets.on_deadline(kStart + 60s - 1ns));
  EXPECT_TRUE(budgets.may_go_on(first));
  EXPECT_TRUE(budgets.on_deadline(kStart + 60s));
  EXPECT_FALSE(budgets.may_go_on(first));
  EXPECT_FALSE(budgets.may_open(first));
  EXPECT_TRUE(budgets.may_open(second));
  EXPECT_EQ(budgets.next_deadline(), kStart + 120s);
  EXPECT_TRUE(budgets.on_deadline(kStart + 500s));
  EXPECT_FALSE(budgets.may_go_on(second));
  EXPECT_EQ(budgets.next_deadline(), kNever);
}

TEST(BudgetReload, KeepsWhatARuleHasUsedWhereverItStands) {
  const RuleLimits limits{.up_bytes = 1000};
  Budgets budgets(kStart, policy({rule("@public", limits, "policy.toml:3")}));
  budgets.spend(budgets.account_of(kFirst), Way::kUp, 900);
  budgets.set_policy(kStart, policy({rule("@lan", limits, "policy.toml:3"),
                                     rule("@public", limits, "policy.toml:4:9")}));
  EXPECT_EQ(budgets.grant(kStart, budgets.account_of(kFirst), Way::kUp).octets, 1000U);
  EXPECT_EQ(budgets.grant(kStart, budgets.account_of(kSecond), Way::kUp).octets, 100U);
  // Another file's rule is another rule.
  budgets.set_policy(kStart, policy({rule("@public", limits, "other.toml:4")}));
  EXPECT_EQ(budgets.grant(kStart, budgets.account_of(kFirst), Way::kUp).octets, 1000U);
  // And one that comes back is the one that it was.
  budgets.set_policy(kStart, policy({rule("@public", {.up_bytes = 950}, "policy.toml:8")}));
  EXPECT_EQ(budgets.grant(kStart, budgets.account_of(kFirst), Way::kUp).octets, 50U);
}

TEST(BudgetReload, KeepsWhatEverythingHasUsed) {
  Budgets budgets(kStart, policy({}, {.up_bytes = 1000}));
  budgets.spend({}, Way::kUp, 900);
  budgets.set_policy(kStart, policy({}, {.up_bytes = 1200}));
  EXPECT_EQ(budgets.grant(kStart, {}, Way::kUp).octets, 300U);
}

TEST(BudgetReload, KeepsFlowsCountedWhoseRuleIsGone) {
  Budgets budgets(kStart, policy({rule("@public", {.flows = 1})}, {.flows = 2}));
  const BudgetAccount account = budgets.account_of(kFirst);
  budgets.join(account);
  budgets.set_policy(kStart, policy({}, {.flows = 2}));
  budgets.join({});
  EXPECT_FALSE(budgets.may_open({}));
  budgets.leave(account);
  EXPECT_TRUE(budgets.may_open({}));
}

TEST(BudgetReload, EndsARuleWhoseTimeIsOverAlready) {
  Budgets budgets(kStart, policy({rule("@public", {})}));
  budgets.set_policy(kStart + 61s, policy({rule("@public", {.until_seconds = 60})}));
  EXPECT_FALSE(budgets.may_open(budgets.account_of(kFirst)));
  EXPECT_EQ(budgets.next_deadline(), kNever);
}

TEST(Budgets, OfOneEntryOfAFileAreSharedByItsDestinations) {
  Rule one = rule("a.example", {.up_bytes = 100}, "policy.toml:7");
  Rule other = rule("b.example", {.up_bytes = 100}, "policy.toml:8");
  Rule apart = rule("c.example", {.up_bytes = 100}, "policy.toml:12");
  one.entry = other.entry = 6;
  apart.entry = 11;
  Budgets budgets(kStart, policy({one, other, apart}));
  budgets.spend(budgets.account_of(kFirst), Way::kUp, 70);
  EXPECT_EQ(budgets.grant(kStart, budgets.account_of(kSecond), Way::kUp).octets, 30U);
  EXPECT_EQ(budgets.grant(kStart, budgets.account_of(2), Way::kUp).octets, 100U);
}

}  // namespace
}  // namespace cordon
