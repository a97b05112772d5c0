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
  for (const char* text : {"*.example.org", "10.0.0.0/8", "@lan", "a b", "9.9.9.9:80-90"}) {
    EXPECT_FALSE(explain_destination(set, text, routes_)) << text;
  }
  EXPECT_TRUE(explain_destination(set, "9.9.9.9:80-80", routes_));
}

TEST_F(PolicyTextTest, ExplainSaysWhereANameMayLead) {
  const auto end_of = [&](const std::vector<std::string>& words, const std::string& destination) {
    const std::string text = explain(words, destination).text;
    const std::size_t last = text.rfind('\n', text.size() - 2) + 1;
    return text.substr(last, text.size() - 1 - last);
  };
  EXPECT_EQ(end_of({"--allow", "a.example"}, "a.example"),
            "allowed, if it leads to a public address");
  EXPECT_EQ(end_of({"--allow", "a.example", "--allow", "9.9.9.0/24:22"}, "a.example:22"),
            "allowed, if it leads to an address of 9.9.9.0/24:22");
  EXPECT_EQ(end_of({"--allow", "a.example", "--allow", "@lan:22"}, "a.example:22"),
            "allowed, if it leads to a lan address");
  EXPECT_EQ(
      end_of({"--allow", "a.example", "--deny", "9.9.9.9", "--deny", "8.8.8.8:53"}, "a.example"),
      "allowed, if it leads to a public address; denied, if it leads to 9.9.9.9 (--deny)");
  EXPECT_EQ(end_of({"--allow", "a.example", "--deny", "9.9.9.9", "--deny", "8.8.8.8"}, "a.example"),
            "allowed, if it leads to a public address; denied, if one of 2 rules for addresses "
            "says so");
  EXPECT_EQ(end_of({"--ask"}, "a.example"), "asked, if it leads to a public address");
}

TEST_F(PolicyTextTest, ExplainKnowsThatQuicToANameIsRefused) {
  const std::string quic =
      write("quic.toml", "allow = [\"a.example\"]\n[tls]\nquic = \"by-name\"\n");
  const std::vector<std::string> refused[] = {
      {"--allow", "@public", "--deny", "b.example"},
      {"--allow", "udp/a.example:443", "--dns-mode", "pin"},
  };
  for (const std::vector<std::string>& words : refused) {
    const PolicyAnswer answer = explain(words, "udp/a.example:443");
    EXPECT_FALSE(answer.is_allowed) << answer.text;
    EXPECT_NE(answer.text.find("QUIC"), std::string::npos) << answer.text;
  }
  const std::vector<std::string> allowed[] = {
      {"--allow", "udp/a.example:443"}, {"--policy", quic}, {"--allow", "@public"}};
  for (const std::vector<std::string>& words : allowed) {
    EXPECT_TRUE(explain(words, "udp/a.example:443").is_allowed);
  }
}

}  // namespace
}  // namespace cordon
