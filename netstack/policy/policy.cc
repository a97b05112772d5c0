#include "netstack/policy/policy.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace cordon {
namespace {

constexpr std::uint16_t kDnsTypeA = 1;      // RFC 1035 section 3.2.2
constexpr std::uint16_t kDnsTypeAaaa = 28;  // RFC 3596 section 2.1
// RFC 9460: keys that hide names, hints of addresses, offers of other protocols.
constexpr std::uint16_t kDnsTypeSvcb = 64;
constexpr std::uint16_t kDnsTypeHttps = 65;

// Where a name may lead, the likeliest first; rules for names grant the first three.
constexpr std::array kClassesOfNames{
    AddressClass::kPublic,   AddressClass::kLan,      AddressClass::kVpn,
    AddressClass::kLoopback, AddressClass::kSelf,     AddressClass::kLinkLocal,
    AddressClass::kMetadata, AddressClass::kReserved, AddressClass::kMulticast};
constexpr std::size_t kGrantedByName = 3;

bool is_better(const Verdict& one, const Verdict& other) {
  const auto rank = [](Action action) {
    return action == Action::kAllow ? 2 : action == Action::kAsk ? 1 : 0;
  };
  return rank(one.action) > rank(other.action);
}

Destination name_destination(const Request& request, Destination to) {
  to.kind = Destination::Kind::kName;
  to.pattern.name = request.name->lower_case();
  const bool is_web = request.protocol == Protocol::kTcp &&
                      (to.ports.is_all() || PortSet::web().contains(request.dialled.port));
  if (is_web) {
    to.protocol = std::nullopt;
    to.ports = PortSet::web();
  }
  return to;
}

// The narrowest destination that the user could allow to let the request pass.
std::optional<Destination> narrowest(const Request& request, bool is_by_name) {
  Destination to;
  to.protocol = request.protocol;
  const bool has_port = request.protocol != Protocol::kIcmp && request.dialled.port != 0;
  if (has_port) to.ports = PortSet(request.dialled.port);
  if (request.is_host_door) {
    if (!has_port) return std::nullopt;
    to.kind = Destination::Kind::kHostDoor;
    return to;
  }
  if (is_by_name) return name_destination(request, to);
  const AddressClass address_class = judged_class(request);
  if (prefix_grant(address_class) == PrefixGrant::kNone) {
    to.kind = Destination::Kind::kClass;
    to.address_class = address_class;
  } else {
    to.prefix = Prefix(request.dialled.address, request.dialled.address.bits());
  }
  return to;
}

bool is_for_want_of_a_rule(const Verdict& verdict) {
  switch (verdict.reason) {
    case Reason::kFloor:
    case Reason::kDefault:
    case Reason::kRebind:
    case Reason::kNoName:
      return verdict.action != Action::kAllow;
    case Reason::kRule:
    case Reason::kScope:
    case Reason::kFirstFlight:
    case Reason::kLimit:
    case Reason::kSource:
    case Reason::kType:
      return false;
  }
  return false;
}

}  // namespace

std::string_view reason_name(Reason reason) {
  switch (reason) {
    case Reason::kRule:
      return "rule";
    case Reason::kFloor:
      return "floor";
    case Reason::kDefault:
      return "default";
    case Reason::kScope:
      return "scope";
    case Reason::kRebind:
      return "rebind";
    case Reason::kNoName:
      return "no-name";
    case Reason::kFirstFlight:
      return "first-flight";
    case Reason::kLimit:
      return "limit";
    case Reason::kSource:
      return "source";
    case Reason::kType:
      return "type";
  }
  return "unknown";
}

Policy::Policy(PolicyInput input) : input_(std::move(input)) {
  while (!index_.build_some(input_, input_.rules.size() + 1)) {
  }
}

bool Policy::forget_some(std::size_t most) {
  std::vector<Rule>& rules = input_.rules;
  rules.resize(rules.size() - std::min(rules.size(), most));
  return rules.empty();
}

bool Policy::is_default_asked() const {
  return input_.default_action == DefaultAction::kAsk ||
         (input_.default_action == DefaultAction::kDeny && input_.mode == PolicyMode::kAsk);
}

