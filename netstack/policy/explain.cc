// How a verdict came to be, in words. The findings and the conclusion are the very ones of
// evaluate(); here they are only told, in the order of precedence, up to the one that decides.
#include <fmt/format.h>

#include "netstack/policy/policy.h"

namespace cordon {
namespace {

Step step(Step::Stage stage, std::string words, Match rule = std::nullopt) {
  return {.stage = stage, .rule = rule, .words = std::move(words)};
}

}  // namespace

std::string_view stage_name(Step::Stage stage) {
  switch (stage) {
    case Step::Stage::kName:
      return "name";
    case Step::Stage::kClass:
      return "class";
    case Step::Stage::kFloor:
      return "floor";
    case Step::Stage::kDeny:
      return "deny";
    case Step::Stage::kAsk:
      return "ask";
    case Step::Stage::kAllow:
      return "allow";
    case Step::Stage::kDefault:
      return "default";
    case Step::Stage::kMode:
      return "mode";
  }
  return "unknown";
}

Explanation Policy::explain(const Request& request) const {
  const Findings findings = look_up(request);
  Explanation out{.verdict = conclude(findings), .steps = {}};
  out.steps.push_back(
      step(Step::Stage::kClass, fmt::format("{} is {}", request.dialled.address.to_string(),
                                            class_name(request.address_class))));
  tell(findings, out);
  return out;
}

Explanation Policy::explain_unresolved(const Request& request) const {
  Explanation out{.verdict = judge_unresolved(request), .steps = {}};
  if (request.name == nullptr) return out;
  const Findings findings = suppose(request, AddressClass::kPublic, false);
  out.steps.push_back(
      step(Step::Stage::kName, fmt::format("{} is not looked up yet", request.name->to_string())));
  tell(findings, out);
  return out;
}

void Policy::tell(const Findings& findings, Explanation& out) const {
  const auto add = [&](Step::Stage stage, const Match& rule, std::string_view yes,
                       std::string_view no) {
    out.steps.push_back(step(stage, std::string(rule ? yes : no), rule));
    out.steps.back().is_decisive = rule && out.verdict.rule == rule;
    return out.steps.back().is_decisive;
  };
  if (findings.is_floor) {
    const Match opened = findings.allowed ? findings.allowed : findings.may_be_asked;
    out.steps.push_back(step(Step::Stage::kFloor,
                             opened ? "a rule opens the floor" : "nothing opens the floor",
                             opened));
    out.steps.back().is_decisive = !opened;
    if (!opened) return;
  }
  if (add(Step::Stage::kDeny, findings.denied, "a rule denies it", "no rule denies it")) return;
  if (!findings.is_inbound) {
    if (add(Step::Stage::kAsk, findings.asked, "a rule asks", "no rule asks")) return;
    if (add(Step::Stage::kAllow, findings.allowed, "a rule allows it", "no rule allows it")) return;
  }
  out.steps.push_back(
      step(Step::Stage::kDefault,
           findings.is_inbound
               ? "inbound flows pass"
               : fmt::format("the default is {}", default_action_name(input_.default_action))));
  out.steps.back().is_decisive = true;
}

}  // namespace cordon
