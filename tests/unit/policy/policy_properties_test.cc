// What must hold for every set of rules: checked on seeded random ones, and against an evaluator
// without an index.
#include <algorithm>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "netstack/policy/policy.h"
#include "tests/unit/policy/random_policy.h"

namespace cordon {
namespace {

using namespace random_policy;

TEST(PolicyProperties, AgreesWithThePlainEvaluatorOnAMillionRequests) {
  Generator generator(20);
  std::size_t allowed = 0;
  std::size_t by_rule = 0;
  for (int i = 0; i < 5000; ++i) {
    const PolicyInput input = generator.policy(i % 10 == 0 ? 200 : 12);
    const Policy policy(input);
    for (int j = 0; j < 200; ++j) {
      const Request request = generator.request();
      const Verdict expected = plain_evaluate(input, request);
      const Verdict verdict = policy.evaluate(request);
      ASSERT_EQ(verdict.action, expected.action) << show(input, request);
      ASSERT_EQ(verdict.reason, expected.reason) << show(input, request);
      ASSERT_EQ(verdict.rule, expected.rule) << show(input, request);
      allowed += verdict.action == Action::kAllow ? 1 : 0;
      by_rule += verdict.rule ? 1 : 0;
    }
  }
  // The requests hit both ways, so that agreement says something.
  EXPECT_GT(allowed, 100000U);
  EXPECT_LT(allowed, 900000U);
  EXPECT_GT(by_rule, 100000U);
}

TEST(PolicyProperties, DenyWinsOverAnySetOfAllowRules) {
  Generator generator(21);
  std::size_t denied = 0;
  for (int i = 0; i < 60000; ++i) {
    PolicyInput input = generator.policy(0);  // any default, any mode
    input.rules.push_back(generator.rule(Action::kDeny));
    const Request request = generator.request();
    const bool is_denied = plain_restrains(input.rules[0], input.is_quic_by_name, request);
    for (std::uint64_t j = generator.below(60); j > 0; --j) {
      input.rules.push_back(generator.rule(Action::kAllow));
    }
    generator.shuffle(input.rules);
    if (!is_denied) continue;
    ++denied;
    ASSERT_EQ(Policy(input).evaluate(request).action, Action::kDeny) << show(input, request);
  }
  EXPECT_GT(denied, 1000U);
}

TEST(PolicyProperties, TheOrderOfRulesNeverMatters) {
  Generator generator(22);
  for (int i = 0; i < 2000; ++i) {
    PolicyInput input = generator.policy(20);
    const Policy before(input);
    generator.shuffle(input.rules);
    const Policy after(input);
    for (int j = 0; j < 50; ++j) {
      const Request request = generator.request();
      const Verdict one = before.evaluate(request);
      const Verdict other = after.evaluate(request);
      ASSERT_EQ(one.action, other.action) << show(input, request);
      ASSERT_EQ(one.reason, other.reason) << show(input, request);
    }
  }
}

TEST(PolicyProperties, NoFloorClassPassesUnlessARuleOpensIt) {
  Generator generator(23);
  std::size_t checked = 0;
  for (int i = 0; i < 5000; ++i) {
    const PolicyInput input = generator.policy(20);
    const Policy policy(input);
    for (int j = 0; j < 40; ++j) {
      Request request = generator.request();
      request.direction = Direction::kOutbound;
      const bool is_opened = std::ranges::any_of(input.rules, [&](const Rule& rule) {
        return plain_grants(rule, input.is_quic_by_name, request);
      });
      if (!has_plain_floor(request) || is_opened) continue;
      ++checked;
      const Verdict verdict = policy.evaluate(request);
      ASSERT_EQ(verdict.action, Action::kDeny) << show(input, request);
      ASSERT_TRUE(verdict.reason == Reason::kFloor || verdict.reason == Reason::kRebind)
          << show(input, request);
    }
  }
  EXPECT_GT(checked, 10000U);
}

// What is said of the rules' own names alone, whatever the address.
TEST(PolicyProperties, NoNameRuleEverOpensAFloorClassButPrivateOnesTheirTwo) {
  Generator generator(28);
  std::size_t checked = 0;
  for (int i = 0; i < 10000; ++i) {
    PolicyInput input = generator.policy(20);
    std::erase_if(input.rules,
                  [](const Rule& rule) { return rule.to.kind != Destination::Kind::kName; });
    const Policy policy(input);
    for (int j = 0; j < 20; ++j) {
      Request request = generator.request();
      request.direction = Direction::kOutbound;
      if (!has_plain_floor(request)) continue;
      const bool is_private =
          !request.is_host_door && (request.address_class == AddressClass::kLan ||
                                    request.address_class == AddressClass::kVpn);
      const bool is_opened =
          is_private && request.name != nullptr &&
          std::ranges::any_of(input.rules, [&](const Rule& rule) {
            return rule.action != Action::kDeny && rule.may_be_private &&
                   rule.to.pattern == NamePattern{.kind = NamePattern::Kind::kExact,
                                                  .name = request.name->lower_case()};
          });
      if (is_opened) continue;
      const Verdict verdict = policy.evaluate(request);
      ++checked;
      ASSERT_EQ(verdict.action, Action::kDeny) << show(input, request);
    }
  }
  EXPECT_GT(checked, 50000U);
}

// What `policy` says of a flow by name over addresses of the given classes, each address outside
// every prefix.
Action best_over_classes(const PolicyInput& input, Request request,
                         std::span<const AddressClass> classes) {
  Action best = Action::kDeny;
  for (const AddressClass address_class : classes) {
    request.dialled.address = IpAddress::v4({9, 9, 9, 9});
    request.address_class = address_class;
    const Action action = plain_evaluate(input, request).action;
    if (action == Action::kAllow) return action;
    if (action == Action::kAsk) best = action;
  }
  return best;
}

constexpr std::array kWorthALookup{AddressClass::kPublic, AddressClass::kLan, AddressClass::kVpn};

// Without the rules that open a class other than public: they let no name be looked up.
PolicyInput without_class_grants(PolicyInput input) {
  std::erase_if(input.rules, [](const Rule& rule) {
    return rule.to.kind == Destination::Kind::kClass && rule.action != Action::kDeny &&
           rule.to.address_class != AddressClass::kPublic;
  });
  return input;
}

// By trying every port at which a rule starts or ends.
Action best_over_ports(const PolicyInput& input, const DnsName& name) {
  std::vector<std::uint16_t> ports{1, 80, 81, 443, 444};
  for (const Rule& rule : input.rules) {
    for (const PortRange& range : rule.to.ports.ranges()) {
      if (range.first > 0) ports.push_back(range.first);
      if (range.last < UINT16_MAX) ports.push_back(static_cast<std::uint16_t>(range.last + 1));
    }
  }
  Action best = Action::kDeny;
  for (const std::uint16_t port : ports) {
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp}) {
      const Request request{.protocol = protocol, .dialled = {IpAddress(), port}, .name = &name};
      const Action action = best_over_classes(input, request, kWorthALookup);
      if (action == Action::kAllow) return action;
      if (action == Action::kAsk) best = action;
    }
  }
  return best;
}