Verdict Policy::conclude(const Findings& findings) const {
  if (findings.is_floor && !findings.allowed && !findings.may_be_asked) {
    return {.action = Action::kDeny,
            .reason = findings.is_by_name ? Reason::kRebind : Reason::kFloor};
  }
  if (findings.denied) {
    return {.action = Action::kDeny, .reason = Reason::kRule, .rule = findings.denied.rule()};
  }
  if (findings.is_inbound) return {.action = Action::kAllow, .reason = Reason::kDefault};
  if (findings.asked) {
    return {.action = Action::kAsk, .reason = Reason::kRule, .rule = findings.asked.rule()};
  }
  if (findings.allowed) {
    return {.action = Action::kAllow, .reason = Reason::kRule, .rule = findings.allowed.rule()};
  }
  if (input_.default_action == DefaultAction::kAllowPublic) {
    return {.action = Action::kAllow, .reason = Reason::kDefault};
  }
  return {.action = is_default_asked() ? Action::kAsk : Action::kDeny, .reason = Reason::kDefault};
}

Verdict Policy::evaluate(const Request& request) const {
  return conclude(look_up(index_, request));
}

bool Policy::is_only_reported(const Request& request) const {
  const IpAddress& address = request.dialled.address;
  const bool is_never_dialled = judged_class(request) == AddressClass::kMulticast ||
                                address.is_unspecified() || address.is_multicast_or_broadcast() ||
                                (address.is_v4() && address.octets()[0] == 0);
  return input_.mode == PolicyMode::kReport && !is_never_dialled;
}

std::optional<AllowedDestination> Policy::allow(const Request& request, Verdict& verdict) const {
  verdict = evaluate(request);
  if (verdict.action == Action::kAsk && request.is_answered) verdict.action = Action::kAllow;
  if (verdict.action != Action::kAllow && !is_only_reported(request)) return std::nullopt;
  return AllowedDestination(request, verdict.rule);
}

AllowedDestination Policy::upstream(const Endpoint& endpoint, Protocol protocol) {
  return AllowedDestination(Request{.protocol = protocol,
                                    .dialled = endpoint,
                                    .address_class = registry_class(endpoint.address)},
                            std::nullopt);
}

// Public addresses are worth a lookup, and lan and vpn ones where a rule for the name says so.
// Where there is one anyway, rules for any class and for addresses may let the flow pass too.
Policy::Possible Policy::best_possible(const Request& request, const NameIndex::Places& names,
                                       bool is_resolvable) const {
  constexpr std::array kSupposed{Supposed::kNone, Supposed::kAllowed, Supposed::kAsked};
  const auto supposed = std::span(kSupposed).first(is_resolvable ? kSupposed.size() : 1);
  const auto classes =
      std::span(kClassesOfNames).first(is_resolvable ? kClassesOfNames.size() : kGrantedByName);
  std::optional<Possible> best;
  for (const AddressClass address_class : classes) {
    for (const Supposed by_prefix : supposed) {
      Possible possible{
          .findings = suppose(index_, request, names, address_class, by_prefix, is_resolvable)};
      possible.verdict = conclude(possible.findings);
      if (!best || is_better(possible.verdict, best->verdict)) best = possible;
      if (best->verdict.action == Action::kAllow) return *best;
    }
  }
  return best.value_or(Possible());
}

// What the rules say is constant between the places where it changes, so that those are all that
// there is to try.
Verdict Policy::judge_places(const DnsName& name, const NameIndex::Places& names) const {
  Request request{.name = &name};
  std::optional<Verdict> best;
  index_.visit_changes(names, [&](Protocol protocol, std::uint16_t port) {
    request.protocol = protocol;
    request.dialled.port = std::max(port, std::uint16_t{1});  // nobody dials port 0
    const Verdict verdict = best_possible(request, names, false).verdict;
    if (!best || is_better(verdict, *best)) best = verdict;
    return verdict.action == Action::kAllow;
  });
  return best.value_or(Verdict());
}

Verdict Policy::judge_name(const DnsName& name) const {
  return judge_places(name, index_.places_of(name));
}

