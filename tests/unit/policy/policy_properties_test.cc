// What must hold for every set of rules: checked on seeded random ones, and against an evaluator
// that is written here from the words of the contract, without an index.
#include <algorithm>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "netstack/policy/policy.h"

namespace cordon {
namespace {

constexpr std::array kClasses{
    AddressClass::kSelf,      AddressClass::kMetadata, AddressClass::kLoopback,
    AddressClass::kLinkLocal, AddressClass::kLan,      AddressClass::kVpn,
    AddressClass::kMulticast, AddressClass::kReserved, AddressClass::kPublic};

// Few networks and few ports, so that rules nest, collide and hit.
constexpr const char* kAnchors[] = {
    "9.9.9.9",
    "9.9.128.1",
    "10.1.2.3",
    "10.255.0.1",
    "169.254.169.254",
    "169.254.7.7",
    "0.0.0.0",
    "255.255.255.255",
    "198.51.100.7",
    "224.0.0.251",
    "127.0.0.1",
    "2a00::9",
    "2a00:0:0:1::9",
    "64:ff9b::909:909",
    "64:ff9b::a01:203",
    "::ffff:a01:203",
    "2002:a01:203::1",
    "fd00:ec2::254",
    "fe80::9",
    "::",
    "2001:0:a01:203:0:0:f6f6:f6f6",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
};

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  bool is_one_in(std::uint64_t count) { return below(count) == 0; }

  IpAddress address() {
    const IpAddress anchor = IpAddress::parse(kAnchors[below(std::size(kAnchors))]).value();
    if (!is_one_in(2)) return anchor;
    std::vector<std::uint8_t> octets(anchor.octets().begin(), anchor.octets().end());
    const std::size_t bit = below(octets.size() * 8);
    octets[bit / 8] = static_cast<std::uint8_t>(octets[bit / 8] ^ (0x80U >> (bit % 8)));
    return IpAddress::from_octets(octets);
  }

  std::uint16_t port() { return static_cast<std::uint16_t>(is_one_in(20) ? random_() : below(6)); }

  Protocol protocol() { return static_cast<Protocol>(below(3)); }

  Destination destination() {
    Destination to;
    const std::uint64_t kind = below(10);
    to.kind = kind < 6   ? Destination::Kind::kPrefix
              : kind < 9 ? Destination::Kind::kClass
                         : Destination::Kind::kHostDoor;
    const IpAddress base = address();
    to.prefix =
        Prefix(base, is_one_in(3) ? base.bits() : static_cast<unsigned>(below(base.bits() + 1)));
    to.address_class = kClasses[below(kClasses.size())];
    if (!is_one_in(2)) to.protocol = protocol();
    if (is_one_in(2)) {
      const std::uint16_t first = port();
      to.ports = PortSet(PortRange{.first = first, .last = std::max(first, port())});
    }
    return to;
  }

  Rule rule(Action action) { return {.to = destination(), .action = action}; }

  PolicyInput policy(std::size_t most_rules) {
    PolicyInput input;
    input.default_action = is_one_in(2) ? DefaultAction::kDeny : DefaultAction::kAllowPublic;
    const std::size_t count = below(most_rules + 1);
    for (std::size_t i = 0; i < count; ++i) {
      input.rules.push_back(rule(is_one_in(3) ? Action::kDeny : Action::kAllow));
    }
    return input;
  }

  Request request() {
    Request out;
    out.direction = is_one_in(8) ? Direction::kInbound : Direction::kOutbound;
    out.protocol = protocol();
    out.dialled = {address(), port()};
    out.address_class = is_one_in(4) ? kClasses[below(kClasses.size())]
                                     : classify(out.dialled.address, RouteFacts{}, {});
    out.is_host_door = is_one_in(10);
    return out;
  }

  template <class T>
  void shuffle(std::vector<T>& values) {
    std::shuffle(values.begin(), values.end(), random_);
  }

