// A policy that is made ready piece by piece is the one that is made in one go.
#include "netstack/host/policy_loader.h"

#include <gtest/gtest.h>

namespace cordon {
namespace {

PolicyInput input_of(std::size_t rules) {
  PolicyInput input{.default_action = DefaultAction::kDeny};
  for (std::size_t i = 0; i < rules; ++i) {
    const std::string text = i % 2 == 0
                                 ? "10." + std::to_string(i / 65536 % 256) + "." +
                                       std::to_string(i / 256 % 256) + "." + std::to_string(i % 256)
                                 : "a" + std::to_string(i % 1000) + ".example.com";
    input.rules.push_back(Rule{.to = *parse_destination(text),
                               .action = i % 3 == 0 ? Action::kDeny : Action::kAllow,
                               .text = text,
                               .origin = "policy.toml:" + std::to_string(i)});
  }
  return input;
}

std::vector<std::uint8_t> octets_of(std::size_t rules) {
  return encode_snapshot({.policy = input_of(rules)});
}

struct Outcome {
  PolicyLoader::Loaded loaded;
  std::size_t steps = 0;
};

Outcome finish(PolicyLoader& loader) {
  Outcome outcome;
  while (loader.is_busy()) {
    ++outcome.steps;
    if (std::optional<PolicyLoader::Loaded> loaded = loader.step()) {
      outcome.loaded = std::move(*loaded);
      return outcome;
    }
  }
  ADD_FAILURE() << "nothing was loaded";
  return outcome;
}

TEST(PolicyLoader, MakesThePolicyThatIsMadeInOneGo) {
  for (const std::size_t rules : {0U, 1U, 2U, 499U, 500U, 501U, 20'000U}) {
    PolicyLoader loader;
    EXPECT_FALSE(loader.is_busy());
    loader.add(7, octets_of(rules));
    const Outcome outcome = finish(loader);
    EXPECT_EQ(outcome.loaded.generation, 7U);
    ASSERT_TRUE(outcome.loaded.policy);
    const Policy whole(input_of(rules));
    ASSERT_EQ(outcome.loaded.policy->rules().size(), whole.rules().size());
    for (std::size_t i = 0; i < std::min<std::size_t>(rules + 10, 3000); ++i) {
      const DnsName name = *DnsName::parse("a" + std::to_string(i) + ".example.com");
      Request request{.dialled = {IpAddress::v4(static_cast<std::uint32_t>(0x0a000000 + i)), 443},
                      .address_class = AddressClass::kLan};
      EXPECT_EQ(outcome.loaded.policy->evaluate(request), whole.evaluate(request)) << i;
      request.address_class = AddressClass::kPublic;
      request.name = &name;
      EXPECT_EQ(outcome.loaded.policy->evaluate(request), whole.evaluate(request)) << i;
      EXPECT_EQ(outcome.loaded.policy->judge_name(name), whole.judge_name(name)) << i;
    }
  }
}

TEST(PolicyLoader, DoesALargeOneInManyPieces) {
  PolicyLoader loader;
  loader.add(1, octets_of(20'000));
  Outcome outcome = finish(loader);
  EXPECT_GE(outcome.steps, 50U);
  EXPECT_FALSE(loader.is_busy());
  loader.retire(std::move(*outcome.loaded.policy));
  std::size_t steps = 0;
  while (loader.is_busy()) {
    EXPECT_FALSE(loader.step());
    ++steps;
  }
  EXPECT_GE(steps, 5U);
}

TEST(PolicyLoader, LoadsThemInTheOrderInWhichTheyCame) {
  PolicyLoader loader;
  loader.add(1, octets_of(1000));
  (void)loader.step();
  (void)loader.step();
  loader.add(2, {1, 2, 3});
  loader.add(3, octets_of(1));
  EXPECT_EQ(finish(loader).loaded.generation, 1U);
  const Outcome broken = finish(loader);
  EXPECT_EQ(broken.loaded.generation, 2U);
  EXPECT_FALSE(broken.loaded.policy) << "what is not understood is told as such";
  const Outcome last = finish(loader);
  EXPECT_EQ(last.loaded.generation, 3U);
  EXPECT_TRUE(last.loaded.policy);
  EXPECT_FALSE(loader.is_busy());
}

}  // namespace
}  // namespace cordon