Policy::Possible Policy::likeliest(const Request& request) const {
  const NameIndex::Places names = index_.places_of(*request.name);
  const Possible possible = best_possible(request, names, false);
  if (possible.verdict.action == Action::kAllow) return possible;
  const Action named = judge_places(*request.name, names).action;
  if (named == Action::kDeny) return possible;
  const Possible wider = best_possible(request, names, true);
  // What only an answer could let be looked up is not looked up to see where it leads.
  const bool is_too_early = named == Action::kAsk && wider.verdict.action == Action::kAllow;
  return is_too_early ? possible : wider;
}

Verdict Policy::judge_unresolved(const Request& request) const {
  return request.name != nullptr ? likeliest(request).verdict : Verdict();
}

bool Policy::is_allowed_by_name(const Request& request) const {
  const RuleQuery query{
      .purpose = Purpose::kAllow, .protocol = request.protocol, .port = request.dialled.port};
  return static_cast<bool>(index_.find_name(index_.places_of(*request.name), query));
}

bool Policy::names_are_enforced() const {
  const bool is_default_open = input_.default_action == DefaultAction::kAllowPublic;
  const bool is_default_told = is_default_asked() || input_.mode == PolicyMode::kReport;
  return index_.has_names() || (!is_default_open && is_default_told);
}

bool Policy::is_dns_type_allowed(const DnsName& name, std::uint16_t type) const {
  const bool is_binding = type == kDnsTypeSvcb || type == kDnsTypeHttps;
  if (input_.default_action == DefaultAction::kAllowPublic && !is_binding) return true;
  return type == kDnsTypeA || type == kDnsTypeAaaa ||
         index_.is_dns_type_listed(index_.places_of(name), type);
}

const Rule* Policy::rule_of(const Verdict& verdict) const {
  const bool is_known = verdict.rule && *verdict.rule < input_.rules.size();
  return is_known ? &input_.rules[*verdict.rule] : nullptr;
}

bool Policy::is_free_by_name(const Request& request) const {
  const NameIndex::Places names = index_.places_of(*request.name);
  const auto is_free_at = [&](std::uint16_t port) {
    Request flow = request;
    flow.dialled.port = port;
    const Findings findings =
        suppose(index_, flow, names, AddressClass::kPublic, Supposed::kNone, false);
    return !findings.denied && !findings.asked;
  };
  const bool is_about_name = request.protocol == Protocol::kTcp && request.dialled.port == 0;
  return is_about_name ? is_free_at(kHttpPort) || is_free_at(kHttpsPort)
                       : is_free_at(request.dialled.port);
}

std::string Policy::remedy(const Request& request, const Verdict& verdict) const {
  // What the first flight named instead of the name that was dialled (the request has it).
  const bool is_other_name = verdict.reason == Reason::kFirstFlight && request.name != nullptr &&
                             evaluate(request).reason == Reason::kDefault;
  // Whoever owns a name must not lead a person to open this host.
  const bool is_lured =
      verdict.reason == Reason::kRebind && (request.address_class == AddressClass::kSelf ||
                                            request.address_class == AddressClass::kLoopback);
  const bool is_helped = !is_lured && (is_for_want_of_a_rule(verdict) || is_other_name);
  if (!is_helped || request.direction == Direction::kInbound) return {};
  // What a name led to is opened by its address alone.
  const bool is_by_name = request.name != nullptr && !request.is_host_door &&
                          (verdict.reason == Reason::kDefault || is_other_name);
  const bool is_unresolved = is_by_name && request.dialled.address.is_unspecified();
  const bool is_free = is_unresolved ? is_free_by_name(request)
                                     : !find_restraint(index_, request, Purpose::kDeny) &&
                                           !find_restraint(index_, request, Purpose::kAsk);
  // A rule that restrains would still win.
  if (!is_free) return {};
  const std::optional<Destination> to = narrowest(request, is_by_name);
  if (!to) return {};
  std::string text = format_destination(*to);
  // A guest may ask for names that no rule can hold, or that mean something else as a rule:
  // "1.2.3.4", "@public".
  const Result<Destination> meant = parse_destination(text);
  if (!meant || *meant != *to) return {};
  return fmt::format("--allow {}", text);
}

}  // namespace cordon
