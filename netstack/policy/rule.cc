#include "netstack/policy/rule.h"

namespace cordon {

std::string_view action_name(Action action) {
  switch (action) {
    case Action::kAllow:
      return "allow";
    case Action::kDeny:
      return "deny";
    case Action::kAsk:
      return "ask";
  }
  return "unknown";
}

std::string_view default_action_name(DefaultAction action) {
  switch (action) {
    case DefaultAction::kDeny:
      return "deny";
    case DefaultAction::kAllowPublic:
      return "allow-public";
    case DefaultAction::kAsk:
      return "ask";
  }
  return "unknown";
}

std::string_view mode_name(PolicyMode mode) {
  switch (mode) {
    case PolicyMode::kEnforce:
      return "enforce";
    case PolicyMode::kReport:
      return "report";
    case PolicyMode::kAsk:
      return "ask";
  }
  return "unknown";
}

std::string_view limit_name(Limit limit) {
  switch (limit) {
    case Limit::kNone:
      break;
    case Limit::kUp:
      return "up";
    case Limit::kDown:
      return "down";
    case Limit::kFlows:
      return "flows";
    case Limit::kTime:
      return "until";
    case Limit::kNames:
      return "wildcard-budget";
  }
  return "none";
}

RuleReach reach_of(const Rule& rule) {
  RuleReach reach{.protocol = rule.to.protocol, .ports = rule.to.ports};
  const bool has_no_port_given = rule.to.kind == Destination::Kind::kName && rule.to.ports.is_web();
  if (!has_no_port_given) return reach;
  if (rule.action == Action::kAllow) {
    reach.protocol = Protocol::kTcp;
  } else {
    reach.ports = PortSet();
  }
  return reach;
}

}  // namespace cordon
