#include "launcher/verbs/policy_explain.h"

#include <optional>
#include <vector>

#include <fmt/format.h>

#include "launcher/policy/policy_text.h"
#include "netstack/address/classes.h"

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
      request.address_class = classify(request.dialled.address,
                                       routes.lookup(request.dialled.address), policy.overrides());
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

std::string outcome(const Request& request, const Verdict& verdict, const Policy& policy) {
  switch (verdict.action) {
    case Action::kAllow:
      return request.name != nullptr ? "allowed, wherever it leads that is public" : "allowed";
    case Action::kAsk:
      return "asked";
    case Action::kDeny:
      break;
  }
  const std::string remedy = policy.remedy(request, verdict);
  const std::string_view report =
      policy.mode() == PolicyMode::kReport ? " (but let through: the mode is report)" : "";
  return remedy.empty() ? fmt::format("denied{}", report)
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
  return Explained{.verdict = explanation.verdict,
                   .text = fmt::format("{} {}\n{}{}\n", protocol_name(request.protocol), place,
                                       steps_text(explanation, set, policy),
                                       outcome(request, explanation.verdict, policy))};
}

}  // namespace

Result<PolicyAnswer> explain_destination(const PolicySet& set, const std::string& destination,
                                         RouteQuery& routes) {
  CORDON_TRY(const Destination to, parse_destination(destination));
  const Policy policy(set.options.policy);
  const bool has_port = !to.ports.is_all() && !to.ports.is_web();
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
