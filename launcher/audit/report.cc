#include "launcher/audit/report.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "launcher/audit/json_text.h"

namespace cordon::audit {
namespace {

constexpr int kFormat = 1;
constexpr std::array kStates{State::kLeaks, State::kByDesign, State::kClean, State::kNotTested};

std::string_view state_label(State state) {
  switch (state) {
    case State::kLeaks:
      return "LEAKS";
    case State::kByDesign:
      return "by design";
    case State::kClean:
      return "clean";
    case State::kNotTested:
      return "not tested";
  }
  return "";
}

std::string_view state_colour(State state) {
  switch (state) {
    case State::kLeaks:
      return "\033[31;1m";
    case State::kByDesign:
    case State::kNotTested:
      return "\033[33m";
    case State::kClean:
      return "\033[32m";
  }
  return "";
}

/// What a row says on its line, and below it where all is wanted. The words hold addresses, names
/// of the kernel's and text of the prober; nothing in them moves a cursor.
std::string printable(std::string_view text) {
  std::string clean;
  for (const char character : text) {
    clean += character >= ' ' && character <= '~' ? character : '?';
  }
  return clean;
}

std::string row_line(const Row& row, std::size_t width, bool has_all_evidence, bool has_colour) {
  const LeakFacts& facts = facts_of(row.leak);
  const std::string first = row.words.empty() ? "" : printable(row.words.front());
  const bool has_more = !has_all_evidence && row.words.size() > 1;
  std::string text = fmt::format(
      "  {}{:<10}{}  {:<8}  {:<{}}  {}{}\n", has_colour ? state_colour(row.state) : "",
      state_label(row.state), has_colour ? "\033[0m" : "", severity_word(facts.severity),
      facts.title, width, first, has_more ? fmt::format(" (+{})", row.words.size() - 1) : "");
  for (std::size_t i = 1; has_all_evidence && i < row.words.size(); ++i) {
    text += fmt::format("{:>{}}{}\n", "", width + 26, printable(row.words[i]));
  }
  return text;
}

std::string summary(const Report& report) {
  const std::size_t leaks = count(report.rows, State::kLeaks);
  std::string by_severity;
  for (const Severity severity :
       {Severity::kCritical, Severity::kHigh, Severity::kMedium, Severity::kLow}) {
    const auto number =
        std::count_if(report.rows.begin(), report.rows.end(), [severity](const Row& row) {
          return row.state == State::kLeaks && facts_of(row.leak).severity == severity;
        });
    if (number == 0) continue;
    by_severity +=
        fmt::format("{}{} {}", by_severity.empty() ? "" : ", ", number, severity_word(severity));
  }
  return fmt::format("{} {}{}, {} clean, {} not tested{}; {:.1f} s\n", leaks,
                     leaks == 1 ? "leak" : "leaks",
                     by_severity.empty() ? "" : fmt::format(" ({})", by_severity),
                     count(report.rows, State::kClean), count(report.rows, State::kNotTested),
                     count(report.rows, State::kByDesign) == 0
                         ? ""
                         : fmt::format(", {} by design", count(report.rows, State::kByDesign)),
                     report.seconds);
}

std::string trouble(const Report& report) {
  std::string text;
  if (!report.is_complete) {
    text += "The prober did not finish: what it did not try is not tested.\n";
  }
  if (report.reached_allowed == false) {
    text +=
        "The allowed destination was not reached: a sandbox without a network has no leaks, and "
        "this result proves nothing.\n";
  }
  return text;
}

std::string comparison_cell(const Report& report, Leak leak) {
  const Row& row = report.rows[static_cast<std::size_t>(leak)];
  switch (row.state) {
    case State::kLeaks:
      return "**leaks**";
    case State::kByDesign:
      return "by design";
    case State::kClean:
      return "–";
    case State::kNotTested:
      return "not tested";
  }
  return "";
}

std::vector<std::string> texts_of(const Json& json, const char* key) {
  std::vector<std::string> texts;
  const auto list = json.find(key);
  if (list == json.end() || !list->is_array()) return texts;
  for (const Json& entry : *list) {
    if (entry.is_string()) texts.push_back(entry.get<std::string>());
  }
  return texts;
}

std::optional<Row> read_row(const Json& json) {
  if (!json.is_object()) return std::nullopt;
  const auto leak = parse_leak(text_of(json, "leak"));
  const std::string word = text_of(json, "state");
  const auto* const state = std::find_if(
      kStates.begin(), kStates.end(), [&word](State known) { return word == state_word(known); });
  if (!leak || state == kStates.end()) return std::nullopt;
  const auto attempts = json.find("attempts");
  const bool has_attempts = attempts != json.end() && attempts->is_number_unsigned();
  return Row{*leak, *state, texts_of(json, "evidence"),
             has_attempts ? attempts->get<std::size_t>() : 0};
}

std::vector<Row> empty_rows() {
  std::vector<Row> rows;
  for (const LeakFacts& facts : all_leaks()) {
    rows.push_back({facts.leak, State::kNotTested, {"not in the file"}, 0});
  }
  return rows;
}

}  // namespace

std::string table_of(const Report& report, bool has_all_evidence, bool has_colour) {
  std::size_t width = 0;
  for (const LeakFacts& facts : all_leaks()) width = std::max(width, facts.title.size());
  std::string text;
  std::string_view group;
  for (const Row& row : report.rows) {
    if (facts_of(row.leak).group != group) {
      group = facts_of(row.leak).group;
      text += fmt::format("{}{}\n", text.empty() ? "" : "\n", group);
    }
    text += row_line(row, width, has_all_evidence, has_colour);
  }
  text += "\n" + summary(report) + trouble(report);
  if (!report.remarks.empty()) text += "\nOf this run:\n";
  for (const std::string& remark : report.remarks) text += fmt::format("  {}\n", printable(remark));
  text += "\nNo audit can tell:\n";
  for (const std::string_view words : never_tested()) text += fmt::format("  {}\n", words);
  return text;
}

std::string json_of(const Report& report) {
  Json json{{"format", kFormat}, {"name", report.name}, {"sandbox", report.sandbox}};
  json["complete"] = report.is_complete;
  if (report.reached_allowed) json["reached_allowed"] = *report.reached_allowed;
  json["seconds"] = report.seconds;
  json["summary"] = Json::object();
  for (const State state : kStates) json["summary"][state_word(state)] = count(report.rows, state);
  json["rows"] = Json::array();
  for (const Row& row : report.rows) {
    const LeakFacts& facts = facts_of(row.leak);
    json["rows"].push_back(Json{{"leak", facts.key},
                                {"group", facts.group},
                                {"title", facts.title},
                                {"severity", severity_word(facts.severity)},
                                {"state", state_word(row.state)},
                                {"evidence", row.words},
                                {"attempts", row.attempts}});
  }
  json["remarks"] = report.remarks;
  json["never_tested"] = never_tested();
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Report> read_json(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return plain_error("is no JSON object");
  const auto format = json.find("format");
  if (format == json.end() || *format != kFormat) {
    return plain_error("is not what `cordon audit --json` writes");
  }
  Report report{.name = text_of(json, "name"),
                .sandbox = texts_of(json, "sandbox"),
                .rows = empty_rows(),
                .remarks = texts_of(json, "remarks")};
  const auto rows = json.find("rows");
  if (rows == json.end() || !rows->is_array()) return plain_error("has no rows");
  for (const Json& entry : *rows) {
    auto row = read_row(entry);
    if (!row) return plain_error("has a row that this version does not know");
    const auto index = static_cast<std::size_t>(row->leak);
    report.rows[index] = *std::move(row);
  }
  return report;
}

std::string comparison_of(std::span<const Report> reports) {
  std::string text = "| what gets out | severity |";
  std::string line = "|---|---|";
  for (const Report& report : reports) {
    text += fmt::format(" {} |", report.name);
    line += "---|";
  }
  text += "\n" + line + "\n";
  for (const LeakFacts& facts : all_leaks()) {
    const auto index = static_cast<std::size_t>(facts.leak);
    const bool leaks = std::any_of(reports.begin(), reports.end(), [index](const Report& report) {
      return report.rows[index].state == State::kLeaks;
    });
    if (!leaks) continue;
    text += fmt::format("| {} | {} |", facts.title, severity_word(facts.severity));
    for (const Report& report : reports) {
      text += fmt::format(" {} |", comparison_cell(report, facts.leak));
    }
    text += "\n";
  }
  text += "| **leaks in all** | |";
  for (const Report& report : reports) {
    text += fmt::format(" {} of {} |", count(report.rows, State::kLeaks),
                        report.rows.size() - count(report.rows, State::kNotTested));
  }
  return text + "\n";
}

std::string list_of_leaks() {
  std::string text;
  std::string_view group;
  for (const LeakFacts& facts : all_leaks()) {
    if (facts.group != group) {
      group = facts.group;
      text += fmt::format("{}{}\n", text.empty() ? "" : "\n", group);
    }
    text += fmt::format("  {:<20} {:<8}  {}: {}\n", facts.key, severity_word(facts.severity),
                        facts.title, facts.how);
  }
  text += "\nNo audit can tell:\n";
  for (const std::string_view words : never_tested()) text += fmt::format("  {}\n", words);
  return text;
}

int exit_status(const Report& report) {
  constexpr int kSomethingLeaks = 1;
  constexpr int kProvesNothing = 125;
  if (count(report.rows, State::kLeaks) > 0) return kSomethingLeaks;
  return report.is_complete && report.reached_allowed.value_or(true) ? 0 : kProvesNothing;
}

}  // namespace cordon::audit