TEST(PolicyProperties, NamesAreJudgedAsTheirBestAddressAndPortWouldBe) {
  Generator generator(29);
  std::array<std::size_t, 3> seen{};
  for (int i = 0; i < 4000; ++i) {
    PolicyInput input = generator.policy(12);
    std::erase_if(input.rules,
                  [](const Rule& rule) { return rule.to.kind == Destination::Kind::kPrefix; });
    const Policy policy(input);
    const PolicyInput narrow = without_class_grants(input);
    for (int j = 0; j < 4; ++j) {
      Request request = generator.request();
      request.name = &generator.names()[generator.below(generator.names().size())];
      request.direction = Direction::kOutbound;
      request.is_host_door = false;
      const Action judged = policy.judge_name(*request.name).action;
      ASSERT_EQ(judged, best_over_ports(narrow, *request.name)) << show(input, request);
      ++seen[static_cast<std::size_t>(judged)];
      const Action unlooked = best_over_classes(narrow, request, kWorthALookup);
      const Action looked_up = best_over_classes(input, request, kClasses);
      const bool is_too_early = judged == Action::kAsk && looked_up == Action::kAllow;
      const bool may_look = judged != Action::kDeny && !is_too_early;
      ASSERT_EQ(policy.judge_unresolved(request).action, may_look ? looked_up : unlooked)
          << show(input, request);
    }
  }
  for (const std::size_t count : seen) EXPECT_GT(count, 500U);
}

