#include <string>

#include <gtest/gtest.h>

#include "tests/unit/policy/policy_text.h"

namespace cordon {
namespace {

using policy_text::describe;
using policy_text::make_policy;
using policy_text::make_request;
using policy_text::TextRequest;

/// "class: 10.1.2.3 is lan ... | floor: ... | deny 1: ... !": one step each, with its rule, an
/// exclamation mark behind the decisive one.
std::string told(const Explanation& explanation) {
  std::string text;
  for (const Step& step : explanation.steps) {
    if (!text.empty()) text += " | ";
    text += stage_name(step.stage);
    if (step.rule) text += " " + std::to_string(*step.rule);
    text += ": " + step.words;
    if (step.is_decisive) text += "!";
  }
  return text;
}

struct Row {
  const char* policy;
  const char* request;
  const char* told;
};

constexpr Row kRows[] = {
    {"public", "tcp 9.9.9.9 443 public",
     "class: 9.9.9.9 is public | deny: no rule denies it | ask: no rule asks | allow: no rule "
     "allows it | default: the default is allow-public!"},
    {"deny +pypi.org", "tcp 9.9.9.9 443 public pypi.org",
     "name: dialled as pypi.org | class: 9.9.9.9 is public | deny: no rule denies it | ask: no "
     "rule asks | allow 0: a rule allows it!"},
    {"deny +pypi.org -9.0.0.0/8", "tcp 9.9.9.9 443 public pypi.org",
     "name: dialled as pypi.org | class: 9.9.9.9 is public | deny 1: a rule denies it!"},
    {"deny +pypi.org ?.org.example ?pypi.org", "tcp 9.9.9.9 443 public pypi.org",
     "name: dialled as pypi.org | class: 9.9.9.9 is public | deny: no rule denies it | ask 2: a "
     "rule asks!"},
    {"deny mode=ask", "tcp 9.9.9.9 443 public",
     "class: 9.9.9.9 is public | deny: no rule denies it | ask: no rule asks | allow: no rule "
     "allows it | default: the default is deny, and mode ask asks first!"},
    {"deny mode=report", "tcp 9.9.9.9 443 public",
     "class: 9.9.9.9 is public | deny: no rule denies it | ask: no rule asks | allow: no rule "
     "allows it | default: the default is deny! | mode: mode report: it passes and is reported"},
    {"public", "tcp 10.1.2.3 22 lan",
     "class: 10.1.2.3 is lan, a floor class: neither the default nor @public opens it | floor: no "
     "rule for its class, its address or a prefix around it opens it!"},
    {"public +@self:22", "tcp 0.0.0.0 23 public",
     "class: 0.0.0.0 is self, a floor class: neither the default nor @public opens it | floor: no "
     "rule for its class opens it, and nothing else could!"},
    {"public", "tcp 169.254.169.254 80 metadata",
     "class: 169.254.169.254 is metadata, a floor class: neither the default nor @public opens it "
     "| floor: no rule for its class or for this one address opens it!"},
    {"public +10.0.0.0/8 -10.1.2.3", "tcp 10.1.2.3 22 lan",
     "class: 10.1.2.3 is lan, a floor class: neither the default nor @public opens it | floor 0: a "
     "rule opens it | deny 1: a rule denies it!"},
    {"public -9.9.9.9", "tcp 64:ff9b::9.9.9.9 80 -",
     "class: 64:ff9b::909:909 is public | deny 0: a rule denies the address that it carries "
     "inside!"},
    {"public", "door tcp 5432",
     "class: the host door: port 5432 of the host's loopback | floor: no rule for this port of the "
     "host door opens it!"},
    {"public +host:5432", "door tcp 5432",
     "class: the host door: port 5432 of the host's loopback | floor 0: a rule opens it | deny: no "
     "rule denies it | ask: no rule asks | allow 0: a rule allows it!"},
    {"deny", "in tcp 10.1.2.3 40000 lan",
     "class: 10.1.2.3 is lan | deny: no rule denies it | default: inbound flows pass!"},
};

TEST(PolicyExplain, TellsTheStepsInTheOrderOfPrecedence) {
  for (const Row& row : kRows) {
    const Policy policy = make_policy(row.policy);
    const TextRequest request = make_request(row.request);
    const Explanation explanation = policy.explain(request);
    EXPECT_EQ(told(explanation), row.told) << row.policy << " | " << row.request;
    EXPECT_EQ(explanation.verdict, policy.evaluate(request)) << row.policy;
  }
}

TEST(PolicyExplain, TellsOfANameBeforeItIsResolved) {
  const Row rows[] = {
      {"deny +pypi.org", "tcp pypi.org 443",
       "name: pypi.org, if it leads to a public address | deny: no rule denies it | ask: no rule "
       "asks | allow 0: a rule allows it!"},
      {"deny +pypi.org", "tcp pypi.org 22",
       "name: pypi.org, if it leads to a public address | deny: no rule denies it | ask: no rule "
       "asks | allow: no rule allows it | default: the default is deny!"},
      {"public -.org.example", "tcp a.org.example 22",
       "name: a.org.example, if it leads to a public address | deny 0: a rule denies it!"},
      {"deny +@lan", "tcp nas.home.example 445",
       "name: nas.home.example, if it leads to a public address | deny: no rule denies it | ask: "
       "no "
       "rule asks | allow: no rule allows it | default: the default is deny!"},
      {"deny +@lan +nas.home.example", "tcp nas.home.example 445",
       "name: nas.home.example, if it leads to a lan address | floor 0: a rule opens it | deny: no "
       "rule denies it | ask: no rule asks | allow 0: a rule allows it!"},
  };
  for (const Row& row : rows) {
    const Policy policy = make_policy(row.policy);
    const TextRequest request = make_request(row.request);
    const Explanation explanation = policy.explain_unresolved(request);
    EXPECT_EQ(told(explanation), row.told) << row.policy << " | " << row.request;
    EXPECT_EQ(explanation.verdict, policy.judge_unresolved(request)) << row.policy;
  }
  EXPECT_EQ(describe(make_policy("public").explain_unresolved(Request()).verdict), "deny default");
}

}  // namespace
}  // namespace cordon
