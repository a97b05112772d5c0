#include "launcher/policy/policy_file_edit.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/stat.h>

#include <gtest/gtest.h>

#include "launcher/policy/presets.h"

namespace cordon {
namespace {

std::string added(const std::string& text, const std::string& destination,
                  const std::string& comment = "", Action action = Action::kAllow) {
  const auto edited = add_rule_to_text(text, "p.toml", action, destination, comment);
  return edited ? *edited : "error: " + edited.error().message();
}

TEST(PolicyFileAdd, AListKeepsItsStyleCommentsAndOrder) {
  EXPECT_EQ(added(R"(# mine
version = 1

allow = [
    "b.example",        # why b
    # a line of its own
    "a.example:22",     # why a
]

[dns]
mode = "map"
)",
                  "c.example", "why c"),
            R"(# mine
version = 1

allow = [
    "b.example",        # why b
    # a line of its own
    "a.example:22",     # why a
    "c.example",        # why c
]

[dns]
mode = "map"
)");
}

struct Edit {
  std::string before;
  std::string after;
};

TEST(PolicyFileAdd, EveryFormOfAListIsUnderstood) {
  const std::string version = "version = 1\n";
  const std::vector<Edit> rows{
      {"allow = []\n", "allow = [\n  \"c.example\",\n]\n"},
      {"allow = [ ] # none\n", "allow = [ \n  \"c.example\",\n] # none\n"},
      {"allow = [\"a.example\"]\n", "allow = [\"a.example\",\n  \"c.example\",\n]\n"},
      {"allow = ['a.example',]\n", "allow = ['a.example',\n  \"c.example\",\n]\n"},
      {"allow = [\n]\n", "allow = [\n  \"c.example\",\n]\n"},
      {"allow = [\n  \"a.example\"\n]\n", "allow = [\n  \"a.example\",\n  \"c.example\",\n]\n"},
      {"allow = [\n  \"a.example\" # ] , \" no end\n]\n",
       "allow = [\n  \"a.example\", # ] , \" no end\n  \"c.example\",\n]\n"},
      {"\"allow\" = [\"a.example\"]\n", "\"allow\" = [\"a.example\",\n  \"c.example\",\n]\n"},
      {"about = \"allow = []\"\n", "about = \"allow = []\"\n\nallow = [\n  \"c.example\",\n]\n"},
      {"about = \"\"\"\nallow = [\n\"\"\"\n",
       "about = \"\"\"\nallow = [\n\"\"\"\n\nallow = [\n  \"c.example\",\n]\n"},
      {"# the end", "\nallow = [\n  \"c.example\",\n]\n# the end"},
      {"\n# names\n[dns]\nmode = \"map\"\n",
       "\nallow = [\n  \"c.example\",\n]\n\n# names\n[dns]\nmode = \"map\"\n"},
      {"[[rule]]\nto = [\"a.example\"]\nup = \"5MB\"\n",
       "\nallow = [\n  \"c.example\",\n]\n[[rule]]\nto = [\"a.example\"]\nup = \"5MB\"\n"},
  };
  for (const Edit& row : rows) {
    EXPECT_EQ(added(version + row.before, "c.example"), version + row.after) << row.before;
  }
}

TEST(PolicyFileAdd, WhatIsThereAlreadyIsNotAddedTwice) {
  const std::string text = "version = 1\nallow = [\"C.example\"]\n";
  EXPECT_EQ(added(text, "c.example"), text);
}

TEST(PolicyFileAdd, ARuleThatTheFileContradictsIsRefused) {
  EXPECT_EQ(
      added("version = 1\ndeny = [\".example\\u002eorg\"]\n", "a.example.org"),
      "error: p.toml stays as it is: p.toml:5:3: \"a.example.org\" can never be allowed: line 2 "
      "denies \".example.org\", and a deny beats everything; remove one of them");
  EXPECT_TRUE(added("version = 1\nalow = []\n", "a.example").starts_with("error: p.toml:2:1: "));
  EXPECT_TRUE(added("version = 1\n", "a b").starts_with("error: destination \"a b\""));
}

TEST(PolicyFileAdd, ACommentCannotEndItsLine) {
  EXPECT_EQ(added("version = 1\nallow = []\n", "c.example", "x\n[dns]\rmode"),
            "version = 1\nallow = [\n  \"c.example\", # x [dns] mode\n]\n");
}

class PolicyFileOnDisk : public testing::Test {
 protected:
  PolicyFileOnDisk() {
    std::string pattern = (std::filesystem::temp_directory_path() / "cordon-edit-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
  }
  ~PolicyFileOnDisk() override { std::filesystem::remove_all(root_); }
  static std::string content_of(const std::string& path) {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  std::string root_;
};

TEST_F(PolicyFileOnDisk, IsMadeWithItsFolderWhereItIsNotThere) {
  const std::string path = root_ + "/config/cordon/policies/asked.toml";
  ASSERT_TRUE(add_rule_to_file(path, Action::kAllow, "a.example:22", "asked"));
  EXPECT_EQ(content_of(path), "version = 1\n\nallow = [\n  \"a.example:22\", # asked\n]\n");
}

TEST_F(PolicyFileOnDisk, KeepsItsModeAndItsLink) {
  const std::string path = root_ + "/real.toml";
  std::ofstream(path) << "version = 1\n";
  ::chmod(path.c_str(), 0600);
  const std::string link = root_ + "/link.toml";
  std::filesystem::create_symlink(path, link);
  ASSERT_TRUE(add_rule_to_file(link, Action::kDeny, "@lan", ""));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  EXPECT_EQ(content_of(path), "version = 1\n\ndeny = [\n  \"@lan\",\n]\n");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(root_), {}), 2);
}

TEST_F(PolicyFileOnDisk, StaysAsItIsWhereTheRuleDoesNotFit) {
  const std::string path = root_ + "/p.toml";
  const std::string text = "version = 1\ndeny = [\"a.example\"]\n";
  std::ofstream(path) << text;
  EXPECT_FALSE(add_rule_to_file(path, Action::kAllow, "a.example", ""));
  EXPECT_EQ(content_of(path), text);
}

std::string formed(const std::string& text) {
  const auto formatted = format_policy_text(text, "p.toml");
  return formatted ? *formatted : "error: " + formatted.error().message();
}

TEST(PolicyFileFormat, PutsThingsUnderEachOther) {
  EXPECT_EQ(formed(R"(# top


version=1   # one
use =   ["npm"]  # presets
allow=["a.example", # a
# alone
   "bb.example:22" , "c.example" ,   # c

]   # end
[dns]
# how
mode   = "map"
wildcard-budget="60/min"


)"),
            R"(# top

version = 1       # one
use     = ["npm"] # presets
allow = [
  "a.example", # a
  # alone
  "bb.example:22",
  "c.example", # c
]  # end

[dns]
# how
mode            = "map"
wildcard-budget = "60/min"
)");
}

TEST(PolicyFileFormat, AListThatIsTooLongForALineIsBroken) {
  std::string text = "version = 1\nallow = [";
  for (char letter = 'a'; letter < 'm'; ++letter) {
    text += std::string("\"") + letter + ".example.org\", ";
  }
  const std::string out = formed(text + "]\n");
  EXPECT_NE(out.find("allow = [\n  \"a.example.org\",\n"), std::string::npos) << out;
}

TEST(PolicyFileFormat, AByteOrderMarkIsNoPartOfTheText) {
  EXPECT_EQ(formed("\xef\xbb\xbf# words\nversion=1\n"), "# words\nversion = 1\n");
  EXPECT_EQ(added("\xef\xbb\xbfversion = 1\n", "a.example"),
            "\xef\xbb\xbfversion = 1\n\nallow = [\n  \"a.example\",\n]\n");
}

TEST(PolicyFileFormat, TwiceIsAsOnce) {
  for (const FoundPolicy& preset :
       list_policies(std::vector<std::string>{CORDON_SOURCE_DIR "/configs/policies"})) {
    const std::string text = read_policy_octets(preset.path).value_or("");
    const std::string once = formed(text);
    EXPECT_EQ(formed(once), once) << preset.path;
    EXPECT_EQ(once, text) << preset.path << " is not in the common form: cordon policy fmt --write";
  }
}

}  // namespace
}  // namespace cordon