TEST(PolicyProperties, WhatIsDeniedUnresolvedPassesAtNoAddress) {
  Generator generator(30);
  std::size_t denied = 0;
  for (int i = 0; i < 7000; ++i) {
    const PolicyInput input = generator.policy(12);
    const Policy policy(input);
    for (int j = 0; j < 20; ++j) {
      Request request = generator.request();
      request.direction = Direction::kOutbound;
      request.is_host_door = false;
      if (request.name == nullptr) continue;
      if (policy.judge_name(*request.name).action != Action::kAllow) continue;
      const Action unresolved = policy.judge_unresolved(request).action;
      const Action resolved = policy.evaluate(request).action;
      if (unresolved == Action::kDeny) {
        ++denied;
        ASSERT_EQ(resolved, Action::kDeny) << show(input, request);
      } else if (unresolved == Action::kAsk) {
        ASSERT_NE(resolved, Action::kAllow) << show(input, request);
      }
    }
  }
  EXPECT_GT(denied, 1000U);
}

void expect_told(const Policy& policy, const Explanation& explanation, const std::string& shown) {
  const auto decisive = std::ranges::find_if(explanation.steps, &Step::is_decisive);
  ASSERT_NE(decisive, explanation.steps.end()) << shown;
  ASSERT_EQ(std::ranges::count_if(explanation.steps, &Step::is_decisive), 1) << shown;
  const bool is_passing =
      explanation.verdict.action == Action::kAllow || policy.mode() != PolicyMode::kReport;
  ASSERT_TRUE(!is_passing || decisive + 1 == explanation.steps.end()) << shown;
  ASSERT_EQ(decisive->rule, explanation.verdict.rule) << shown;
  switch (explanation.verdict.reason) {
    case Reason::kRule:
      ASSERT_EQ(stage_name(decisive->stage), action_name(explanation.verdict.action)) << shown;
      break;
    case Reason::kFloor:
    case Reason::kRebind:
      ASSERT_EQ(decisive->stage, Step::Stage::kFloor) << shown;
      break;
    case Reason::kDefault:
      ASSERT_EQ(decisive->stage, Step::Stage::kDefault) << shown;
      break;
    case Reason::kScope:
    case Reason::kNoName:
    case Reason::kFirstFlight:
    case Reason::kLimit:
    case Reason::kSource:
    case Reason::kType:
      FAIL() << shown;
  }
}

