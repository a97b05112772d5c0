// The presets that cordon brings along, as they lie in the tree.
#include "launcher/policy/presets.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "netstack/policy/policy.h"

namespace cordon {
namespace {

std::vector<std::string> tree() { return {CORDON_SOURCE_DIR "/configs/policies"}; }

PolicyFile read_or_fail(const FoundPolicy& found) {
  const auto text = read_policy_octets(found.path);
  EXPECT_TRUE(text);
  PolicyReading reading = read_policy_text(text.value_or(""), found.path, PolicyKind::kPreset);
  for (const Problem& problem : reading.problems) ADD_FAILURE() << problem.to_string();
  return std::move(reading.file);
}

TEST(Presets, AllThatThePolicyPromisesAreThere) {
  for (const char* name :
       {"npm",         "pypi",       "crates",     "go",          "maven",       "rubygems",
        "nuget",       "apt-debian", "apt-ubuntu", "fedora",      "arch",        "alpine",
        "nix",         "docker-hub", "ghcr",       "github:read", "github:push", "gitlab",
        "huggingface", "anthropic",  "openai",     "gemini",      "playwright",  "doh"}) {
    EXPECT_TRUE(find_policy(name, tree())) << name;
  }
}

TEST(Presets, EachIsGoodDatedAndSaysWhatItIsFor) {
  const auto found = list_policies(tree());
  EXPECT_GE(found.size(), 24U);
  for (const FoundPolicy& preset : found) {
    const PolicyFile file = read_or_fail(preset);
    EXPECT_FALSE(file.about.empty()) << preset.name;
    EXPECT_LE(file.about.size(), 64U) << preset.name;
    EXPECT_EQ(file.checked.size(), 10U) << preset.name;
    EXPECT_FALSE(file.rules.empty()) << preset.name;
    for (const auto& use : file.use) EXPECT_TRUE(find_policy(use.value, tree())) << use.value;
  }
}

TEST(Presets, EachHostSaysWhyInItsLine) {
  for (const FoundPolicy& preset : list_policies(tree())) {
    const std::string text = read_policy_octets(preset.path).value_or("");
    std::vector<std::string> lines{""};
    for (const char character : text) {
      if (character == '\n') {
        lines.emplace_back();
      } else {
        lines.back() += character;
      }
    }
    for (const Placed<Rule>& rule : read_or_fail(preset).rules) {
      const std::string& line = lines.at(rule.place.line - 1);
      const std::string& above = lines.at(rule.place.line - 2);
      EXPECT_TRUE(line.find('#') != std::string::npos || above.find('#') != std::string::npos)
          << rule.value.origin << ": " << line;
    }
  }
}

TEST(Presets, OnlyTheGroupsToDenyDeny) {
  for (const FoundPolicy& preset : list_policies(tree())) {
    const PolicyFile file = read_or_fail(preset);
    const bool denies = std::ranges::any_of(
        file.rules, [](const Placed<Rule>& rule) { return rule.value.action != Action::kAllow; });
    EXPECT_EQ(denies, preset.name == "doh") << preset.name;
  }
}

TEST(Presets, NoneGrantsAnythingButPublicNames) {
  for (const FoundPolicy& preset : list_policies(tree())) {
    for (const Placed<Rule>& rule : read_or_fail(preset).rules) {
      if (rule.value.action != Action::kAllow) continue;
      EXPECT_EQ(rule.value.to.kind, Destination::Kind::kName) << rule.value.origin;
      EXPECT_FALSE(rule.value.may_be_private) << rule.value.origin;
    }
  }
}

TEST(Presets, ARunOfATypicalInstallerIsRecognised) {
  const auto fit = [](std::vector<std::string> names) { return preset_for(names, tree()); };
  EXPECT_EQ(fit({"registry.npmjs.org"}), "npm");
  EXPECT_EQ(fit({"pypi.org", "files.pythonhosted.org"}), "pypi");
  EXPECT_EQ(fit({"github.com", "codeload.github.com", "example.org"}), "github:read");
  EXPECT_EQ(fit({"index.crates.io", "static.crates.io"}), "crates");
  EXPECT_EQ(fit({"api.anthropic.com"}), "anthropic");
}

TEST(Presets, WhatNoneIsAboutIsNotRecognised) {
  const std::vector<std::string> one_of_many{"github.com"};
  EXPECT_EQ(preset_for(one_of_many, tree()), std::nullopt);
  const std::vector<std::string> none{"example.org", "not a name"};
  EXPECT_EQ(preset_for(none, tree()), std::nullopt);
}

TEST(Presets, ANameThatIsAlmostRightIsSuggested) {
  EXPECT_EQ(find_policy("githup:read", tree()).error().message(),
            "there is no preset 'githup:read'; did you mean github:read?");
  EXPECT_EQ(find_policy("pypy", tree()).error().message(),
            "there is no preset 'pypy'; did you mean pypi?");
}

TEST(Presets, WhereThereAreNoneTheErrorSaysWhereTheyWereLookedForAndHowToComeByThem) {
  const std::vector<std::string> nowhere{"/no-such/own", "/no-such/packaged"};
  const std::string places_and_remedy =
      "no presets were found in /no-such/own, /no-such/packaged; they come with cordon when it is "
      "installed, and are in configs/policies of its source: copy them into one of these folders";
  EXPECT_EQ(no_presets_in(nowhere).message(), places_and_remedy);
  EXPECT_EQ(find_policy("npm", nowhere).error().message(),
            "there is no preset 'npm': " + places_and_remedy);
  // With any preset about, what is wrong is the name.
  const std::vector<std::string> somewhere{nowhere[0], tree()[0]};
  EXPECT_EQ(find_policy("zzzz", somewhere).error().message(),
            "there is no preset 'zzzz' in /no-such/own, " + tree()[0] +
                "; `cordon policy presets` lists them");
}

TEST(Presets, AFileThatUsesOneWhereThereAreNoneIsToldAtItsPlace) {
  PolicyReading reading = read_policy_text("version = 1\nuse = [\"npm\"]\n", "p.toml");
  const std::vector<std::string> nowhere{"/no-such/own"};
  add_unknown_presets(reading, nowhere);
  ASSERT_EQ(reading.problems.size(), 1U);
  EXPECT_EQ(reading.problems[0].to_string(),
            "p.toml:2:8: there is no preset 'npm': " + no_presets_in(nowhere).message());
}

}  // namespace
}  // namespace cordon
