// Whatever a denial says would allow it can be typed, or written into a policy file, and allows it.
#include <array>
#include <ranges>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "launcher/command_line.h"
#include "launcher/events/event_text.h"
#include "launcher/policy/policy_file.h"
#include "launcher/policy/policy_file_checks.h"
#include "launcher/policy/policy_words.h"
#include "tests/unit/policy/random_policy.h"

namespace cordon {
namespace {

using random_policy::Generator;
using random_policy::show;

// What guests ask for, most of it by mistake.
constexpr const char* kNames[] = {
    "a.example",
    "b.a.example",
    "_sip._tcp.a.example",
    "com",
    "co.uk",
    "a.co.uk",
    "github.io",
    "a.github.io",
    "localhost",
    "a.localhost",
    "host",
    "host.cordon.internal",
    "lan",
    "public",
    "@public",
    "@lan:443",
    "1.2.3.4",
    "10.0.0.0/8",
    "198.18.0.1",
    "8.8.8.8.in-addr.arpa",
    "a.ip6.arpa",
    "a!b.example",
    "-a.example",
    "a-.example",
    "a:22",
    "host:5432",
    "udp/a.example:53",
    "*.example",
    "a.0x1f",
    "xn--bcher-kva.example",
    "printer",
    ".",
    "a_b.example",
    "tcp/a.example",
    "[2001:db8::1]",
    "kawasaki.jp",
    "www.kawasaki.jp",
    "a.b.c.d.e.f.g.example",
    "UPPER.Example",
    "...",
};

struct Asked {
  Denial denial;
  DnsName name;
  bool is_unresolved = false;
};

DnsName any_name(Generator& generator) {
  const auto parsed = DnsName::parse(kNames[generator.below(std::size(kNames))]);
  return parsed ? *parsed : generator.name();
}

// As the translator denies: a flow that was judged, one whose name was not looked up yet, a
// question, one for a type of record, a first flight that names another.
bool deny_something(Generator& generator, const Policy& policy, Asked& asked) {
  asked.name = any_name(generator);
  Denial& denial = asked.denial;
  denial = Denial{.id = 1, .request = generator.request()};
  Request& request = denial.request;
  request.direction = Direction::kOutbound;
  request.dialled.port = std::max(request.dialled.port, std::uint16_t{1});
  if (request.name != nullptr) request.name = &asked.name;
  switch (generator.below(5)) {
    case 0:
      denial.verdict = policy.evaluate(request);
      break;
    case 1:
      request.name = &asked.name;
      request.is_host_door = false;
      request.dialled.address = *IpAddress::parse("198.18.0.9");
      asked.is_unresolved = true;
      denial.verdict = policy.judge_unresolved(request);
      break;
    case 2:
    case 3: {
      constexpr std::array<std::uint16_t, 6> kTypes{1, 28, 16, 33, 65, 12};
      denial.kind = Denial::Kind::kQuery;
      denial.query_type = kTypes.at(generator.below(kTypes.size()));
      request = Request{.protocol = Protocol::kUdp,
                        .guest = {*IpAddress::parse("10.0.2.100"), 5353},
                        .dialled = {*IpAddress::parse("10.0.2.3"), 53},
                        .name = &asked.name};
      denial.verdict = policy.judge_name(asked.name);
      const bool is_unlisted = denial.verdict.action == Action::kAllow &&
                               !policy.is_dns_type_allowed(asked.name, denial.query_type) &&
                               !word_for(kDnsTypes, denial.query_type).empty();
      if (is_unlisted) denial.verdict = {.action = Action::kDeny, .reason = Reason::kType};
      break;
    }
    default:
      request.name = &asked.name;
      request.is_host_door = false;
      denial.verdict = {.action = Action::kDeny,
                        .reason = Reason::kFirstFlight,
                        .fault = FlightFault::kOtherName};
      // One that is allowed is no fault of the policy's.
      if (policy.evaluate(request).action == Action::kAllow) return false;
  }
  return denial.verdict.action != Action::kAllow;
}

bool would_pass(const Policy& policy, const Asked& asked) {
  const Denial& denial = asked.denial;
  const Request& request = denial.request;
  if (denial.kind == Denial::Kind::kQuery) {
    return policy.judge_name(*request.name).action == Action::kAllow &&
           (word_for(kDnsTypes, denial.query_type).empty() ||
            policy.is_dns_type_allowed(*request.name, denial.query_type));
  }
  const Verdict verdict =
      asked.is_unresolved ? policy.judge_unresolved(request) : policy.evaluate(request);
  return verdict.action == Action::kAllow;
}

// "--allow A --allow B" behind the options of the run, as a person types it.
std::vector<Rule> typed(const std::string& remedy) {
  std::vector<std::string> words{"run"};
  for (const auto word : std::views::split(std::string_view(remedy), ' ')) {
    words.emplace_back(std::string_view(word.begin(), word.end()));
  }
  words.insert(words.end(), {"--", "true"});
  const Result<CommandLine> parsed = parse_command_line(words);
  EXPECT_TRUE(parsed) << remedy << ": " << (parsed ? "" : parsed.error().message());
  return parsed ? parsed->run.policy.rules : std::vector<Rule>();
}

// `dns = ["SRV"] in a [[rule]] for NAME`, in a file.
std::vector<Rule> written(const std::string& remedy) {
  const std::size_t middle = remedy.find(" in a [[rule]] for ");
  EXPECT_NE(middle, std::string::npos) << remedy;
  if (middle == std::string::npos) return {};
  const std::string name = remedy.substr(remedy.rfind(' ') + 1);
  const std::string text =
      fmt::format("version = 1\n[[rule]]\nto = [\"{}\"]\n{}\n", name, remedy.substr(0, middle));
  const PolicyReading reading = read_policy_text(text, "policy.toml");
  for (const Problem& problem : reading.problems) ADD_FAILURE() << problem.to_string() << text;
  std::vector<Rule> rules;
  for (const auto& rule : reading.file.rules) rules.push_back(rule.value);
  return rules;
}

TEST(Remedy, OfARandomDenialCanBeTypedAndAllowsIt) {
  Generator generator(77);
  std::size_t by_option = 0;
  std::size_t by_file = 0;
  std::size_t hopeless = 0;
  for (int i = 0; i < 25000; ++i) {
    PolicyInput input = generator.policy(6);
    const Policy policy(input);
    Asked asked;
    if (!deny_something(generator, policy, asked)) continue;
    const std::string remedy = remedy_text(asked.denial, policy);
    const std::string shown = remedy + " for " + show(input, asked.denial.request) + " " +
                              denial_text(asked.denial, policy, {});
    if (remedy.empty()) {
      hopeless += denial_text(asked.denial, policy, {}).find("no rule can") != std::string::npos;
      continue;
    }
    const bool is_option = remedy.starts_with("--allow ");
    const std::vector<Rule> rules = is_option ? typed(remedy) : written(remedy);
    ASSERT_FALSE(rules.empty()) << shown;
    ASSERT_FALSE(find_too_wide(rules)) << shown;
    ++(is_option ? by_option : by_file);
    input.rules.insert(input.rules.end(), rules.begin(), rules.end());
    ASSERT_TRUE(would_pass(Policy(input), asked)) << shown;
    // An option takes an open default with it.
    if (is_option && input.default_action == DefaultAction::kAllowPublic) {
      input.default_action = DefaultAction::kDeny;
      ASSERT_TRUE(would_pass(Policy(input), asked)) << shown << " by default deny";
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(by_option, 1000U);
  EXPECT_GT(by_file, 200U);
  EXPECT_GT(hopeless, 200U);
}

TEST(Remedy, OfANameThatNoRuleCanBeForIsTheReason) {
  struct Row {
    const char* name;
    const char* said;
  };
  const Row rows[] = {
      {"com",
       "denied dns com rule=default id=0; no rule can be for it: \"com\" is a public suffix, "
       "not a host"},
      {"co.uk",
       "denied dns co.uk rule=default id=0; no rule can be for it: \"co.uk\" is a public "
       "suffix, not a host"},
      {"a!b.example",
       "denied dns a!b.example rule=default id=0; no rule can be for it: "
       "\"a!b.example\" is not the name of a host"},
      {"1.2.3.4",
       "denied dns 1.2.3.4 rule=default id=0; no rule can be for it: \"1.2.3.4\" is not "
       "the name of a host"},
      {"@public",
       "denied dns @public rule=default id=0; no rule can be for it: \"@public\" is not "
       "the name of a host"},
      {"a.co.uk", "denied dns a.co.uk rule=default id=0; to allow it: --allow a.co.uk"},
      {"github.io", "denied dns github.io rule=default id=0; to allow it: --allow github.io"},
      {"printer", "denied dns printer rule=default id=0; to allow it: --allow printer"},
  };
  const Policy policy(PolicyInput{.default_action = DefaultAction::kDeny});
  for (const Row& row : rows) {
    const DnsName name = *DnsName::parse(row.name);
    Denial denial{.kind = Denial::Kind::kQuery, .query_type = 1};
    denial.request.name = &name;
    denial.verdict = policy.judge_name(name);
    EXPECT_EQ(denial_text(denial, policy, {}), row.said);
  }
}

}  // namespace
}  // namespace cordon
