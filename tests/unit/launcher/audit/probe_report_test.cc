#include "launcher/audit/probe_report.h"

#include <gtest/gtest.h>

namespace cordon::audit {
namespace {

constexpr std::string_view kNonce = "0123456789abcdef";

std::optional<ProberLine> round_trip(const ProberLine& line) {
  std::string text = write_line(kNonce, line);
  EXPECT_TRUE(text.ends_with('\n'));
  text.pop_back();
  return read_line(kNonce, text);
}

TEST(ProberLine, ComesOutAsItWentIn) {
  for (const Outcome outcome : {Outcome::kRefused, Outcome::kSilent, Outcome::kSent,
                                Outcome::kConnected, Outcome::kObtained, Outcome::kNotTested}) {
    const ProbeReport report{Leak::kEcho, outcome, "words with \"quotes\" and \n"};
    EXPECT_EQ(round_trip(report), ProberLine(report)) << outcome_word(outcome);
  }
  using Kind = ProberNotice::Kind;
  for (const Kind kind :
       {Kind::kHello, Kind::kOwnNetwork, Kind::kAllowed, Kind::kAddressNow, Kind::kBye}) {
    const ProberNotice notice{kind, kind != Kind::kAllowed, "x"};
    EXPECT_EQ(round_trip(notice), ProberLine(notice));
  }
}

TEST(ProberLine, IsReadBehindWhatTheSandboxPrintedAndBeforeACarriageReturn) {
  std::string text = "prompt$ " + write_line(kNonce, ProberNotice{});
  text.back() = '\r';
  EXPECT_EQ(read_line(kNonce, text), ProberLine(ProberNotice{}));
}

TEST(ProberLine, OfSomebodyElseIsPassedOver) {
  EXPECT_EQ(read_line(kNonce, ""), std::nullopt);
  EXPECT_EQ(read_line(kNonce, "just text"), std::nullopt);
  EXPECT_EQ(read_line(kNonce, "fedcba9876543210 {\"notice\":\"bye\"}"), std::nullopt);
  EXPECT_EQ(read_line(kNonce, "0123456789abcdef not json"), std::nullopt);
  EXPECT_EQ(read_line(kNonce, "0123456789abcdef []"), std::nullopt);
  EXPECT_EQ(read_line(kNonce, "0123456789abcdef {\"notice\":7}"), std::nullopt);
  EXPECT_EQ(read_line(kNonce, "0123456789abcdef {\"leak\":\"echo\",\"outcome\":\"odd\"}"),
            std::nullopt);
  EXPECT_EQ(read_line(kNonce, "0123456789abcdef {\"leak\":\"odd\",\"outcome\":\"sent\"}"),
            std::nullopt);
}

TEST(ProberLine, IsNeverLongerThanOneWriteToAPipeKeepsTogether) {
  const std::string long_words(100'000, '\1');
  EXPECT_LE(write_line(kNonce, ProbeReport{Leak::kEcho, Outcome::kSent, long_words}).size(),
            kLongestLine);
  EXPECT_LE(write_line(kNonce, ProberNotice{ProberNotice::Kind::kHello, true, long_words}).size(),
            kLongestLine);
}

}  // namespace
}  // namespace cordon::audit
