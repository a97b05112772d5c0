#include "launcher/audit/report.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace cordon::audit {
namespace {

Report report_with(Leak leak, State state, std::vector<std::string> words) {
  Report report{.name = "a sandbox", .sandbox = {"run", "it"}};
  for (const LeakFacts& facts : all_leaks()) {
    report.rows.push_back({facts.leak, State::kClean, {"1 refused"}, 1});
  }
  report.rows[static_cast<std::size_t>(leak)] = {leak, state, std::move(words), 2};
  return report;
}

TEST(AuditReport, ComesOutOfItsJsonAsItWentIn) {
  const Report report = report_with(Leak::kLan, State::kLeaks, {"one", "two"});
  const auto read = read_json(json_of(report));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->name, "a sandbox");
  EXPECT_EQ(read->sandbox, report.sandbox);
  for (std::size_t i = 0; i < kLeakCount; ++i) {
    EXPECT_EQ(read->rows[i].leak, report.rows[i].leak);
    EXPECT_EQ(read->rows[i].state, report.rows[i].state);
    EXPECT_EQ(read->rows[i].words, report.rows[i].words);
    EXPECT_EQ(read->rows[i].attempts, report.rows[i].attempts);
  }
}

TEST(AuditReport, OfSomebodyElseIsRefused) {
  for (const char* const text :
       {"", "[]", "{}", R"({"format":2,"rows":[]})", R"({"format":1})",
        R"({"format":1,"rows":[{"leak":"odd","state":"clean"}]})",
        R"({"format":1,"rows":[{"leak":"lan","state":"odd"}]})", R"({"format":1,"rows":[7]})"}) {
    EXPECT_FALSE(read_json(text)) << text;
  }
}

TEST(AuditReport, EndsInAStatus) {
  Report report = report_with(Leak::kLan, State::kClean, {});
  EXPECT_EQ(exit_status(report), 0);
  report.reached_allowed = true;
  EXPECT_EQ(exit_status(report), 0);
  report.reached_allowed = false;
  EXPECT_EQ(exit_status(report), 125);
  report.reached_allowed = std::nullopt;
  report.is_complete = false;
  EXPECT_EQ(exit_status(report), 125);
  EXPECT_EQ(exit_status(report_with(Leak::kLan, State::kNotTested, {"why"})), 0);
  EXPECT_EQ(exit_status(report_with(Leak::kDnsNames, State::kByDesign, {"left"})), 0);
  EXPECT_EQ(exit_status(report_with(Leak::kLan, State::kLeaks, {"left"})), 1);
}

TEST(AuditReport, HasALineForEachLeakAndSaysWhatItCannotTell) {
  const std::string table =
      table_of(report_with(Leak::kLan, State::kLeaks, {"first", "second"}), false, false);
  for (const LeakFacts& facts : all_leaks()) {
    EXPECT_NE(table.find(facts.title), std::string::npos) << facts.title;
  }
  EXPECT_NE(table.find("first (+1)"), std::string::npos);
  EXPECT_EQ(table.find("second"), std::string::npos);
  EXPECT_NE(table.find("1 leak (1 high)"), std::string::npos);
  EXPECT_NE(table.find(never_tested().front()), std::string::npos);
  EXPECT_NE(table_of(report_with(Leak::kLan, State::kLeaks, {"first", "second"}), true, false)
                .find("second"),
            std::string::npos);
}

TEST(AuditReport, LetsNobodyMoveTheCursor) {
  const std::string table =
      table_of(report_with(Leak::kLan, State::kLeaks, {"\033[2J\r evil"}), true, false);
  EXPECT_EQ(table.find('\033'), std::string::npos);
  EXPECT_EQ(table.find('\r'), std::string::npos);
}

TEST(Comparison, HasALineForWhatLeaksSomewhereAndAColumnForEach) {
  std::vector<Report> reports{report_with(Leak::kLan, State::kLeaks, {"x"}),
                              report_with(Leak::kEcho, State::kNotTested, {"y"})};
  reports[1].name = "another";
  const std::string table = comparison_of(reports);
  EXPECT_EQ(table,
            "| what gets out | severity | a sandbox | another |\n"
            "|---|---|---|---|\n"
            "| neighbours of the local network | high | **leaks** | – |\n"
            "| **leaks in all** | | 1 of 49 | 0 of 48 |\n");
}

}  // namespace
}  // namespace cordon::audit
