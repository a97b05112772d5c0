// Policy files: either problems that say where and what, or rules that say what is written, no
// more. Never a crash, whatever the bytes: a policy may come with a project.
#include <cstdlib>
#include <string>

#include "launcher/policy/policy_file_edit.h"

namespace {

using namespace cordon;

void require(bool claim) {
  if (!claim) std::abort();
}

void check_problem(const Problem& problem) {
  const std::string line = problem.to_string();
  require(line.starts_with("p.toml:"));
  require(problem.place.line > 0 && problem.place.column > 0 && !problem.words.empty());
  for (const char character : line) require(static_cast<unsigned char>(character) >= ' ');
}

void check_rule(const Placed<Rule>& placed, std::string_view text) {
  const Rule& rule = placed.value;
  require(text.find(rule.text) != std::string_view::npos ||
          text.find('\\') != std::string_view::npos);
  const auto again = parse_destination(rule.text);
  require(again && *again == rule.to);
  require(rule.origin == placed.place.line_string());
  require(!rule.may_be_private || (rule.to.kind == Destination::Kind::kName &&
                                   rule.to.pattern.kind == NamePattern::Kind::kExact));
  require(rule.action != Action::kDeny || rule.limits.is_none());
}

// A file that is good can be edited and brought into form, and is then still good.
void check_edits(const PolicyFile& file, std::string_view text) {
  const auto formatted = format_policy_text(text, "p.toml");
  if (formatted) {
    const auto again = format_policy_text(*formatted, "p.toml");
    require(again && *again == *formatted);
  }
  const auto edited = add_rule_to_text(text, "p.toml", Action::kAllow, "added.example:1", "why");
  // Refused only where the file itself is against it.
  if (!edited) return;
  const PolicyReading reading = read_policy_text(*edited, "p.toml");
  require(reading.problems.empty());
  require(reading.file.rules.size() <= file.rules.size() + 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const PolicyKind kind : {PolicyKind::kPolicy, PolicyKind::kPreset}) {
    const PolicyReading reading = read_policy_text(text, "p.toml", kind);
    for (const Problem& problem : reading.problems) check_problem(problem);
    if (!reading.problems.empty()) continue;
    for (const Placed<Rule>& rule : reading.file.rules) check_rule(rule, text);
    if (kind == PolicyKind::kPolicy) check_edits(reading.file, text);
    if (kind == PolicyKind::kPreset) require(!reading.file.default_action && !reading.file.mode);
  }
  return 0;
}
