// How a verdict came to be, in words. The findings and the conclusion are the very ones that
// enforcement has; here they are only told, in the order of precedence, up to the one that decides.
#include <fmt/format.h>

#include "netstack/policy/policy.h"

namespace cordon {
namespace {

std::string class_words(const Request& request) {
  if (request.is_host_door) {
    return fmt::format("the host door: port {} of the host's loopback", request.dialled.port);
  }
  const AddressClass address_class = judged_class(request);
  std::string words =
      fmt::format("{} is {}", request.dialled.address.to_string(), class_name(address_class));
  if (address_class == AddressClass::kPublic || request.direction == Direction::kInbound) {
    return words;
  }
  return words + ", a floor class: neither the default nor @public opens it";
}

// What would open the floor, for whoever finds it closed.
std::string_view closed_words(const Request& request) {
  if (request.is_host_door) return "no rule for this port of the host door opens it";
  switch (prefix_grant(judged_class(request))) {
    case PrefixGrant::kNone:
      return "no rule for its class opens it, and nothing else could";
    case PrefixGrant::kOneAddress:
      return "no rule for its class or for this one address opens it";
    case PrefixGrant::kAny:
      return "no rule for its class, its address or a prefix around it opens it";
  }
  return "no rule opens it";
}

std::string deny_words(const Request& request, const Rule& rule) {
  const bool is_by_inner = rule.to.kind == Destination::Kind::kPrefix &&
                           !rule.to.prefix.contains(request.dialled.address);
  return is_by_inner ? "a rule denies the address that it carries inside" : "a rule denies it";
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
  const Findings findings = look_up(index_, request);
  Explanation explanation{.verdict = conclude(findings), .steps = {}};
  if (findings.is_by_name) {
    explanation.steps.push_back({.stage = Step::Stage::kName,
                                 .words = fmt::format("dialled as {}", request.name->to_string())});
  }
  explanation.steps.push_back({.stage = Step::Stage::kClass, .words = class_words(request)});
  tell(request, findings, explanation);
  return explanation;
}

Explanation Policy::explain_unresolved(const Request& request) const {
  if (request.name == nullptr) return {};
  const Possible possible = likeliest(request);
  Explanation explanation{.verdict = possible.verdict, .steps = {}};
  explanation.steps.push_back(
      {.stage = Step::Stage::kName,
       .words = fmt::format("{}, if it leads to a {} address", request.name->to_string(),
                            class_name(possible.findings.address_class))});
  tell(request, possible.findings, explanation);
  return explanation;
}

void Policy::tell(const Request& request, const Findings& findings,
                  Explanation& explanation) const {
  std::vector<Step>& steps = explanation.steps;
  const auto add = [&](Step::Stage stage, const Match& match, std::string words) {
    steps.push_back({.stage = stage, .rule = match.rule(), .words = std::move(words)});
  };
  const auto add_rule = [&](Step::Stage stage, const Match& match, std::string_view yes,
                            std::string_view no) {
    add(stage, match, std::string(match ? yes : no));
    return static_cast<bool>(match);
  };
  const auto walk = [&] {
    if (findings.is_floor) {
      const Match opened = std::min(findings.allowed, findings.may_be_asked);
      add_rule(Step::Stage::kFloor, opened, "a rule opens it", closed_words(request));
      if (!opened) return;
    }
    const std::string denied =
        findings.denied ? deny_words(request, input_.rules[*findings.denied.rule()]) : "";
    if (add_rule(Step::Stage::kDeny, findings.denied, denied, "no rule denies it")) return;
    if (findings.is_inbound) return add(Step::Stage::kDefault, {}, "inbound flows pass");
    if (add_rule(Step::Stage::kAsk, findings.asked, "a rule asks", "no rule asks")) return;
    if (add_rule(Step::Stage::kAllow, findings.allowed, "a rule allows it", "no rule allows it")) {
      return;
    }
    const bool is_mode_asking = is_default_asked() && input_.default_action != DefaultAction::kAsk;
    add(Step::Stage::kDefault, {},
        fmt::format("the default is {}{}", default_action_name(input_.default_action),
                    is_mode_asking ? ", and mode ask asks first" : ""));
  };
  walk();
  steps.back().is_decisive = true;
  const bool is_let_pass =
      explanation.verdict.action != Action::kAllow && is_only_reported(request);
  if (is_let_pass) add(Step::Stage::kMode, {}, "mode report: it passes and is reported");
}

}  // namespace cordon
