#include "launcher/verbs/policy_explain.h"

#include <optional>
#include <vector>

#include <fmt/format.h>

#include "launcher/events/event_text.h"
#include "launcher/policy/policy_text.h"
#include "netstack/flow/admission.h"

namespace cordon {
namespace {

/// One flow to `to`; `name` is what Request::name points to.
Result<Request> request_for(const Destination& to, std::uint16_t port, const DnsName& name,
                            const Policy& policy, RouteQuery& routes) {
  Request request;
  request.protocol = to.protocol.value_or(Protocol::kTcp);
  if (request.protocol == Protocol::kIcmp) port = 0;
  switch (to.kind) {
    case Destination::Kind::kName:
      if (to.pattern.kind != NamePattern::Kind::kExact) {
        return plain_error("one destination is explained at a time; write a single name");
      }
      request.name = &name;
      request.dialled.port = port;
      return request;
    case Destination::Kind::kPrefix:
      if (to.prefix.length() != to.prefix.address().bits()) {
        return plain_error("one destination is explained at a time; write a single address");
      }
      request.dialled = {to.prefix.address(), port};
      request.address_class = class_of(request.dialled.address, routes, policy.overrides());
      return request;
    case Destination::Kind::kHostDoor:
      request.dialled = {loopback(Family::kIpv4), port};
      request.address_class = AddressClass::kLoopback;
      request.is_host_door = true;
      return request;
    case Destination::Kind::kClass:
      break;
  }
  return plain_error("a class is not a destination; write an address or a name");
}

std::string steps_text(const Explanation& explanation, const PolicySet& set, const Policy& policy) {
  std::string text;
  for (const Step& step : explanation.steps) {
    text += fmt::format("{} {:<8} {}", step.is_decisive ? ">" : " ", stage_name(step.stage),
                        step.words);
    if (step.rule) {
      const Rule& rule = policy.rules()[*step.rule];
      text += fmt::format(": {}{}, {}", rule.text,
                          rule.label.empty() ? "" : fmt::format(" \"{}\"", rule.label),
                          origin_with_path(rule, set.files));
    }
    text += '\n';
  }
  return text;
}

// Where a name would have to lead for the verdict to be true: it is not looked up.
std::string condition(const Verdict& verdict, const Policy& policy) {
  const Rule* const rule = policy.rule_of(verdict);
  if (rule != nullptr && rule->to.kind == Destination::Kind::kPrefix) {
    return fmt::format(", if it leads to an address of {}", rule->text);
  }
  const bool is_by_class = rule != nullptr && rule->to.kind == Destination::Kind::kClass;
  const AddressClass address_class = is_by_class ? rule->to.address_class : AddressClass::kPublic;
  return fmt::format(", if it leads to a {} address", class_name(address_class));
}

bool covers(const Rule& rule, const Request& request) {
  const RuleReach reach = reach_of(rule);
  if (reach.protocol && *reach.protocol != request.protocol) return false;
  return request.protocol == Protocol::kIcmp ? reach.ports.is_all()
                                             : reach.ports.contains(request.dialled.port);
}

// What rules for addresses could still have against a name.
std::string reservations(const Request& request, const Verdict& verdict, const Policy& policy) {
  std::string text;
  for (const Action action : {Action::kDeny, Action::kAsk}) {
    if (action == verdict.action) continue;
    std::vector<const Rule*> found;
    for (const Rule& rule : policy.rules()) {
      const bool is_by_address = rule.to.kind == Destination::Kind::kPrefix;
      if (is_by_address && rule.action == action && covers(rule, request)) found.push_back(&rule);
    }
    const std::string_view word = action == Action::kDeny ? "denied" : "asked";
    if (found.size() == 1) {
      text += fmt::format("; {}, if it leads to {} ({})", word, found[0]->text, found[0]->origin);
    } else if (!found.empty()) {
      text += fmt::format("; {}, if one of {} rules for addresses says so", word, found.size());
    }
  }
  return text;
}

// UDP port 443 of names: udp/udp_named.cc, udp/udp_flows.cc.
bool is_quic_refused(const Request& request, const PolicySet& set, const Policy& policy) {
  const bool is_quic = request.name != nullptr && request.protocol == Protocol::kUdp &&
                       request.dialled.port == kHttpsPort;
  if (!is_quic) return false;
  switch (set.options.names.mode) {
    case NameSettings::Mode::kPin:
      return true;
    case NameSettings::Mode::kOpen:
    case NameSettings::Mode::kOff:
      return false;
    case NameSettings::Mode::kByPolicy:
      if (!policy.names_are_enforced()) return false;
      break;
    case NameSettings::Mode::kMap:
      break;
  }
  return set.options.names.quic == NameSettings::Quic::kReject &&
         !policy.is_allowed_by_name(request);
}

std::string outcome(const Request& request, const Verdict& verdict, const Policy& policy) {
  const bool is_by_name = request.name != nullptr && verdict.action != Action::kDeny;
  const std::string where =
      is_by_name ? condition(verdict, policy) + reservations(request, verdict, policy) : "";
  switch (verdict.action) {
    case Action::kAllow:
      return "allowed" + where;
    case Action::kAsk:
      return "asked" + where;
    case Action::kDeny:
      break;
  }
  const std::string remedy = rule_remedy(request, verdict, policy);
  const std::string_view report =
      policy.mode() == PolicyMode::kReport ? " (but let through: the mode is report)" : "";
  return remedy.empty() ? fmt::format("denied{}{}", report, hopeless_text(request, verdict))
                        : fmt::format("denied{}; to allow it: {}", report, remedy);
}

struct Explained {
  Verdict verdict;
  std::string text;
};

Result<Explained> explain_flow(const PolicySet& set, const Policy& policy, const Destination& to,
                               std::uint16_t port, RouteQuery& routes) {
  const DnsName name = to.pattern.name;
  CORDON_TRY(const Request request, request_for(to, port, name, policy, routes));
  const Explanation explanation =
      request.name != nullptr ? policy.explain_unresolved(request) : policy.explain(request);
  std::string place = request.dialled.to_string();
  if (request.name != nullptr) place = fmt::format("{}:{}", name.to_string(), port);
  if (request.is_host_door) place = fmt::format("host:{}", port);
  if (request.protocol == Protocol::kIcmp) place = place.substr(0, place.rfind(':'));
  Verdict verdict = explanation.verdict;
  std::string end = outcome(request, verdict, policy);
  if (verdict.action != Action::kDeny && is_quic_refused(request, set, policy)) {
    verdict.action = Action::kDeny;
    end = "refused at once, for it is QUIC to a name: clients fall back to TCP ([tls] quic)";
  }
  return Explained{.verdict = verdict,
                   .text = fmt::format("{} {}\n{}{}\n", protocol_name(request.protocol), place,
                                       steps_text(explanation, set, policy), end)};
}

}  // namespace

Result<PolicyAnswer> explain_destination(const PolicySet& set, const std::string& destination,
                                         RouteQuery& routes) {
  CORDON_TRY(const Destination to, parse_destination(destination));
  const Policy policy(set.options.policy);
  const bool has_port = !to.ports.is_all() && !to.ports.is_web();
  if (has_port && to.ports.ranges().front().first != to.ports.ranges().front().last) {
    return plain_error("one destination is explained at a time; write a single port");
  }
  const std::uint16_t port = has_port ? to.ports.ranges().front().first : kHttpsPort;
  CORDON_TRY(const Explained explained, explain_flow(set, policy, to, port, routes));
  PolicyAnswer answer{.text = explained.text,
                      .is_allowed = explained.verdict.action == Action::kAllow};
  if (has_port || to.protocol == Protocol::kIcmp) return answer;
  CORDON_TRY(const Explained plain, explain_flow(set, policy, to, kHttpPort, routes));
  if (plain.verdict != explained.verdict) answer.text += "\n" + plain.text;
  return answer;
}

}  // namespace cordon
