#include "launcher/suggestion.h"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace cordon {
namespace {

constexpr std::array<std::string_view, 6> kKnown{"allow", "deny", "default", "rule", "up", "until"};

TEST(Suggestion, OneTypingErrorIsFound) {
  const std::vector<std::pair<std::string_view, std::string_view>> rows{
      {"alow", "allow"}, {"allwo", "allow"},     {"deni", "deny"},
      {"rules", "rule"}, {"defualt", "default"}, {"untl", "until"},
  };
  for (const auto& [word, meant] : rows) EXPECT_EQ(nearest(word, kKnown), meant) << word;
}

TEST(Suggestion, TheBeginningOfAWordIsEnough) {
  EXPECT_EQ(nearest("def", kKnown), "default");
  EXPECT_EQ(nearest("denylist", kKnown), "deny");
}

TEST(Suggestion, AWordThatIsFarFromAllHasNone) {
  EXPECT_EQ(nearest("frobnicate", kKnown), std::nullopt);
  EXPECT_EQ(nearest("", kKnown), std::nullopt);
  EXPECT_EQ(nearest("xx", kKnown), std::nullopt);
  EXPECT_EQ(nearest(std::string(1000, 'a'), kKnown), std::nullopt);
}

}  // namespace
}  // namespace cordon
