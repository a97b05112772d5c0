#include <gtest/gtest.h>

#include "launcher/verbs/audit.h"

namespace cordon {
namespace {

std::string error_of(std::vector<std::string> words) {
  const auto result = parse_audit(words);
  return result ? "" : result.error().message();
}

TEST(AuditOptions, AreReadUpToTheSandboxsOwnWords) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"--", "unshare", "-rn"},
           {"unshare", "-rn"},
           {"--json", "-v", "--public", "--", "cordon", "run", "--"},
           {"--name", "x", "--allowed", "198.51.100.7:80", "--timeout=5", "--", "true"},
           {"--allowed=[2001:db8::7]:443", "--add-address", "198.51.100.77", "--", "true"}}) {
    const auto result = parse_audit(words);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_EQ(result->verb, CommandLine::Verb::kPerform);
  }
}

TEST(AuditOptions, ThatAreWrongAreToldWithTheRemedy) {
  EXPECT_NE(error_of({}).find("the sandbox is missing"), std::string::npos);
  EXPECT_NE(error_of({"--json", "--"}).find("the sandbox is missing"), std::string::npos);
  EXPECT_NE(error_of({"--jsn", "--", "x"}).find("did you mean --json?"), std::string::npos);
  EXPECT_NE(error_of({"--name", "--", "x"}).find("--name needs a value"), std::string::npos);
  EXPECT_NE(error_of({"--allowed", "198.51.100.7", "--", "x"}).find("write ADDRESS:PORT"),
            std::string::npos);
  EXPECT_NE(error_of({"--allowed", "2001:db8::7:80", "--", "x"}).find("write ADDRESS:PORT"),
            std::string::npos);
  EXPECT_NE(error_of({"--allowed", "198.51.100.7:0", "--", "x"}).find("write ADDRESS:PORT"),
            std::string::npos);
  EXPECT_NE(error_of({"--add-address", "x", "--", "x"}).find("is no IP address"),
            std::string::npos);
  EXPECT_NE(error_of({"--timeout", "0", "--", "x"}).find("write seconds"), std::string::npos);
  EXPECT_NE(error_of({"--timeout", "9s", "--", "x"}).find("write seconds"), std::string::npos);
  EXPECT_NE(error_of({"--compare"}).find("needs the files"), std::string::npos);
}

TEST(AuditOptions, ShowTheHelpAndTheListOfLeaks) {
  const auto help = parse_audit(std::vector<std::string>{"--help"});
  ASSERT_TRUE(help);
  EXPECT_NE(help->text.find("Usage: cordon audit"), std::string::npos);
  const auto list = parse_audit(std::vector<std::string>{"--list"});
  ASSERT_TRUE(list);
  EXPECT_NE(list->text.find("loopback-v4"), std::string::npos);
}

}  // namespace
}  // namespace cordon