 private:
  std::mt19937_64 random_;
};

// ---- the contract once more, in the plainest form

AddressClass judged_class(const Request& request) {
  const IpAddress& address = request.dialled.address;
  if (Prefix(IpAddress(), 8).contains(address)) return AddressClass::kSelf;
  if (address == IpAddress::v6({})) return AddressClass::kSelf;
  return request.address_class;
}

bool covers_protocol_and_port(const Destination& to, const Request& request) {
  if (to.protocol && *to.protocol != request.protocol) return false;
  if (request.protocol == Protocol::kIcmp || request.direction == Direction::kInbound) {
    return to.ports.is_all();
  }
  return to.ports.contains(request.dialled.port);
}

bool allow_rule_covers(const Rule& rule, const Request& request) {
  const Destination& to = rule.to;
  if (rule.action != Action::kAllow || !covers_protocol_and_port(to, request)) return false;
  if (request.is_host_door) return to.kind == Destination::Kind::kHostDoor;
  const AddressClass address_class = judged_class(request);
  if (to.kind == Destination::Kind::kClass) return to.address_class == address_class;
  if (to.kind != Destination::Kind::kPrefix) return false;
  if (address_class == AddressClass::kSelf || address_class == AddressClass::kMulticast) {
    return false;
  }
  if (address_class == AddressClass::kMetadata &&
      to.prefix.length() != to.prefix.address().bits()) {
    return false;
  }
  return to.prefix.contains(request.dialled.address);
}

bool deny_rule_covers(const Rule& rule, const Request& request) {
  const Destination& to = rule.to;
  if (rule.action != Action::kDeny || !covers_protocol_and_port(to, request)) return false;
  if (request.is_host_door) return to.kind == Destination::Kind::kHostDoor;
  if (to.kind == Destination::Kind::kClass) return to.address_class == judged_class(request);
  if (to.kind != Destination::Kind::kPrefix) return false;
  if (to.prefix.contains(request.dialled.address)) return true;
  const Unwrapped unwrapped = unwrap(request.dialled.address);
  return std::any_of(unwrapped.inner.begin(),
                     unwrapped.inner.begin() + static_cast<std::ptrdiff_t>(unwrapped.count),
                     [&](const IpAddress& inner) { return to.prefix.contains(inner); });
}

Verdict plain_evaluate(const PolicyInput& input, const Request& request) {
  std::optional<std::uint32_t> allowed;
  std::optional<std::uint32_t> denied;
  for (std::uint32_t i = 0; i < input.rules.size(); ++i) {
    if (!allowed && allow_rule_covers(input.rules[i], request)) allowed = i;
    if (!denied && deny_rule_covers(input.rules[i], request)) denied = i;
  }
  const Verdict by_deny{.action = Action::kDeny, .reason = Reason::kRule, .rule = denied};
  if (request.direction == Direction::kInbound) {
    return denied ? by_deny : Verdict{.action = Action::kAllow, .reason = Reason::kDefault};
  }
  const bool has_floor = request.is_host_door || judged_class(request) != AddressClass::kPublic;
  if (has_floor && !allowed) return {.action = Action::kDeny, .reason = Reason::kFloor};
  if (denied) return by_deny;
  if (allowed) return {.action = Action::kAllow, .reason = Reason::kRule, .rule = allowed};
  const bool is_open = input.default_action == DefaultAction::kAllowPublic;
  return {.action = is_open ? Action::kAllow : Action::kDeny, .reason = Reason::kDefault};
}

std::string show(const PolicyInput& input, const Request& request) {
  std::string text = input.default_action == DefaultAction::kDeny ? "deny" : "public";
  for (const Rule& rule : input.rules) {
    text += rule.action == Action::kAllow ? " +" : " -";
    text += format_destination(rule.to);
  }
  text += " | ";
  text += protocol_name(request.protocol);
  text += " " + request.dialled.to_string() + " ";
  text += class_name(request.address_class);
  if (request.direction == Direction::kInbound) text += " inbound";
  if (request.is_host_door) text += " door";
  return text;
}

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
    PolicyInput input;
    input.rules.push_back(generator.rule(Action::kDeny));
    const Request request = generator.request();
    const bool is_denied = deny_rule_covers(input.rules[0], request);
    for (int j = 0; j < 20; ++j) input.rules.push_back(generator.rule(Action::kAllow));
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
      const bool has_floor = request.is_host_door || request.address_class != AddressClass::kPublic;
      const bool is_opened = std::ranges::any_of(
          input.rules, [&](const Rule& rule) { return allow_rule_covers(rule, request); });
      if (!has_floor || is_opened) continue;
      ++checked;
      const Verdict verdict = policy.evaluate(request);
      ASSERT_EQ(verdict.action, Action::kDeny) << show(input, request);
      ASSERT_EQ(verdict.reason, Reason::kFloor) << show(input, request);
    }
  }
  EXPECT_GT(checked, 10000U);
}

TEST(PolicyProperties, AnAllowRuleMoreNeverDeniesAndADenyRuleMoreNeverAllows) {
  Generator generator(24);
  for (int i = 0; i < 20000; ++i) {
    PolicyInput input = generator.policy(10);
    const Request request = generator.request();
    const Action before = Policy(input).evaluate(request).action;
    const Action added = generator.is_one_in(2) ? Action::kAllow : Action::kDeny;
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
    const Request request = generator.request();
    const Policy policy(input);
    const Verdict verdict = policy.evaluate(request);
    const std::string remedy = policy.remedy(request, verdict);
    ASSERT_TRUE(verdict.action == Action::kDeny || remedy.empty()) << remedy;
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
  for (int i = 0; i < 200; ++i) {
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
