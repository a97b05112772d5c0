#include "launcher/policy/policy_file.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace cordon {
namespace {

PolicyFile read_or_fail(const std::string& text, PolicyKind kind = PolicyKind::kPolicy) {
  PolicyReading reading = read_policy_text(text, "p.toml", kind);
  for (const Problem& problem : reading.problems) ADD_FAILURE() << problem.to_string();
  return std::move(reading.file);
}

std::vector<std::string> problems_of(const std::string& text,
                                     PolicyKind kind = PolicyKind::kPolicy) {
  std::vector<std::string> all;
  for (const Problem& problem : read_policy_text(text, "p.toml", kind).problems) {
    all.push_back(problem.to_string());
  }
  return all;
}

TEST(PolicyFile, WithoutAVersionItsOtherErrorsAreFoundToo) {
  EXPECT_EQ(
      problems_of("allow = [\"a.example\"]\ndeny = [\"a.example\"]\n"),
      (std::vector<std::string>{
          "p.toml:1:1: version is missing; write version = 1 at the top",
          "p.toml:1:10: \"a.example\" can never be allowed: line 2 denies \"a.example\", and a "
          "deny beats everything; remove one of them"}));
}

TEST(PolicyFile, OfARuleWhoseActionIsNotKnownNothingFollows) {
  const auto problems = problems_of(
      "version = 1\nallow = [\"b.example\"]\n[[rule]]\nto = [\"b.example\", \"*\"]\naction = "
      "\"dney\"\n");
  ASSERT_EQ(problems.size(), 2U);
  EXPECT_TRUE(problems[0].starts_with("p.toml:4:21: \"*\"")) << problems[0];
  EXPECT_TRUE(problems[1].starts_with("p.toml:5:10: rule.action = \"dney\": did you mean"))
      << problems[1];
}

TEST(PolicyFile, TheExampleOfTheManualIsReadWhole) {
  const PolicyFile file = read_or_fail(R"(version = 1
use     = ["npm", "github:read"]
default = "deny"
deny    = ["*.telemetry.example", "@lan"]
allow   = ["pypi.org", "github.com:22", "host:5432"]
[[rule]]
name   = "model api"
to     = ["api.example.com"]
action = "allow"
up     = "5MB"
tls    = true
dns    = ["TXT", "SRV"]
[dns]
upstream = "host"
mode     = "map"
wildcard-budget = "30/min"
[tls]
sni  = "match"
ech  = "deny"
quic = "by-name"
[limits]
flows = 100
up    = "1GB"
rate  = "1MB/s"
time  = "1h"
[log]
file   = "flows.json"
format = "json"
flows  = false
)");
  ASSERT_EQ(file.use.size(), 2U);
  EXPECT_EQ(file.use[1].value, "github:read");
  EXPECT_EQ(file.use[1].place.to_string(), "p.toml:2:19");
  ASSERT_EQ(file.rules.size(), 6U);
  EXPECT_EQ(file.rules[0].value.text, "*.telemetry.example");
  EXPECT_EQ(file.rules[0].value.action, Action::kDeny);
  EXPECT_EQ(file.rules[3].value.origin, "p.toml:5");
  EXPECT_EQ(file.rules[5].value.label, "model api");
  EXPECT_EQ(file.rules[5].value.limits.up_bytes, 5'000'000U);
  EXPECT_TRUE(file.rules[5].value.needs_tls);
  EXPECT_EQ(file.rules[5].value.dns_types, (std::vector<std::uint16_t>{16, 33}));
  EXPECT_EQ(file.default_action->value, DefaultAction::kDeny);
  EXPECT_EQ(file.dns.upstream->value, DnsChoice{});
  EXPECT_EQ(file.dns.mode->value, NameSettings::Mode::kMap);
  EXPECT_EQ(file.dns.wildcard_names_per_minute->value, 30U);
  EXPECT_EQ(file.tls.ech->value, NameSettings::Ech::kDeny);
  EXPECT_EQ(file.tls.quic->value, NameSettings::Quic::kByName);
  EXPECT_EQ(file.limits.flows->value, 100U);
  EXPECT_EQ(file.limits.seconds->value, 3'600U);
  EXPECT_EQ(file.log.file->value, "flows.json");
  EXPECT_FALSE(file.log.flows->value);
}

TEST(PolicyFile, RulesKeepTheOrderOfTheFile) {
  const PolicyFile file = read_or_fail(R"(version = 1
[[rule]]
to = "a.example"
action = "ask"
[[rule]]
to = ["b.example", "c.example"]
)");
  ASSERT_EQ(file.rules.size(), 3U);
  EXPECT_EQ(file.rules[0].value.text, "a.example");
  EXPECT_EQ(file.rules[0].value.action, Action::kAsk);
  EXPECT_EQ(file.rules[2].value.text, "c.example");
}

TEST(PolicyFile, AStringAloneIsAListOfOneInARule) {
  EXPECT_EQ(read_or_fail("version = 1\n[[rule]]\nto = \"a.example\"\n").rules.size(), 1U);
}

TEST(PolicyFile, ClassesMovePrefixes) {
  const PolicyFile file =
      read_or_fail("version = 1\n[classes]\nlan = [\"198.51.100.0/24\"]\nvpn = \"10.8.0.0/16\"\n");
  ASSERT_EQ(file.classes.size(), 2U);
  EXPECT_EQ(file.classes[0].value.address_class, AddressClass::kLan);
  EXPECT_EQ(file.classes[1].value.prefix, *Prefix::parse("10.8.0.0/16"));
}

struct Wrong {
  std::string text;  // behind "version = 1\n"
  std::string said;  // begins with the place
};

TEST(PolicyFileErrors, NameThePlaceTheThingAndTheRemedy) {
  const std::vector<Wrong> rows{
      {"alow = []", "p.toml:2:1: unknown key \"alow\"; did you mean allow?"},
      {"frobnicate = 1", "p.toml:2:1: unknown key \"frobnicate\"; known are version"},
      {"[dns]\nmod = \"map\"", "p.toml:3:1: unknown key \"mod\" in [dns]; did you mean mode?"},
      {"[[rule]]\nto = \"a.example\"\nupp = \"5MB\"",
       "p.toml:4:1: unknown key \"upp\" in [rule]; did you mean up?"},
      {"allow = \"pypi.org\"", "p.toml:2:9: allow must be a list of strings, not a string; write "},
      {"allow = [443]", "p.toml:2:10: an element of allow must be a string, not a number"},
      {"allow = [\"10.0.0.1/8\"]", "p.toml:2:11: \"10.0.0.1/8\": the address has bits beyond /8"},
      {"allow = [\"10.0.0.0/33\"]", "p.toml:2:20: \"10.0.0.0/33\": \"33\" is not a prefix length"},
      {"allow = [\"pypi.org:0\"]", "p.toml:2:20: \"pypi.org:0\": there is no port 0"},
      {"allow = [\"pypi.org:90-80\"]", "p.toml:2:20: \"pypi.org:90-80\": "},
      {"allow = [\"*\"]", "p.toml:2:11: \"*\": "},
      {"allow = [\"*.com\"]", "p.toml:2:13: \"*.com\": "},
      {"allow = [\".co.uk\"]",
       "p.toml:2:10: \".co.uk\" is everybody's: anyone can have a name under"},
      {"allow = [\"*.github.io\"]", "p.toml:2:10: \"*.github.io\" is everybody's"},
      {"allow = [\"co.uk\"]", "p.toml:2:10: \"co.uk\" is a public suffix, not a host"},
      {"allow = [\"0.0.0.0/0\"]", "p.toml:2:10: \"0.0.0.0/0\" would open this host's loopback"},
      {"allow = [\"[::/1]:443\"]", "p.toml:2:10: \"[::/1]:443\" would open this host's loopback"},
      {"default = \"allow\"",
       "p.toml:2:11: default = \"allow\": did you mean \"allow-public\"? it is "
       "one of deny, ask, allow-public"},
      {"default = 1", "p.toml:2:11: default must be a string, not a number"},
      {"mode = \"enforced\"", "p.toml:2:8: mode = \"enforced\": did you mean \"enforce\"?"},
      {"checked = \"2026-01-31\"", "p.toml:2:11: checked must be a date without quotes"},
      {"rule = []", "p.toml:2:8: rules are written as tables of a list: [[rule]]"},
      {"[rule]\nto = \"a.example\"", "p.toml:2:1: rules are written as tables of a list: [[rule]]"},
      {"[[rule]]\nname = \"x\"", "p.toml:2:1: the rule says nothing: add to = "},
      {"[[rule]]\nto = []", "p.toml:2:1: the rule says nothing: add to = "},
      {"[[rule]]\nto = \"a.example\"\nup = \"5 megs\"",
       "p.toml:4:6: rule.up: '5 megs' is not an amount of data; write a number and its unit"},
      {"[[rule]]\nto = \"a.example\"\nflows = 0", "p.toml:4:9: rule.flows = 0: must be from 1"},
      {"[[rule]]\nto = \"a.example\"\nuntil = \"soon\"",
       "p.toml:4:9: rule.until: 'soon' is not a time"},
      {"[[rule]]\nto = \"a.example\"\naction = \"deny\"\nup = \"1MB\"",
       "p.toml:2:1: a rule that denies has no budget"},
      {"[[rule]]\nto = [\"a.example\", \"*.b.example\"]\nprivate = true",
       "p.toml:3:20: private = true is for single names that are allowed; \"*.b.example\""},
      {"[[rule]]\nto = \"10.0.0.0/8\"\nprivate = true", "p.toml:3:6: private = true is for single"},
      {"[[rule]]\nto = \"udp/a.example:53\"\ntls = true", "p.toml:3:6: tls = true is for tcp"},
      {"[[rule]]\nto = \"10.0.0.0/8\"\ndns = [\"TXT\"]",
       "p.toml:3:6: dns types are asked for names"},
      {"[[rule]]\nto = \"a.example\"\ndns = [\"HTTPS\"]",
       "p.toml:4:8: rule.dns: \"HTTPS\" is not a type that can be allowed: those are CAA"},
      {"[[rule]]\nto = \"a.example\"\ndns = [\"txt\"]",
       "p.toml:4:8: rule.dns: \"txt\": types are written in capitals, as in \"TXT\""},
      {"[[rule]]\nto = \"a.example\"\ndns = [\"AAAA\"]", "p.toml:4:8: AAAA is always answered"},
      {"publish = [\"8080\"]", "p.toml:2:12: \"8080\": the guest's port is missing"},
      {"[classes]\nlan = [\"198.51.100.1/24\"]", "p.toml:3:8: \"198.51.100.1/24\" is not a prefix"},
      {"[classes]\npublic = [\"127.0.0.0/8\"]", "p.toml:3:11: \"127.0.0.0/8\": "},
      {"[classes]\nself = [\"198.51.100.0/24\"]", "p.toml:3:1: unknown key \"self\" in [classes]"},
      {"dns = \"off\"", "p.toml:2:7: dns is a table, not a string; write [dns]"},
      {"[dns]\nupstream = [\"dns.example\"]", "p.toml:3:13: dns.upstream: dns.example: not a DNS"},
      {"[dns]\nwildcard-budget = 60", "p.toml:3:19: dns.wildcard-budget must be a string"},
      {"[tls]\nsni = \"check\"", "p.toml:3:7: tls.sni = \"check\": it is one of match, ignore"},
      {"[log]\nfile = \"\"", "p.toml:3:8: log.file: the file's name is empty"},
      {"allow = [\"pypi.org\"", "p.toml:2:21: not TOML: "},
      {"allow = []\nallow = []", "p.toml:3:"},
      {"[@lan]", "p.toml:2:2: not TOML: "},
      {"na\xc3\xafve = 1", "p.toml:2:3: control and non-ASCII characters stand in strings and"},
      {"# \xc3\xa9\nallow = []\xc2\xa0", "p.toml:3:11: control and non-ASCII characters"},
      {"[\x01]", "p.toml:2:2: control and non-ASCII characters"},
      {"[", "p.toml:2:"},
      {"= 1", "p.toml:2:1: not TOML: "},
  };
  for (const Wrong& row : rows) {
    const auto problems = problems_of("version = 1\n" + row.text + "\n");
    ASSERT_FALSE(problems.empty()) << row.text;
    EXPECT_TRUE(problems.front().starts_with(row.said))
        << row.text << "\n  said:   " << problems.front() << "\n  wanted: " << row.said;
    EXPECT_EQ(problems.front().find('\n'), std::string::npos);
  }
}

TEST(PolicyFile, StringsAndCommentsMayHoldAnyLanguage) {
  EXPECT_EQ(read_or_fail("version = 1 # f\xc3\xbcr\nabout = \"f\xc3\xbcr uns\"\n").about,
            "f\xc3\xbcr uns");
}

TEST(PolicyFileErrors, TheVersionIsRequiredAndOne) {
  EXPECT_EQ(
      problems_of("allow = []"),
      (std::vector<std::string>{"p.toml:1:1: version is missing; write version = 1 at the top"}));
  EXPECT_EQ(problems_of("version = 2"),
            (std::vector<std::string>{
                "p.toml:1:11: this cordon understands version = 1 of policy files only"}));
  EXPECT_EQ(problems_of("version = \"1\""),
            (std::vector<std::string>{"p.toml:1:11: this cordon understands version = 1 of policy "
                                      "files only, and it is written without quotes"}));
}

TEST(PolicyFileErrors, AllOfAFileAreToldInItsOrder) {
  const auto problems =
      problems_of("version = 1\nzeta = 1\nallow = [\"x:0\", \"@nope\"]\nalpha = 2\n");
  ASSERT_EQ(problems.size(), 4U);
  EXPECT_TRUE(problems[0].starts_with("p.toml:2:1: "));
  EXPECT_TRUE(problems[1].starts_with("p.toml:3:13: "));
  EXPECT_TRUE(problems[2].starts_with("p.toml:3:19: "));
  EXPECT_TRUE(problems[3].starts_with("p.toml:4:1: "));
}

TEST(PolicyFileContradictions, AreFoundWhereverTheyStand) {
  const std::vector<Wrong> rows{
      {"allow = [\"a.example\"]\ndeny = [\"a.example\"]",
       "p.toml:2:10: \"a.example\" can never be allowed: line 3 denies \"a.example\""},
      {"deny = [\".example.com\"]\nallow = [\"a.b.example.com:22\"]",
       "p.toml:3:10: \"a.b.example.com:22\" can never be allowed: line 2 denies \".example.com\""},
      {"deny = [\"10.0.0.0/8\"]\nallow = [\"10.1.2.3:5432\"]",
       "p.toml:3:10: \"10.1.2.3:5432\" can never be allowed"},
      {"deny = [\"@lan\"]\nallow = [\"@lan:443\"]",
       "p.toml:3:10: \"@lan:443\" can never be allowed"},
      {"deny = [\"host:1-65535\"]\nallow = [\"host:5432\"]",
       "p.toml:3:10: \"host:5432\" can never be"},
      {"deny = [\"a.example\"]\nask = [\"a.example:22\"]",
       "p.toml:3:8: \"a.example:22\" can never be "
       "asked"},
      {"ask = [\"*.example.com\"]\nallow = [\"a.example.com\"]",
       "p.toml:3:10: \"a.example.com\" is asked all the same: line 2 asks \"*.example.com\""},
      {"allow = [\"a.example\"]\n[[rule]]\nto = \"a.example\"\nup = \"5MB\"",
       "p.toml:4:6: \"a.example\" is allowed with other limits in line 2"},
      {"allow = [\"a.example\"]\n[dns]\nmode = \"off\"",
       "p.toml:4:8: dns.mode = \"off\" answers no names, but line 2 has a rule for the name"},
      {"allow = [\"a.example\"]\n[dns]\nmode = \"open\"",
       "p.toml:4:8: dns.mode = \"open\" enforces no"},
  };
  for (const Wrong& row : rows) {
    const auto problems = problems_of("version = 1\n" + row.text + "\n");
    ASSERT_EQ(problems.size(), 1U) << row.text;
    EXPECT_TRUE(problems.front().starts_with(row.said))
        << row.text << "\n  said:   " << problems.front() << "\n  wanted: " << row.said;
  }
}

TEST(PolicyFileContradictions, ANarrowerDenyIsNone) {
  for (const char* text :
       {"allow = [\".example.com\"]\ndeny = [\"a.example.com\"]",
        "allow = [\"10.0.0.0/8\"]\ndeny = [\"10.1.2.3\"]",
        "allow = [\"@lan\"]\ndeny = [\"@lan:22\"]",
        "allow = [\"a.example\"]\ndeny = [\"*.a.example\"]",
        "allow = [\"*.a.example\"]\ndeny = [\"a.example\"]",
        "allow = [\"a.example:443\"]\ndeny = [\"udp/a.example:443\", \"a.example:80\"]",
        "allow = [\"xa.example\"]\ndeny = [\".a.example\"]",
        "allow = [\"a.example\", \"a.example\"]", "deny = [\".co.uk\", \"*.github.io\"]",
        "ask = [\"*.github.io\"]", "deny = [\"0.0.0.0/0\"]",
        "allow = [\"127.0.0.0/8\", \"::1\", \"2000::/3\", \"128.0.0.0/1\"]",
        "allow = [\"yours.github.io\", \".example.co.uk\", \"db\"]"}) {
    EXPECT_EQ(problems_of(std::string("version = 1\n") + text + "\n"), (std::vector<std::string>{}))
        << text;
  }
}

TEST(PolicyFilePreset, HoldsRulesOnly) {
  EXPECT_EQ(problems_of("version = 1\nallow = [\"a.example\"]\ndefault = \"allow-public\"\n",
                        PolicyKind::kPreset),
            (std::vector<std::string>{
                "p.toml:3:11: a preset holds rules only; default belongs into a policy"}));
  EXPECT_EQ(
      read_or_fail("version = 1\nuse = [\"x\"]\ndeny = [\"a.example\"]\n", PolicyKind::kPreset)
          .rules.size(),
      1U);
}

TEST(PolicyFileSize, AHundredThousandRulesAreReadInSeconds) {
  std::string text = "version = 1\ndeny = [\n";
  for (int i = 0; i < 50'000; ++i) text += fmt::format("  \"d{}.example.org\",\n", i);
  text += "]\nallow = [\n";
  for (int i = 0; i < 50'000; ++i) {
    text += fmt::format("  \"10.{}.{}.0/24:443\",\n", i / 256, i % 256);
  }
  const PolicyFile file = read_or_fail(text + "]\n");
  EXPECT_EQ(file.rules.size(), 100'000U);
}

TEST(PolicyFileNesting, DeepListsAreAnErrorAndNoCrash) {
  EXPECT_FALSE(problems_of("version = 1\nallow = " + std::string(100'000, '[')).empty());
}

}  // namespace
}  // namespace cordon
