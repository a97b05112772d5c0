#include "netstack/host/policy_snapshot.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace cordon {
namespace {

Rule rule_for(const char* text, Action action = Action::kAllow) {
  const auto to = parse_destination(text);
  EXPECT_TRUE(to) << text;
  return Rule{.to = *to, .action = action, .text = text, .origin = "policy.toml:7"};
}

PolicySnapshot sample() {
  PolicySnapshot snapshot;
  snapshot.policy.default_action = DefaultAction::kDeny;
  snapshot.policy.mode = PolicyMode::kAsk;
  snapshot.policy.is_quic_by_name = true;
  snapshot.policy.limits = {.up_bytes = 9, .flows = 8};
  for (const char* text :
       {"pypi.org", "*.pypi.org", ".example.org", "github.com:22", "db.corp.example:5000-5010",
        "udp/ntp.example:123", "icmp/9.9.9.9", "10.1.2.0/24:5432", "[2001:db8::/48]:443",
        "198.51.100.7", "@public", "@lan:443", "host:5432"}) {
    snapshot.policy.rules.push_back(rule_for(text));
  }
  Rule limited = rule_for("api.example", Action::kAsk);
  limited.label = "model api";
  limited.entry = 5;
  limited.limits = {.up_bytes = 5'000'000,
                    .down_bytes = 7,
                    .bytes_per_second = 1'000,
                    .flows = 4,
                    .until_seconds = 90};
  limited.may_be_private = true;
  limited.needs_tls = true;
  limited.dns_types = {16, 33};
  snapshot.policy.rules.push_back(limited);
  snapshot.policy.overrides.push_back(
      {.prefix = *Prefix::parse("198.51.100.0/28"), .address_class = AddressClass::kLan});
  snapshot.names.mode = NameSettings::Mode::kPin;
  snapshot.names.pool_v6 = *Prefix::parse("fd00:1:2:3::/64");
  snapshot.names.wildcard_names_per_minute = 5;
  snapshot.names.ech = NameSettings::Ech::kDeny;
  return snapshot;
}

TEST(PolicySnapshot, ArrivesAsItWasSent) {
  const PolicySnapshot sent = sample();
  const auto arrived = decode_snapshot(encode_snapshot(sent));
  ASSERT_TRUE(arrived);
  EXPECT_EQ(arrived->policy.rules, sent.policy.rules);
  EXPECT_EQ(arrived->policy.default_action, sent.policy.default_action);
  EXPECT_EQ(arrived->policy.mode, sent.policy.mode);
  EXPECT_TRUE(arrived->policy.is_quic_by_name);
  EXPECT_EQ(arrived->policy.limits, sent.policy.limits);
  ASSERT_EQ(arrived->policy.overrides.size(), 1U);
  EXPECT_EQ(arrived->policy.overrides[0].prefix, sent.policy.overrides[0].prefix);
  EXPECT_EQ(arrived->names.mode, NameSettings::Mode::kPin);
  EXPECT_EQ(arrived->names.pool_v6, sent.names.pool_v6);
  EXPECT_EQ(arrived->names.wildcard_names_per_minute, 5U);
  EXPECT_EQ(arrived->names.ech, NameSettings::Ech::kDeny);
}

TEST(PolicySnapshotHostile, EveryTruncationIsRefused) {
  const auto whole = encode_snapshot(sample());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    // Exactly as long as it says, so that a read past the end is seen.
    const std::vector<std::uint8_t> cut(whole.begin(),
                                        whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(decode_snapshot(cut)) << size;
  }
}

TEST(PolicySnapshotHostile, WhatStandsBehindTheEndIsRefused) {
  auto octets = encode_snapshot(sample());
  octets.push_back(0);
  EXPECT_FALSE(decode_snapshot(octets));
}

TEST(PolicySnapshotHostile, NoOctetThatIsFlippedCrashesIt) {
  const auto good = encode_snapshot(sample());
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const std::uint8_t flip : {0x01, 0x80, 0xff}) {
      auto bad = good;
      bad[at] ^= flip;
      const auto decoded = decode_snapshot(bad);
      EXPECT_LE(decoded ? decoded->policy.rules.size() : 0, 14U);
    }
  }
}

TEST(PolicySnapshotHostile, AClassThatNeverMovesIsRefused) {
  PolicySnapshot snapshot = sample();
  ASSERT_TRUE(decode_snapshot(encode_snapshot(snapshot)));
  snapshot.policy.overrides[0] = {.prefix = *Prefix::parse("127.0.0.0/8"),
                                  .address_class = AddressClass::kPublic};
  EXPECT_FALSE(decode_snapshot(encode_snapshot(snapshot)));
}

class Assembly : public testing::Test {
 protected:
  SnapshotAssembly::State add(std::uint32_t generation, std::size_t from, std::size_t to,
                              std::size_t total) {
    Message header;
    header.kind = MessageKind::kPolicyPart;
    header.generation = generation;
    header.cursor = from;
    header.total = total;
    return assembly_.add(header, Bytes(octets_).subspan(from, to - from));
  }
  using State = SnapshotAssembly::State;
  SnapshotAssembly assembly_;
  std::vector<std::uint8_t> octets_ = encode_snapshot(sample());
};

TEST_F(Assembly, PutsPartsTogether) {
  const std::size_t total = octets_.size();
  EXPECT_EQ(add(1, 0, 10, total), State::kIncomplete);
  EXPECT_EQ(add(1, 10, total - 1, total), State::kIncomplete);
  EXPECT_EQ(add(1, total - 1, total, total), State::kComplete);
  EXPECT_EQ(assembly_.take(), octets_);
}

TEST_F(Assembly, ANewerPolicyTakesThePlaceOfOneUnderWay) {
  const std::size_t total = octets_.size();
  EXPECT_EQ(add(1, 0, 10, total), State::kIncomplete);
  EXPECT_EQ(add(2, 0, 20, total), State::kIncomplete);
  EXPECT_EQ(add(2, 20, total, total), State::kComplete);
  EXPECT_EQ(assembly_.take(), octets_);
}

TEST_F(Assembly, PartsThatDoNotFollowAreRefusedUntilANewBeginning) {
  const std::size_t total = octets_.size();
  EXPECT_EQ(add(1, 0, 10, total), State::kIncomplete);
  EXPECT_EQ(add(1, 11, 20, total), State::kBroken);
  EXPECT_EQ(add(1, 10, 20, total), State::kBroken);
  EXPECT_EQ(add(1, 0, total, total), State::kComplete);
  EXPECT_EQ(add(3, 0, 10, total), State::kIncomplete);
  EXPECT_EQ(add(4, 10, 20, total), State::kBroken);
}

TEST_F(Assembly, MoreThanWasAnnouncedAndMoreThanTheLimitAreRefused) {
  EXPECT_EQ(add(1, 0, 10, 9), State::kBroken);
  EXPECT_EQ(add(2, 0, 10, kMaxSnapshotOctets + 1), State::kBroken);
  EXPECT_EQ(add(3, 0, 0, 10), State::kBroken);
}

}  // namespace
}  // namespace cordon
