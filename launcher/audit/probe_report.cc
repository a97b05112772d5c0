#include "launcher/audit/probe_report.h"

#include <array>

#include "launcher/audit/json_text.h"

namespace cordon::audit {
namespace {

using Kind = ProberNotice::Kind;

constexpr std::array kOutcomes{Outcome::kRefused,   Outcome::kSilent,   Outcome::kSent,
                               Outcome::kConnected, Outcome::kObtained, Outcome::kNotTested};
constexpr std::array kKinds{Kind::kHello, Kind::kOwnNetwork, Kind::kAllowed, Kind::kAddressNow,
                            Kind::kBye};
// Half of kLongestLine: JSON may write a character as six.
constexpr std::size_t kLongestWords = 300;

std::string_view kind_word(Kind kind) {
  switch (kind) {
    case Kind::kHello:
      return "hello";
    case Kind::kOwnNetwork:
      return "own-network";
    case Kind::kAllowed:
      return "allowed";
    case Kind::kAddressNow:
      return "address-now";
    case Kind::kBye:
      return "bye";
  }
  return "";
}

std::optional<ProberLine> read_report(const Json& json) {
  const auto leak = parse_leak(text_of(json, "leak"));
  const std::string outcome = text_of(json, "outcome");
  for (const Outcome candidate : kOutcomes) {
    if (leak && outcome == outcome_word(candidate)) {
      return ProbeReport{*leak, candidate, text_of(json, "words")};
    }
  }
  return std::nullopt;
}

std::optional<ProberLine> read_notice(const Json& json) {
  const std::string notice = text_of(json, "notice");
  const auto good = json.find("good");
  for (const Kind candidate : kKinds) {
    if (notice == kind_word(candidate)) {
      return ProberNotice{candidate, good != json.end() && good->is_boolean() && good->get<bool>(),
                          text_of(json, "words")};
    }
  }
  return std::nullopt;
}

}  // namespace

std::string_view outcome_word(Outcome outcome) {
  switch (outcome) {
    case Outcome::kRefused:
      return "refused";
    case Outcome::kSilent:
      return "silent";
    case Outcome::kSent:
      return "sent";
    case Outcome::kConnected:
      return "connected";
    case Outcome::kObtained:
      return "obtained";
    case Outcome::kNotTested:
      return "not-tested";
  }
  return "";
}

std::string write_line(std::string_view nonce, const ProberLine& line) {
  Json json;
  if (const auto* const report = std::get_if<ProbeReport>(&line)) {
    json = {{"leak", facts_of(report->leak).key},
            {"outcome", outcome_word(report->outcome)},
            {"words", report->words.substr(0, kLongestWords)}};
  } else if (const auto* const notice = std::get_if<ProberNotice>(&line)) {
    json = {{"notice", kind_word(notice->kind)},
            {"good", notice->is_good},
            {"words", notice->words.substr(0, kLongestWords)}};
  }
  std::string text(nonce);
  return text.append(" ")
      .append(json.dump(-1, ' ', true, Json::error_handler_t::replace))
      .append("\n");
}

std::optional<ProberLine> read_line(std::string_view nonce, std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  // Not at the front: what the sandbox printed last may not have ended in a newline.
  const auto at = line.find(nonce);
  if (at == std::string_view::npos) return std::nullopt;
  line.remove_prefix(at + nonce.size());
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  return json.contains("leak") ? read_report(json) : read_notice(json);
}

}  // namespace cordon::audit
