#include "launcher/command_line.h"

#include <fstream>
#include <initializer_list>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace cordon {
namespace {

Result<CommandLine> parse(std::initializer_list<std::string> words) {
  const std::vector<std::string> arguments(words);
  return parse_command_line(arguments);
}

RunOptions parse_run_or_fail(std::initializer_list<std::string> words) {
  auto parsed = parse(words);
  EXPECT_TRUE(parsed) << parsed.error().message();
  return parsed ? parsed->run : RunOptions{};
}

std::string error_of(std::initializer_list<std::string> words) {
  const auto parsed = parse(words);
  return parsed ? "" : parsed.error().message();
}

using Words = std::vector<std::string>;

TEST(CommandLineCommand, BeginsBehindTheDoubleDash) {
  EXPECT_EQ(parse_run_or_fail({"run", "--", "ls", "-la"}).command, (Words{"ls", "-la"}));
}

TEST(CommandLineCommand, BeginsAtTheFirstWordThatIsNoOption) {
  EXPECT_EQ(parse_run_or_fail({"run", "ls", "-la"}).command, (Words{"ls", "-la"}));
}

TEST(CommandLineCommand, KeepsItsOwnOptionsThatLookLikeOurs) {
  const RunOptions options = parse_run_or_fail({"run", "ls", "--allow", "x", "--help", "--", "-q"});
  EXPECT_EQ(options.command, (Words{"ls", "--allow", "x", "--help", "--", "-q"}));
  EXPECT_TRUE(options.policy.rules.empty());
}

TEST(CommandLineCommand, MayBeginWithADashBehindTheDoubleDash) {
  EXPECT_EQ(parse_run_or_fail({"run", "-q", "--", "-odd", "--"}).command, (Words{"-odd", "--"}));
}

TEST(CommandLineCommand, MayBeNamedLikeAVerb) {
  EXPECT_EQ(parse_run_or_fail({"run", "run", "x"}).command, (Words{"run", "x"}));
  EXPECT_EQ(parse_run_or_fail({"run", "doctor"}).command, (Words{"doctor"}));
}

TEST(CommandLineCommand, KeepsEmptyArguments) {
  EXPECT_EQ(parse_run_or_fail({"run", "--", "printf", ""}).command, (Words{"printf", ""}));
}

TEST(CommandLineCommand, IsRequired) {
  for (const auto& words :
       {std::initializer_list<std::string>{"run"}, std::initializer_list<std::string>{"run", "--"},
        std::initializer_list<std::string>{"run", "-q", "--"}}) {
    EXPECT_NE(error_of(words).find("the command is missing"), std::string::npos);
  }
  EXPECT_NE(error_of({"run", "--", ""}).find("name is empty"), std::string::npos);
}

TEST(CommandLinePolicy, WithoutAllowThePublicInternetIsAllowed) {
  EXPECT_EQ(parse_run_or_fail({"run", "x"}).policy.default_action, DefaultAction::kAllowPublic);
  const RunOptions denying = parse_run_or_fail({"run", "--deny", "198.51.100.7", "x"});
  EXPECT_EQ(denying.policy.default_action, DefaultAction::kAllowPublic);
  ASSERT_EQ(denying.policy.rules.size(), 1U);
  EXPECT_EQ(denying.policy.rules[0].action, Action::kDeny);
}

TEST(CommandLinePolicy, AllowMakesTheDefaultDeny) {
  const RunOptions options =
      parse_run_or_fail({"run", "--allow", "198.51.100.0/24:443", "--deny=198.51.100.7", "--allow",
                         "host:5432", "x"});
  EXPECT_EQ(options.policy.default_action, DefaultAction::kDeny);
  ASSERT_EQ(options.policy.rules.size(), 3U);
  EXPECT_EQ(options.policy.rules[0].text, "198.51.100.0/24:443");
  EXPECT_EQ(options.policy.rules[0].origin, "--allow");
  EXPECT_EQ(options.policy.rules[1].to.kind, Destination::Kind::kHostDoor);
  EXPECT_EQ(options.policy.rules[2].origin, "--deny");
}

TEST(CommandLinePolicy, ClassMovesAPrefix) {
  const RunOptions options = parse_run_or_fail(
      {"run", "--class", "public=198.51.100.0/24", "--class", "lan=9.9.9.0/24", "x"});
  ASSERT_EQ(options.policy.overrides.size(), 2U);
  EXPECT_EQ(options.policy.overrides[0].address_class, AddressClass::kPublic);
  EXPECT_EQ(options.policy.overrides[0].prefix, *Prefix::parse("198.51.100.0/24"));
  EXPECT_EQ(options.policy.overrides[1].address_class, AddressClass::kLan);
}

TEST(CommandLineDns, TakesAddressesWithAndWithoutPorts) {
  const RunOptions options = parse_run_or_fail(
      {"run", "--dns", "9.9.9.9", "--dns", "9.9.9.10:5353", "--dns", "2620:fe::fe", "--dns",
       "[2620:fe::9]:5353", "--dns", "[2620:fe::10]", "x"});
  EXPECT_EQ(options.dns.kind, DnsChoice::Kind::kList);
  ASSERT_EQ(options.dns.servers.size(), 5U);
  EXPECT_EQ(options.dns.servers[0].to_string(), "9.9.9.9:53");
  EXPECT_EQ(options.dns.servers[1].to_string(), "9.9.9.10:5353");
  EXPECT_EQ(options.dns.servers[2].to_string(), "[2620:fe::fe]:53");
  EXPECT_EQ(options.dns.servers[3].to_string(), "[2620:fe::9]:5353");
  EXPECT_EQ(options.dns.servers[4].to_string(), "[2620:fe::10]:53");
}

TEST(CommandLineDns, HostIsTheDefaultAndOffIsOff) {
  EXPECT_EQ(parse_run_or_fail({"run", "x"}).dns.kind, DnsChoice::Kind::kHost);
  EXPECT_EQ(parse_run_or_fail({"run", "--dns", "host", "x"}).dns.kind, DnsChoice::Kind::kHost);
  EXPECT_EQ(parse_run_or_fail({"run", "--dns", "off", "x"}).dns.kind, DnsChoice::Kind::kOff);
}

TEST(CommandLineOptions, AllReachTheirPlace) {
  const RunOptions options =
      parse_run_or_fail({"run",           "--mtu",       "9000",       "--subnet",  "10.9.8.0/24",
                         "--subnet",      "fd00:1::/64", "--map-root", "--pass-fd", "7",
                         "--pass-fd",     "9",           "--pass-fd",  "7",         "--nested",
                         "--new-session", "--log",       "flows.json", "-v",        "--publish",
                         "8080:80",       "--workers",   "3",          "x"});
  EXPECT_EQ(options.mtu, 9000);
  EXPECT_EQ(options.workers, 3U);
  EXPECT_EQ(options.subnet_v4, Prefix::parse("10.9.8.0/24"));
  EXPECT_EQ(options.subnet_v6, Prefix::parse("fd00:1::/64"));
  EXPECT_TRUE(options.maps_root);
  EXPECT_TRUE(options.may_nest);
  EXPECT_TRUE(options.has_new_session);
  EXPECT_EQ(options.pass_fds, (std::vector<int>{7, 9}));
  EXPECT_EQ(options.log_path, "flows.json");
  EXPECT_EQ(options.verbosity, Verbosity::kVerbose);
  ASSERT_EQ(options.publish.size(), 1U);
  EXPECT_FALSE(options.is_offline);
}

TEST(CommandLineOptions, OfflineGoesWithOptionsThatSayNothingAboutTheNetwork) {
  const RunOptions options = parse_run_or_fail({"run", "--offline", "--map-root", "-q", "x"});
  EXPECT_TRUE(options.is_offline);
  EXPECT_EQ(options.verbosity, Verbosity::kQuiet);
}

struct Malformed {
  std::vector<std::string> words;
  std::string said;  // what the message must say: the thing and the place
};

TEST(CommandLineErrors, NameTheOptionItsValueAndTheRemedy) {
  const std::vector<Malformed> rows{
      {{}, "cordon run -- COMMAND"},
      {{"ls"}, "to run it: cordon run -- ls"},
      {{"--offline"}, "unknown option --offline"},
      {{"doctor", "x"}, "doctor x: doctor takes no arguments"},
      {{"run", "--alow", "x"}, "unknown option --alow; did you mean --allow?"},
      {{"rnu", "x"}, "did you mean run?"},
      {{"run", "--new", "x"}, "did you mean --new-session?"},
      {{"run", "-x", "ls"}, "unknown option -x"},
      {{"run", "-qx", "ls"}, "unknown option -qx"},
      {{"run", "--allow"}, "--allow needs a value"},
      {{"run", "--allow", "--", "ls"}, "--allow needs a value"},
      {{"run", "--offline=false", "ls"}, "--offline"},
      {{"run", "--allow", "10.0.0.0/33", "ls"}, "--allow 10.0.0.0/33: "},
      {{"run", "--allow", "", "ls"}, "--allow "},
      {{"run", "--deny", "@nonsense", "ls"}, "--deny @nonsense: "},
      {{"run", "--allow", "198.51.100.7:0", "ls"}, "--allow 198.51.100.7:0: "},
      {{"run", "--class", "public", "ls"}, "write CLASS=PREFIX"},
      {{"run", "--class", "nice=198.51.100.0/24", "ls"}, "'nice' is not a class"},
      {{"run", "--class", "lan=198.51.100.1/24", "ls"}, "'198.51.100.1/24' is not a prefix"},
      {{"run", "--class", "public=127.0.0.0/8", "ls"}, "--class public=127.0.0.0/8: "},
      {{"run", "--class", "self=198.51.100.0/24", "ls"}, "--class self=198.51.100.0/24: "},
      {{"run", "--mtu", "1279", "ls"}, "--mtu 1279: must be a number from 1280"},
      {{"run", "--mtu", "65521", "ls"}, "--mtu 65521: "},
      {{"run", "--mtu", "1500x", "ls"}, "--mtu 1500x: "},
      {{"run", "--workers", "0", "ls"}, "--workers 0: must be a number from 1 to 16"},
      {{"run", "--workers", "17", "ls"}, "--workers 17: "},
      {{"run", "--workers", "-1", "ls"}, "--workers -1: "},
      {{"run", "--dns", "off", "--dns", "9.9.9.9", "ls"}, "--dns off: cannot be combined"},
      {{"run", "--dns", "9.9.9.9", "--dns", "host", "ls"}, "--dns host: cannot be combined"},
      {{"run", "--dns", "dns.example", "ls"}, "--dns dns.example: not a DNS server's address"},
      {{"run", "--dns", "9.9.9.9:0", "ls"}, "--dns 9.9.9.9:0: "},
      {{"run", "--dns", "9.9.9.9:65536", "ls"}, "--dns 9.9.9.9:65536: "},
      {{"run", "--dns", "[9.9.9.9]:53", "ls"}, "--dns [9.9.9.9]:53: "},
      {{"run", "--dns", "[::1", "ls"}, "--dns [::1: "},
      {{"run", "--dns", "[::1]:", "ls"}, "--dns [::1]:: "},
      {{"run", "--dns", "0.0.0.0", "ls"}, "--dns 0.0.0.0: that address cannot be"},
      {{"run", "--subnet", "10.0.0.1/24", "ls"}, "--subnet 10.0.0.1/24: not a prefix"},
      {{"run", "--subnet", "10.1.0.0/24", "--subnet", "10.2.0.0/24", "ls"},
       "--subnet 10.1.0.0/24 was given already"},
      {{"run", "--pass-fd", "2", "ls"}, "--pass-fd 2: 0, 1 and 2 are always passed"},
      {{"run", "--pass-fd", "-1", "ls"}, "--pass-fd"},
      {{"run", "--pass-fd", "99999999999", "ls"}, "--pass-fd 99999999999: "},
      {{"run", "--log", "", "ls"}, "--log: the file's name is empty"},
      {{"run", "--publish", "8080", "ls"}, "--publish 8080: the guest's port is missing"},
      {{"run", "-q", "-v", "ls"}, "--quiet and --verbose contradict"},
      {{"run", "--offline", "--allow", "9.9.9.9", "ls"},
       "--offline and --allow 9.9.9.9 contradict"},
      {{"run", "--offline", "--publish", "1:1", "ls"}, "--offline and --publish 1:1 contradict"},
      {{"run", "--dns", "host", "--offline", "ls"}, "--offline and --dns host contradict"},
      {{"run", "--offline", "--mtu", "1500", "ls"}, "--offline and --mtu 1500 contradict"},
      {{"run", "--offline", "--workers", "2", "ls"}, "--offline and --workers 2 contradict"},
  };
  for (const Malformed& row : rows) {
    const auto parsed = parse_command_line(row.words);
    ASSERT_FALSE(parsed) << testing::PrintToString(row.words);
    const std::string message = parsed.error().message();
    EXPECT_NE(message.find(row.said), std::string::npos)
        << testing::PrintToString(row.words) << " said: " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST(CommandLineHelp, IsShownWhereverItIsAskedFor) {
  for (const auto& words : {std::initializer_list<std::string>{"--help"},
                            std::initializer_list<std::string>{"run", "--help"},
                            std::initializer_list<std::string>{"run", "--offline", "-h", "ls"},
                            std::initializer_list<std::string>{"doctor", "--help"}}) {
    const auto parsed = parse(words);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->verb, CommandLine::Verb::kShowText);
    EXPECT_NE(parsed->text.find("Usage:"), std::string::npos);
  }
}

TEST(CommandLineHelp, FitsTheScreenAndTellsEveryOption) {
  const auto parsed = parse({"run", "--help"});
  ASSERT_TRUE(parsed);
  std::size_t column = 0;
  for (const char c : parsed->text) {
    column = c == '\n' ? 0 : column + 1;
    EXPECT_LE(column, 100U);
  }
  for (const char* option :
       {"--allow",       "--deny", "--use",      "--policy",   "--trust",   "--ask",
        "--report",      "--mode", "--dns-mode", "--class",    "--offline", "--publish",
        "--mtu",         "--dns",  "--subnet",   "--map-root", "--pass-fd", "--nested",
        "--new-session", "--log",  "--quiet",    "--verbose",  "--workers"}) {
    EXPECT_NE(parsed->text.find(option), std::string::npos) << option;
  }
}

std::string content_of(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(CommandLineHelp, TheManualAndTheCompletionKnowEveryOption) {
  const auto parsed = parse({"run", "--help"});
  ASSERT_TRUE(parsed);
  const std::string manual = content_of(CORDON_SOURCE_DIR "/packaging/man/cordon.1.scd");
  const std::string completion = content_of(CORDON_SOURCE_DIR "/packaging/completions/cordon.bash");
  const std::regex option("  (--[a-z-]+)");
  const std::string text = parsed->text;
  std::size_t count = 0;
  for (auto at = std::sregex_iterator(text.begin(), text.end(), option);
       at != std::sregex_iterator(); ++at) {
    const std::string name = (*at)[1];
    EXPECT_NE(manual.find("*" + name + "*"), std::string::npos) << name;
    EXPECT_NE(completion.find(name + " "), std::string::npos) << name;
    ++count;
  }
  EXPECT_GE(count, 18U);
}

TEST(CommandLinePolicyVerb, UnderstandsItsOwnVerbs) {
  for (const auto& words :
       {std::initializer_list<std::string>{"policy", "show"},
        std::initializer_list<std::string>{"policy", "show", "npm", "--allow", "a.example"},
        std::initializer_list<std::string>{"policy", "explain", "a.example", "--use", "npm"},
        std::initializer_list<std::string>{"policy", "check"},
        std::initializer_list<std::string>{"policy", "diff", "a.toml", "b.toml"},
        std::initializer_list<std::string>{"policy", "fmt", "-w", "a.toml"},
        std::initializer_list<std::string>{"policy", "add", "a.toml", "--allow", "b.example"},
        std::initializer_list<std::string>{"policy", "presets"}}) {
    const auto parsed = parse(words);
    ASSERT_TRUE(parsed) << parsed.error().message();
    EXPECT_EQ(parsed->verb, CommandLine::Verb::kPerform);
    EXPECT_TRUE(parsed->perform);
  }
  for (const auto& words : {std::initializer_list<std::string>{"policy", "--help"},
                            std::initializer_list<std::string>{"policy", "show", "-h"},
                            std::initializer_list<std::string>{"policy", "fmt", "--help"}}) {
    const auto parsed = parse(words);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->verb, CommandLine::Verb::kShowText);
  }
}

TEST(CommandLinePolicyVerb, ErrorsSayHowItIsWritten) {
  const std::vector<Malformed> rows{
      {{"policy"}, "policy: write what to do: show, check"},
      {{"policy", "chek"}, "policy chek: did you mean check?"},
      {{"policy", "explain"}, "write one destination"},
      {{"policy", "diff", "a.toml"}, "write two policies: OLD NEW"},
      {{"policy", "fmt"}, "the file is missing"},
      {{"policy", "fmt", "--write", "--check", "a.toml"}, "contradict each other"},
      {{"policy", "add", "a.toml"}, "nothing to add"},
      {{"policy", "presets", "npm"}, "`cordon policy show npm` shows one"},
      {{"policy", "show", "--publish", "1:1"}, "unknown option --publish"},
      {{"policy", "show", "--allow", "10.0.0.0/33"}, "--allow 10.0.0.0/33: "},
      {{"run", "--mode", "enforced", "x"},
       "--mode enforced: the modes are enforce, report and ask"},
      {{"run", "--ask", "--report", "x"}, "--ask and --report contradict each other"},
      {{"run", "--dns-mode", "maps", "x"}, "--dns-mode maps: the modes are map, pin, open and off"},
      {{"run", "--offline", "--ask", "x"}, "--offline and --ask contradict each other"},
      {{"run", "--offline", "--use", "npm", "x"}, "--offline and --use npm contradict each other"},
  };
  for (const Malformed& row : rows) {
    const auto parsed = parse_command_line(row.words);
    ASSERT_FALSE(parsed) << testing::PrintToString(row.words);
    EXPECT_NE(parsed.error().message().find(row.said), std::string::npos)
        << testing::PrintToString(row.words) << " said: " << parsed.error().message();
  }
}

TEST(CommandLineHelp, VersionIsOneLine) {
  const auto parsed = parse({"--version"});
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->text.starts_with("cordon "));
  EXPECT_EQ(parsed->text.find('\n'), parsed->text.size() - 1);
}

}  // namespace
}  // namespace cordon
