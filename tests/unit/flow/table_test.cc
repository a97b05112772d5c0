#include "netstack/flow/table.h"

#include <deque>
#include <map>
#include <random>

#include <gtest/gtest.h>

namespace cordon {
namespace {

using namespace std::chrono_literals;

struct NumberKey {
  std::uint32_t number = 0;
  // Few buckets on purpose: chains are what an erase can break.
  [[nodiscard]] std::uint64_t hash(const SipKey& /*key*/) const { return number % 3; }
  friend bool operator==(const NumberKey&, const NumberKey&) = default;
};

using Table = FlowTable<NumberKey, int, 2>;

constexpr Instant kStart = Instant{} + 1h;

TEST(FlowTable, FindsWhatWasInserted) {
  Table table(4, {});
  const auto id = table.insert({7}, 0, kStart);
  ASSERT_TRUE(id);
  *table.get(*id) = 70;
  EXPECT_EQ(table.find({7}), id);
  EXPECT_FALSE(table.find({8}));
  EXPECT_EQ(*table.get(*id), 70);
  EXPECT_EQ(table.key_of(*id), NumberKey{7});
  EXPECT_EQ(table.used_at(*id), kStart);
  EXPECT_EQ(table.size(), 1U);
}

TEST(FlowTable, IsFullAtItsCapacityAndNotBefore) {
  Table table(3, {});
  for (std::uint32_t i = 0; i < 3; ++i) EXPECT_TRUE(table.insert({i}, 0, kStart));
  EXPECT_FALSE(table.insert({3}, 0, kStart));
  table.erase(*table.find({1}));
  EXPECT_TRUE(table.insert({3}, 0, kStart));
  EXPECT_FALSE(table.find({1}));
  EXPECT_TRUE(table.find({0}));
  EXPECT_TRUE(table.find({2}));
}

TEST(FlowTable, ASlotUsedAgainHasAFreshValueAndAnotherGeneration) {
  Table table(1, {});
  const FlowId first = *table.insert({1}, 0, kStart);
  *table.get(first) = 11;
  table.erase(first);
  const FlowId second = *table.insert({2}, 0, kStart);
  EXPECT_EQ(second.index, first.index);
  EXPECT_NE(second.generation, first.generation);
  EXPECT_EQ(table.get(first), nullptr);
  EXPECT_EQ(*table.get(second), 0);
}

TEST(FlowTable, GenerationsWrapWithin24Bits) {  // what an epoll event carries
  Table table(1, {});
  FlowId last{};
  for (std::uint32_t i = 0; i < (1U << 24) + 10; ++i) {
    last = *table.insert({1}, 0, kStart);
    table.erase(last);
  }
  EXPECT_LT(last.generation, 1U << 24);
  const FlowId next = *table.insert({1}, 0, kStart);
  EXPECT_NE(next.generation, last.generation);
  EXPECT_EQ(table.get(last), nullptr);
  EXPECT_NE(table.get(next), nullptr);
}

TEST(FlowTable, AnIdThatNeverWasIsNobody) {
  Table table(4, {});
  EXPECT_EQ(table.get(FlowId{.index = 0, .generation = 0}), nullptr);
  EXPECT_EQ(table.get(FlowId{.index = 1000000, .generation = 1}), nullptr);
}

TEST(FlowTable, ListsAreInTheOrderOfUse) {
  Table table(8, {});
  for (std::uint32_t i = 0; i < 4; ++i) ASSERT_TRUE(table.insert({i}, 0, kStart + i * 1s));
  EXPECT_EQ(table.oldest(0), table.find({0}));
  EXPECT_EQ(table.deadline(0, 10s), kStart + 10s);
  table.touch(*table.find({0}), 0, kStart + 4s);
  EXPECT_EQ(table.oldest(0), table.find({1}));
  EXPECT_EQ(table.deadline(0, 10s), kStart + 11s);
  table.touch(*table.find({1}), 1, kStart + 5s);
  EXPECT_EQ(table.oldest(0), table.find({2}));
  EXPECT_EQ(table.oldest(1), table.find({1}));
  EXPECT_EQ(table.size_of(0), 3U);
  EXPECT_EQ(table.size_of(1), 1U);
}

TEST(FlowTable, AnEmptyListHasNoDeadline) {
  Table table(2, {});
  EXPECT_FALSE(table.oldest(0));
  EXPECT_EQ(table.deadline(0, 1s), kNever);
  table.erase(*table.insert({1}, 0, kStart));
  EXPECT_EQ(table.deadline(0, 1s), kNever);
}

TEST(FlowTable, ASweepInPiecesMeetsEveryFlowThatStays) {
  Table table(100, {});
  for (std::uint32_t i = 0; i < 100; ++i) ASSERT_TRUE(table.insert({i}, 0, kStart));
  for (std::uint32_t i = 0; i < 100; i += 3) table.erase(*table.find({i}));
  std::size_t met = 0;
  for (auto id = table.next_from(0); id; id = table.next_from(id->index + 1)) {
    EXPECT_NE(table.key_of(*id).number % 3, 0U);
    ++met;
    if (met % 2 == 0) table.erase(*id);  // the sweep may end what it meets
  }
  EXPECT_EQ(met, 66U);
  EXPECT_EQ(table.size(), 33U);
}

TEST(FlowTable, BehavesLikeAMapAndAQueueInAMillionRandomSteps) {
  constexpr std::size_t kCapacity = 50;
  Table table(kCapacity, {});
  std::map<std::uint32_t, FlowId> model;
  std::array<std::deque<std::uint32_t>, 2> lists;
  const auto forget = [&](std::uint32_t number) {
    for (auto& list : lists) std::erase(list, number);
  };
  std::mt19937 random(1);  // NOLINT: a test repeats itself
  Instant now = kStart;
  for (int i = 0; i < 1000000; ++i) {
    now += 1ms;
    const std::uint32_t number = random() % 100;
    const std::size_t list = random() % 2;
    const auto known = model.find(number);
    ASSERT_EQ(table.find({number}).has_value(), known != model.end());
    if (known == model.end()) {
      const auto id = table.insert({number}, list, now);
      ASSERT_EQ(id.has_value(), model.size() < kCapacity);
      if (!id) continue;
      model[number] = *id;
      lists[list].push_back(number);
    } else if (random() % 3 == 0) {
      table.erase(known->second);
      ASSERT_EQ(table.get(known->second), nullptr);
      forget(number);
      model.erase(known);
    } else {
      ASSERT_EQ(*table.find({number}), known->second);
      table.touch(known->second, list, now);
      forget(number);
      lists[list].push_back(number);
    }
    ASSERT_EQ(table.size(), model.size());
    for (std::size_t at = 0; at < 2; ++at) {
      ASSERT_EQ(table.size_of(at), lists[at].size());
      if (!lists[at].empty()) {
        ASSERT_EQ(table.key_of(*table.oldest(at)).number, lists[at].front());
      }
    }
  }
}

}  // namespace
}  // namespace cordon
