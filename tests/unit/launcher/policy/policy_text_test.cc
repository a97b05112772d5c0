#include "launcher/policy/policy_text.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "launcher/verbs/policy_explain.h"

namespace cordon {
namespace {

class FixedRoutes final : public RouteQuery {
 public:
  RouteFacts lookup(const IpAddress& /*address*/) override {
    return {.type = RouteFacts::Type::kUnicast};
  }
};

class PolicyTextTest : public testing::Test {
 protected:
  PolicyTextTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "cordon-text-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
    folders_ = {root_};
  }
  ~PolicyTextTest() override { std::filesystem::remove_all(root_); }

  std::string write(const std::string& file, const std::string& text) const {
    std::ofstream(root_ + "/" + file) << "version = 1\n" << text;
    return root_ + "/" + file;
  }

  PolicySet read(const std::vector<std::string>& words) const {
    const auto given = read_policy_options("policy", words);
    EXPECT_TRUE(given) << given.error().message();
    auto set = read_policy_set((*given)->options, folders_);
    EXPECT_TRUE(set) << set.error().message();
    return *std::move(set);
  }

  PolicyAnswer explain(const std::vector<std::string>& words, const std::string& destination) {
    const PolicySet set = read(words);
    auto answer = explain_destination(set, destination, routes_);
    EXPECT_TRUE(answer) << answer.error().message();
    return answer.value_or(PolicyAnswer{});
  }

  std::string root_;
  std::vector<std::string> folders_;
  FixedRoutes routes_;
};

TEST_F(PolicyTextTest, WhatIsShownIsAFileThatMeansTheSame) {
  write("npm.toml", "allow = [\"registry.example:443\"]\n");
  const std::string file = write("p.toml", R"(use = ["npm"]
default = "ask"
mode = "report"
deny = [".bad.example", "@lan"]
ask = ["*.maybe.example"]
publish = ["8080:80"]
[[rule]]
name = "the \"api\""
to = ["api.example:443", "api2.example"]
up = "5MB"
rate = "1MB/s"
flows = 3
until = "1h30m"
tls = true
dns = ["TXT", "MX"]
[[rule]]
to = "db.example"
private = true
[classes]
vpn = ["10.8.0.0/16"]
[dns]
upstream = ["9.9.9.9"]
mode = "pin"
wildcard-budget = "3/min"
[tls]
sni = "ignore"
ech = "deny"
quic = "by-name"
[limits]
up = "1GB"
time = "8h"
[log]
file = "x.json"
)");
  const PolicySet set = read({"--policy", file});
  const std::string shown = policy_as_file(set, "shown");
  const std::string again = root_ + "/again.toml";
  std::ofstream(again) << shown;
  const PolicySet reread = read({"--policy", again});
  EXPECT_EQ(policy_differences(set.options, reread.options), (std::vector<std::string>{})) << shown;
  EXPECT_NE(shown.find("to = [\"api.example:443\", \"api2.example\"]\n"), std::string::npos)
      << shown;
  EXPECT_NE(shown.find("\"registry.example:443\", # npm.toml:2\n"), std::string::npos) << shown;
  EXPECT_NE(shown.find("#   npm is " + root_ + "/npm.toml\n"), std::string::npos) << shown;
}

TEST_F(PolicyTextTest, DifferencesAreWhatIsSaidNotHow) {
  const std::string one = write("one.toml", "allow = [\"a.example\", \"b.example\"]\n");
  const std::string same =
      write("same.toml", "# words\nallow = [\"B.example\"]\n[[rule]]\nto=\"a.example\"\n");
  const std::string other = write(
      "other.toml",
      "default = \"ask\"\nallow = [\"a.example\"]\n[[rule]]\nto = \"b.example\"\nup = \"5MB\"\n");
  const RunOptions before = read({"--policy", one}).options;
  EXPECT_TRUE(policy_differences(before, read({"--policy", same}).options).empty());
  EXPECT_EQ(policy_differences(before, read({"--policy", other}).options),
            (std::vector<std::string>{"- allow b.example  (" + one + ":2)", "- default deny",
                                      "+ allow b.example up=\"5MB\"  (" + other + ":5)",
                                      "+ default ask"}));
}

TEST_F(PolicyTextTest, ExplainNamesTheRuleAndItsPlace) {
  write("npm.toml", "allow = [\"registry.example:443\"]\n");
  const PolicyAnswer allowed = explain({"--use", "npm"}, "registry.example:443");
  EXPECT_TRUE(allowed.is_allowed);
  EXPECT_NE(allowed.text.find("> allow    a rule allows it: registry.example:443, npm.toml:2 (" +
                              root_ + "/npm.toml)\nallowed"),
            std::string::npos)
      << allowed.text;
  const PolicyAnswer denied = explain({"--use", "npm"}, "evil.example");
  EXPECT_FALSE(denied.is_allowed);
  EXPECT_NE(
      denied.text.find("> default  the default is deny\ndenied; to allow it: --allow evil.example"),
      std::string::npos)
      << denied.text;
}

TEST_F(PolicyTextTest, ExplainTellsTheOtherPortOfTheWebWhereItDiffers) {
  const PolicyAnswer answer = explain({"--allow", "a.example:443"}, "a.example");
  EXPECT_TRUE(answer.is_allowed);
  EXPECT_NE(answer.text.find("tcp a.example:443\n"), std::string::npos);
  EXPECT_NE(answer.text.find("tcp a.example:80\n"), std::string::npos);
  EXPECT_EQ(explain({"--allow", "a.example"}, "a.example").text.find("tcp a.example:80"),
            std::string::npos);
}

TEST_F(PolicyTextTest, ExplainKnowsAddressesTheFloorAndTheDoor) {
  EXPECT_TRUE(explain({}, "9.9.9.9").is_allowed);
  EXPECT_FALSE(explain({}, "127.0.0.1:22").is_allowed);
  EXPECT_NE(explain({}, "10.0.0.1").text.find("a prefix around it opens it"), std::string::npos);
  EXPECT_TRUE(explain({"--allow", "host:5432"}, "host:5432").is_allowed);
  EXPECT_FALSE(explain({"--allow", "host:5432"}, "host:5433").is_allowed);
  EXPECT_TRUE(explain({"--allow", "icmp/@public"}, "icmp/9.9.9.9").is_allowed);
}

TEST_F(PolicyTextTest, ExplainIsAboutOneDestination) {
  const PolicySet set = read({});
  for (const char* text : {"*.example.org", "10.0.0.0/8", "@lan", "a b"}) {
    EXPECT_FALSE(explain_destination(set, text, routes_)) << text;
  }
}

}  // namespace
}  // namespace cordon
