// `cordon allow` and `cordon deny`: their words, and the list of what was added.
#include "launcher/verbs/allow.h"

#include <gtest/gtest.h>

namespace cordon {
namespace {

std::string refusal(std::vector<std::string> words) {
  const auto parsed = parse_allow(words);
  return parsed ? "taken" : parsed.error().message();
}

TEST(Allow, TakesARuleAnUndoAndAListAndNothingBetween) {
  EXPECT_EQ(refusal({"1", "api.example"}), "taken");
  EXPECT_EQ(refusal({"--for", "10m", "1", "api.example"}), "taken");
  EXPECT_EQ(refusal({"--undo", "1", "api.example"}), "taken");
  EXPECT_EQ(refusal({"1"}), "taken");
  EXPECT_EQ(refusal({"--undo", "--for", "10m", "1", "api.example"}),
            "--undo takes a rule back at once; leave out --for");
  for (const auto& words : std::vector<std::vector<std::string>>{
           {}, {"--undo", "1"}, {"--for", "10m", "1"}, {"1", "a.example", "b.example"}}) {
    EXPECT_NE(refusal(words).find("write cordon allow ID DEST"), std::string::npos);
  }
  EXPECT_NE(refusal({"--undo", "1", "*"}), "taken");
}

TEST(Allow, ListsWhatWasAddedWithTheWayBack) {
  Json answer = Json::parse(R"({"id": "dev", "added": [
      {"action": "allow", "to": "api.example", "seconds": 583},
      {"action": "deny", "to": "@lan:443"}]})",
                            nullptr, false);
  EXPECT_EQ(added_table(answer),
            "RULE               LEFT                 TO TAKE IT BACK\n"
            "allow api.example  9m43s                cordon allow --undo dev api.example\n"
            "deny @lan:443      the rest of the run  cordon deny --undo dev @lan:443\n");
  answer["added"] = Json::array();
  EXPECT_EQ(added_table(answer),
            "no rule was added to sandbox dev; to add one: cordon allow dev DEST\n");
  // What comes over the socket is another's word.
  EXPECT_EQ(added_table(Json::parse(R"({"id": "dev", "added": 7})", nullptr, false)),
            "no rule was added to sandbox dev; to add one: cordon allow dev DEST\n");
  (void)added_table(
      Json::parse(R"({"added": [7, {}, {"to": ["x"]}, {"to": "a\u001bb"}]})", nullptr, false));
}

}  // namespace
}  // namespace cordon
