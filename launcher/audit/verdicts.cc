#include "launcher/audit/verdicts.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace cordon::audit {
namespace {

/// Rows whose destinations have no server of ours: whoever accepts there shows that it is reached.
bool has_no_server(Leak leak) {
  return leak == Leak::kMetadata || leak == Leak::kLinkLocal || leak == Leak::kLan;
}

/// What goes to the public internet is meant to, where the caller said so; what reached this host
/// never is.
bool is_by_design(Leak leak, const Observations& observations) {
  const bool may_be = leak == Leak::kDnsNames || leak == Leak::kDnsReverse ||
                      leak == Leak::kDnsServers || leak == Leak::kDnsEncrypted;
  const auto heard = observations.heard.of(leak);
  return observations.lets_public_out && may_be &&
         std::all_of(heard.begin(), heard.end(),
                     [](const Notice& notice) { return notice.kind == Notice::Kind::kLeft; });
}

using Reports = std::vector<const ProbeReport*>;

Reports reports_of(Leak leak, const Observations& observations) {
  Reports found;
  for (const ProbeReport& report : observations.reports) {
    if (report.leak == leak) found.push_back(&report);
  }
  return found;
}

/// What the prober itself proves.
std::vector<std::string> proofs(Leak leak, const Reports& reports,
                                const Observations& observations) {
  const auto secret = observations.secrets.find(leak);
  std::vector<std::string> words;
  for (const ProbeReport* const report : reports) {
    const bool is_proof = report->outcome == Outcome::kObtained ||
                          (report->outcome == Outcome::kConnected && has_no_server(leak));
    if (!is_proof) continue;
    if (secret == observations.secrets.end()) {
      words.push_back(report->words);
    } else if (report->words.find(secret->second) != std::string::npos) {
      words.emplace_back("a secret was read that stood only there");
    }
  }
  return words;
}

std::string sum_up(const Reports& reports) {
  constexpr std::array<std::pair<Outcome, std::string_view>, 5> kNames{{
      {Outcome::kRefused, "refused"},
      {Outcome::kSilent, "without an answer"},
      {Outcome::kSent, "sent, not heard outside"},
      {Outcome::kConnected, "answered inside"},
      {Outcome::kObtained, "claimed, not proved"},
  }};
  std::string text;
  for (const auto& [outcome, name] : kNames) {
    const auto number =
        std::count_if(reports.begin(), reports.end(),
                      [&](const ProbeReport* report) { return report->outcome == outcome; });
    if (number == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", number, name);
  }
  return text;
}

bool is_all(const Reports& reports, Outcome outcome) {
  return std::all_of(reports.begin(), reports.end(),
                     [outcome](const ProbeReport* report) { return report->outcome == outcome; });
}

Row judge_one(Leak leak, const Observations& observations) {
  const Reports reports = reports_of(leak, observations);
  Row row{.leak = leak, .state = State::kNotTested, .words = {}, .attempts = reports.size()};
  const auto heard = observations.heard.of(leak);
  for (const Notice& notice : heard) row.words.push_back(notice.words);
  const auto proved = proofs(leak, reports, observations);
  row.words.insert(row.words.end(), proved.begin(), proved.end());
  if (!row.words.empty()) {
    row.state = is_by_design(leak, observations) ? State::kByDesign : State::kLeaks;
    return row;
  }
  const auto why = [&](const std::map<Leak, std::string>& reasons) {
    const auto found = reasons.find(leak);
    if (found != reasons.end()) row.words = {found->second};
    return found != reasons.end();
  };
  if (why(observations.cannot)) return row;
  if (reports.empty()) {
    row.words = {"the prober ended before it"};
    return row;
  }
  if (is_all(reports, Outcome::kNotTested)) {
    row.words = {reports.front()->words};
    return row;
  }
  if (!is_all(reports, Outcome::kRefused) && why(observations.unheard)) return row;
  row.state = State::kClean;
  row.words = {reports.size() == 1 ? reports.front()->words : sum_up(reports)};
  return row;
}

}  // namespace

std::string_view state_word(State state) {
  switch (state) {
    case State::kLeaks:
      return "leaks";
    case State::kByDesign:
      return "by-design";
    case State::kClean:
      return "clean";
    case State::kNotTested:
      return "not-tested";
  }
  return "";
}

std::vector<Row> judge(const Observations& observations) {
  std::vector<Row> rows;
  for (const LeakFacts& facts : all_leaks()) rows.push_back(judge_one(facts.leak, observations));
  return rows;
}

std::size_t count(const std::vector<Row>& rows, State state) {
  return static_cast<std::size_t>(std::count_if(
      rows.begin(), rows.end(), [state](const Row& row) { return row.state == state; }));
}

}  // namespace cordon::audit