TEST(PolicyProperties, ExplainAndEnforcementAgreeOnAMillionRequests) {
  Generator generator(31);
  std::array<std::size_t, 3> seen{};
  for (int i = 0; i < 5000; ++i) {
    const PolicyInput input = generator.policy(i % 10 == 0 ? 200 : 12);
    const Policy policy(input);
    for (int j = 0; j < 200; ++j) {
      const Request request = generator.request();
      const Explanation explanation = policy.explain(request);
      Verdict verdict;
      const bool is_dialled = policy.allow(request, verdict).has_value();
      if (verdict != explanation.verdict) FAIL() << show(input, request);
      ++seen[static_cast<std::size_t>(verdict.action)];
      const bool is_allowed = verdict.action == Action::kAllow;
      if (is_dialled != is_allowed && policy.mode() != PolicyMode::kReport) {
        FAIL() << show(input, request);
      }
      if (j == 0) expect_told(policy, explanation, show(input, request));
      if (j == 0 && request.name != nullptr) {
        const Explanation before = policy.explain_unresolved(request);
        ASSERT_EQ(before.verdict, policy.judge_unresolved(request)) << show(input, request);
        expect_told(policy, before, show(input, request));
      }
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_EQ(seen[0] + seen[1] + seen[2], 1'000'000U);
  for (const std::size_t count : seen) EXPECT_GT(count, 50'000U);
}

TEST(PolicyProperties, ARuleMoreChangesNothingButToItsOwnAction) {
  Generator generator(24);
  for (int i = 0; i < 20000; ++i) {
    PolicyInput input = generator.policy(10);
    const Request request = generator.request();
    const Action before = Policy(input).evaluate(request).action;
    const Action added = generator.action();
    input.rules.push_back(generator.rule(added));
    const Action after = Policy(input).evaluate(request).action;
    ASSERT_TRUE(after == before || after == added) << show(input, request);
  }
}

TEST(PolicyProperties, TheRemedyOfADenialLetsItPass) {
  Generator generator(25);
  std::size_t helped = 0;
  constexpr std::string_view kOption = "--allow ";
  for (int i = 0; i < 50000; ++i) {
    PolicyInput input = generator.policy(10);
    Request request = generator.request();
    request.dialled.port = std::max(request.dialled.port, std::uint16_t{1});
    const Policy policy(input);
    const Verdict verdict = policy.evaluate(request);
    const std::string remedy = policy.remedy(request, verdict);
    ASSERT_TRUE(verdict.action != Action::kAllow || remedy.empty()) << remedy;
    if (remedy.empty()) continue;
    ASSERT_TRUE(remedy.starts_with(kOption)) << remedy;
    const Result<Destination> to = parse_destination(remedy.substr(kOption.size()));
    ASSERT_TRUE(to) << remedy;
    input.rules.push_back({.to = *to, .action = Action::kAllow});
    ASSERT_EQ(Policy(input).evaluate(request).action, Action::kAllow)
        << remedy << " for " << show(input, request);
    ++helped;
  }
  EXPECT_GT(helped, 5000U);
}

TEST(PolicyProperties, DestinationsOfRandomRulesReadBack) {
  Generator generator(26);
  for (int i = 0; i < 50000; ++i) {
    const Destination to = generator.destination();
    const std::string text = format_destination(to);
    const Result<Destination> parsed = parse_destination(text);
    if (!parsed) continue;  // Not every value of the type is one that can be written.
    ASSERT_EQ(format_destination(*parsed), text);
  }
}

TEST(PolicyProperties, AHundredThousandNamesAgreeWithThePlainEvaluator) {
  std::mt19937_64 random(32);
  const auto random_name = [&random](std::size_t labels) {
    std::string text = "example";
    for (std::size_t i = 0; i < labels; ++i) text = std::to_string(random() % 20) + "x." + text;
    return DnsName::parse(text).value();
  };
  PolicyInput input{.default_action = DefaultAction::kDeny};
  for (int i = 0; i < 100000; ++i) {
    Rule rule;
    rule.to.kind = Destination::Kind::kName;
    rule.to.pattern = {.kind = static_cast<NamePattern::Kind>(i % 3), .name = random_name(4)};
    rule.to.ports = i % 5 == 0 ? PortSet(443) : PortSet::web();
    rule.action = i % 4 == 0 ? Action::kDeny : Action::kAllow;
    input.rules.push_back(rule);
  }
  const Policy policy(input);
  std::size_t by_rule = 0;
  for (int i = 0; i < 15; ++i) {
    const DnsName name = random_name(3 + random() % 4);
    const Request request{.dialled = {IpAddress::v4({9, 9, 9, 9}), 443},
                          .address_class = AddressClass::kPublic,
                          .name = &name};
    const Verdict verdict = policy.evaluate(request);
    ASSERT_EQ(verdict, plain_evaluate(input, request)) << name.to_string();
    by_rule += verdict.rule ? 1 : 0;
  }
  EXPECT_GT(by_rule, 3U);
}

TEST(PolicyProperties, AHundredThousandRulesAgreeWithThePlainEvaluator) {
  std::mt19937_64 random(27);
  PolicyInput input;
  for (int i = 0; i < 100000; ++i) {
    Rule rule;
    const unsigned length = 8 + static_cast<unsigned>(random() % 25);
    rule.to.prefix = Prefix(IpAddress::v4(static_cast<std::uint32_t>(random())), length);
    rule.action = i % 4 == 0 ? Action::kDeny : Action::kAllow;
    if (i % 3 == 0) rule.to.ports = PortSet(443);
    input.rules.push_back(rule);
  }
  const Policy policy(input);
  for (int i = 0; i < 100; ++i) {
    Request request;
    request.dialled = {IpAddress::v4(static_cast<std::uint32_t>(random())), 443};
    request.address_class = AddressClass::kPublic;
    const Verdict expected = plain_evaluate(input, request);
    const Verdict verdict = policy.evaluate(request);
    ASSERT_EQ(verdict.action, expected.action) << request.dialled.to_string();
    ASSERT_EQ(verdict.rule, expected.rule) << request.dialled.to_string();
  }
}

}  // namespace
}  // namespace cordon
