#include "launcher/policy/policy_set.h"

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace cordon {
namespace {

// Folders with files of the test's own, gone with it.
class PolicySetTest : public testing::Test {
 protected:
  PolicySetTest() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "cordon-policy-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
    folders_ = {root_ + "/own", root_ + "/system"};
    for (const std::string& folder : folders_) std::filesystem::create_directory(folder);
  }
  ~PolicySetTest() override { std::filesystem::remove_all(root_); }

  std::string write(const std::string& file, const std::string& text) const {
    std::ofstream(root_ + "/" + file) << "version = 1\n" << text;
    return root_ + "/" + file;
  }

  RunOptions read_or_fail(const std::vector<std::string>& words) const {
    auto set = read(words);
    EXPECT_TRUE(set) << set.error().message();
    return set ? set->options : RunOptions{};
  }

  std::string error_of(const std::vector<std::string>& words) const {
    const auto set = read(words);
    return set ? "" : set.error().message();
  }

  Result<PolicySet> read(std::vector<std::string> words) const {
    words.emplace_back("x");
    auto options = read_run_options("run", words);
    if (!options) return std::unexpected(options.error());
    return read_policy_set(**options, folders_);
  }

  std::string root_;
  std::vector<std::string> folders_;
};

std::vector<std::string> texts_of(const RunOptions& options) {
  std::vector<std::string> texts;
  for (const Rule& rule : options.policy.rules) texts.push_back(rule.text);
  return texts;
}

using Texts = std::vector<std::string>;

TEST_F(PolicySetTest, APolicyOfThisFolderThatIsNotReadIsTold) {
  const std::string before = std::filesystem::current_path();
  std::filesystem::current_path(root_);
  EXPECT_FALSE(unread_folder_policy(RunOptions{}));
  const std::string path = write("cordon.toml", "allow = [\"a.example\"]\n");
  const auto told = unread_folder_policy(RunOptions{});
  ASSERT_TRUE(told);
  EXPECT_NE(told->find("./cordon.toml"), std::string::npos);
  EXPECT_NE(told->find("--trust"), std::string::npos);
  RunOptions named;
  named.policy_files = {path};
  EXPECT_FALSE(unread_folder_policy(named));
  RunOptions trusting;
  trusting.trusts_folder = true;
  EXPECT_FALSE(unread_folder_policy(trusting));
  std::filesystem::current_path(before);
}

TEST_F(PolicySetTest, RulesOfAllSourcesCountTogether) {
  write("system/npm.toml", "allow = [\"registry.example\"]\n");
  write("system/github-read.toml", "use = [\"npm\"]\nallow = [\"git.example\"]\n");
  const std::string one = write("one.toml", "use = [\"github:read\"]\nallow = [\"a.example\"]\n");
  const std::string two = write("two.toml", "deny = [\"b.example\"]\npublish = [\"8080:80\"]\n");
  const RunOptions options = read_or_fail({"--policy", one, "--allow", "c.example", "--policy", two,
                                           "--use", "npm", "--deny", "d.example"});
  EXPECT_EQ(texts_of(options), (Texts{"c.example", "d.example", "registry.example", "git.example",
                                      "a.example", "b.example"}));
  EXPECT_EQ(options.policy.rules[2].origin, "npm.toml:2");
  EXPECT_EQ(options.policy.rules[4].origin, one + ":3");
  EXPECT_EQ(options.publish.size(), 1U);
}

TEST_F(PolicySetTest, AFileOfOnesOwnComesBeforeOneThatWasBroughtAlong) {
  write("system/npm.toml", "allow = [\"system.example\"]\n");
  write("own/npm.toml", "allow = [\"own.example\"]\n");
  EXPECT_EQ(texts_of(read_or_fail({"--use", "npm"})), (Texts{"own.example"}));
}

TEST_F(PolicySetTest, APolicyIsFoundByItsNameToo) {
  write("own/work.toml", "default = \"ask\"\n");
  EXPECT_EQ(read_or_fail({"--policy", "work"}).policy.default_action, DefaultAction::kAsk);
}

TEST_F(PolicySetTest, TheDefaultIsTheStrictestThatIsStated) {
  const std::string open = write("open.toml", "default = \"allow-public\"\n");
  const std::string ask = write("ask.toml", "default = \"ask\"\n");
  const std::string silent = write("silent.toml", "");
  write("system/doh.toml", "deny = [\"dns.example\"]\n");
  write("system/npm.toml", "allow = [\"registry.example\"]\n");
  const std::vector<std::pair<std::vector<std::string>, DefaultAction>> rows{
      {{}, DefaultAction::kAllowPublic},
      {{"--deny", "a.example"}, DefaultAction::kAllowPublic},
      {{"--use", "doh"}, DefaultAction::kAllowPublic},
      {{"--allow", "a.example"}, DefaultAction::kDeny},
      {{"--use", "npm"}, DefaultAction::kDeny},
      {{"--ask"}, DefaultAction::kDeny},
      {{"--policy", silent}, DefaultAction::kDeny},
      {{"--policy", open}, DefaultAction::kAllowPublic},
      {{"--policy", open, "--allow", "@lan"}, DefaultAction::kAllowPublic},
      {{"--policy", open, "--policy", ask}, DefaultAction::kAsk},
      {{"--policy", ask, "--policy", open}, DefaultAction::kAsk},
  };
  for (const auto& [words, wanted] : rows) {
    EXPECT_EQ(read_or_fail(words).policy.default_action, wanted) << testing::PrintToString(words);
  }
}

TEST_F(PolicySetTest, LearningOpensWhatIsPublicWhateverElseIsAllowedOrStated) {
  const std::string file = write("closed.toml", "default = \"deny\"\nallow = [\"a.example\"]\n");
  for (std::vector<std::string> words : std::vector<std::vector<std::string>>{
           {}, {"--allow", "10.1.2.3"}, {"--policy", file}, {"--deny", "b.example"}}) {
    words.emplace_back("x");
    auto options = read_run_options("learn", words);
    ASSERT_TRUE(options && *options);
    (*options)->opens_public = true;
    const auto set = read_policy_set(**options, folders_);
    ASSERT_TRUE(set);
    EXPECT_EQ(set->options.policy.default_action, DefaultAction::kAllowPublic);
  }
}

TEST_F(PolicySetTest, AnOptionBeatsAFile) {
  const std::string file =
      write("f.toml",
            "mode = \"report\"\n[dns]\nmode = \"pin\"\nupstream = [\"9.9.9.9\"]\n"
            "[log]\nfile = \"a.json\"\n[tls]\nquic = \"by-name\"\n");
  const RunOptions by_file = read_or_fail({"--policy", file});
  EXPECT_EQ(by_file.policy.mode, PolicyMode::kReport);
  EXPECT_EQ(by_file.names.mode, NameSettings::Mode::kPin);
  EXPECT_EQ(by_file.dns.kind, DnsChoice::Kind::kList);
  EXPECT_EQ(by_file.log_path, "a.json");
  EXPECT_TRUE(by_file.policy.is_quic_by_name);
  const RunOptions by_option = read_or_fail({"--policy", file, "--mode", "enforce", "--dns-mode",
                                             "map", "--dns", "host", "--log", "b.json"});
  EXPECT_EQ(by_option.policy.mode, PolicyMode::kEnforce);
  EXPECT_EQ(by_option.names.mode, NameSettings::Mode::kMap);
  EXPECT_EQ(by_option.dns.kind, DnsChoice::Kind::kHost);
  EXPECT_EQ(by_option.log_path, "b.json");
}

TEST_F(PolicySetTest, TwoFilesMayNotSetTheSameKeyDifferently) {
  const std::string one = write("one.toml", "[limits]\nup = \"5MB\"\n");
  const std::string same = write("same.toml", "[limits]\nup = \"5MB\"\n");
  const std::string two = write("two.toml", "[limits]\nup = \"6MB\"\n");
  EXPECT_EQ(read_or_fail({"--policy", one, "--policy", same}).policy.limits.up_bytes, 5'000'000U);
  EXPECT_EQ(error_of({"--policy", one, "--policy", two}),
            two + ":3:6: limits.up is set to something else in " + one + ":3; remove one of them");
  const std::string map = write("map.toml", "[dns]\nmode = \"map\"\n");
  const std::string pin = write("pin.toml", "[dns]\nmode = \"pin\"\n");
  EXPECT_EQ(error_of({"--policy", map, "--policy", pin}),
            pin + ":3:8: dns.mode is set to something else in " + map +
                ":3; remove one of them, or decide by --dns-mode");
  EXPECT_EQ(read_or_fail({"--policy", map, "--policy", pin, "--dns-mode", "pin"}).names.mode,
            NameSettings::Mode::kPin);
}

TEST_F(PolicySetTest, AnEntrysRulesShareANumberThatNoOtherEntryHas) {
  const std::string text = "[[rule]]\nto = [\"a.example\", \"b.example\"]\nup = \"5MB\"\n";
  const std::string one = write("one.toml", text);
  const std::string two = write("two.toml", text + "[[rule]]\nto = \"c.example\"\n");
  const auto rules =
      read_or_fail({"--policy", one, "--policy", two, "--allow", "d.example"}).policy.rules;
  ASSERT_EQ(rules.size(), 6U);
  EXPECT_EQ(rules[0].entry, 0U);
  EXPECT_EQ(rules[1].entry, rules[2].entry);
  EXPECT_EQ(rules[3].entry, rules[4].entry);
  EXPECT_NE(rules[1].entry, rules[3].entry);
  EXPECT_NE(rules[3].entry, rules[5].entry);
  EXPECT_NE(rules[1].entry, 0U);
}

TEST_F(PolicySetTest, PresetsThatUseEachOtherAreReadOnce) {
  write("system/a.toml", "use = [\"b\"]\nallow = [\"a.example\"]\n");
  write("system/b.toml", "use = [\"a\"]\nallow = [\"b.example\"]\n");
  EXPECT_EQ(texts_of(read_or_fail({"--use", "a", "--use", "b", "--use", "a"})),
            (Texts{"b.example", "a.example"}));
}

TEST_F(PolicySetTest, ErrorsNameTheOptionOrThePlace) {
  write("system/npm.toml", "allow = [\"registry.example\"]\n");
  write("system/bad.toml", "alow = []\n");
  const std::string uses = write("uses.toml", "use = [\"npmm\"]\n");
  const std::string missing = root_ + "/missing.toml";
  EXPECT_EQ(error_of({"--use", "nmp"}), "--use nmp: there is no preset 'nmp'; did you mean npm?");
  EXPECT_EQ(error_of({"--use", "bad"}), "bad.toml:2:1: unknown key \"alow\"; did you mean allow?");
  EXPECT_EQ(error_of({"--use", "../x"}).substr(0, 21), "--use ../x: '../x' is");
  EXPECT_EQ(error_of({"--policy", uses}),
            uses + ":2:8: there is no preset 'npmm'; did you mean npm?");
  EXPECT_EQ(error_of({"--policy", missing}),
            missing +
                ": there is no such file; write the path of one that is there (to see them: "
                "ls " +
                root_ + ")");
  EXPECT_EQ(error_of({"--policy", root_ + "/usse.toml"}),
            root_ + "/usse.toml: there is no such file; did you mean " + uses + "?");
  EXPECT_EQ(error_of({"--allow", "*.co.uk"}).substr(0, 38),
            "--allow: \"*.co.uk\" is everybody's: any");
  EXPECT_EQ(error_of({"--policy", root_ + "/own"}),
            root_ + "/own: it is a folder; name a file in it, as in " + root_ + "/own/FILE");
  EXPECT_NE(error_of({"--policy", "nothing-like-it"}).find("`cordon policy presets` lists them"),
            std::string::npos);
  EXPECT_NE(error_of({"--dns", "off", "--allow", "a.example"}).find("no name is answered"),
            std::string::npos);
}

TEST_F(PolicySetTest, AllErrorsOfAFileAreToldInTheirOrder) {
  write("system/npm.toml", "allow = [\"registry.example\"]\n");
  const std::string path = write("many.toml",
                                 "use = [\"nmp\"]\nalow = [\"a.example\"]\n"
                                 "allow = [\"*\", \"b.example\"]\ndeny = [\"b.example\"]\n");
  const std::string text = "\n" + error_of({"--policy", path});
  std::size_t at = 0;
  for (const char* const part :
       {":2:8: there is no preset 'nmp'; did you mean npm?", ":3:1: unknown key \"alow\"; did you",
        ":4:11: \"*\"", ":4:15: \"b.example\" can never be allowed"}) {
    const std::size_t found = text.find("\n" + path + part, at);
    ASSERT_NE(found, std::string::npos) << part << text;
    at = found + 1;
  }
  EXPECT_EQ(std::ranges::count(text, '\n'), 4);
}

TEST_F(PolicySetTest, OfTooManyErrorsTheFirstAreToldAndTheRestCounted) {
  std::string many;
  for (int i = 0; i < 50; ++i) many += "k" + std::to_string(i) + " = 1\n";
  const std::string path = write("many.toml", many);
  const std::string text = error_of({"--policy", path});
  EXPECT_EQ(std::ranges::count(text, '\n'), 20);
  EXPECT_TRUE(
      text.ends_with("\n" + path + ": and 30 more; `cordon policy check " + path + "` tells all"))
      << text;
}

TEST_F(PolicySetTest, TheDocumentedDefaultsAreThoseOfNoFile) {
  RunOptions by_file = read_or_fail({"--policy", CORDON_SOURCE_DIR "/configs/default.toml"});
  by_file.policy_files.clear();
  const RunOptions none = read_or_fail({});
  EXPECT_EQ(by_file.policy.default_action, none.policy.default_action);
  EXPECT_EQ(by_file.policy.mode, none.policy.mode);
  EXPECT_TRUE(by_file.policy.rules.empty() && by_file.policy.overrides.empty());
  EXPECT_EQ(by_file.names.mode, none.names.mode);
  EXPECT_EQ(by_file.names.wildcard_names_per_minute, none.names.wildcard_names_per_minute);
  EXPECT_EQ(by_file.names.sni, none.names.sni);
  EXPECT_EQ(by_file.names.ech, none.names.ech);
  EXPECT_EQ(by_file.names.quic, none.names.quic);
  EXPECT_EQ(by_file.dns, none.dns);
  EXPECT_TRUE(by_file.policy.limits.is_none());
  EXPECT_TRUE(by_file.log_path.empty() && by_file.publish.empty());
}

TEST_F(PolicySetTest, OfflineNothingIsRead) {
  EXPECT_EQ(read_or_fail({"--offline"}).policy.rules.size(), 0U);
}

}  // namespace
}  // namespace cordon
