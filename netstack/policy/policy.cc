#include "netstack/policy/policy.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace cordon {
namespace {

RuleQuery query_of(const Request& request, Purpose purpose) {
  return {.purpose = purpose, .protocol = request.protocol, .port = request.dialled.port};
}

Match first_of(const Match& one, const Match& other) {
  if (!one || !other) return one ? one : other;
  return std::min(*one, *other);
}

// 0.0.0.0/8 and :: are the host's own (RFC 1122 3.2.1.3, RFC 4291 2.5.2), whatever class came
// along.
AddressClass class_of(const Request& request) {
  const IpAddress& address = request.dialled.address;
  const bool is_this_network = address.is_v4() && address.octets()[0] == 0;
  return is_this_network || address.is_unspecified() ? AddressClass::kSelf : request.address_class;
}

// Who may grant a class, besides a rule that names it.
enum class PrefixGrant : std::uint8_t { kNone, kOneAddress, kAny };

PrefixGrant prefix_grant(AddressClass address_class) {
  switch (address_class) {
    case AddressClass::kSelf:
    case AddressClass::kMulticast:
      return PrefixGrant::kNone;
    case AddressClass::kMetadata:
      return PrefixGrant::kOneAddress;
    case AddressClass::kLoopback:
    case AddressClass::kLinkLocal:
    case AddressClass::kLan:
    case AddressClass::kVpn:
    case AddressClass::kReserved:
    case AddressClass::kPublic:
      return PrefixGrant::kAny;
  }
  return PrefixGrant::kNone;
}

// Name rules for public addresses and for private ones are asked for by different purposes; nobody
// grants another class by name.
std::optional<Purpose> name_purpose(Purpose purpose, AddressClass address_class) {
  if (address_class == AddressClass::kPublic) return purpose;
  if (address_class != AddressClass::kLan && address_class != AddressClass::kVpn) {
    return std::nullopt;
  }
  return purpose == Purpose::kAllow ? Purpose::kAllowPrivate : Purpose::kAskPrivate;
}

Match find_name_grant(const RuleIndex& index, const Request& request, Purpose purpose,
                      AddressClass address_class) {
  const std::optional<Purpose> by_name = name_purpose(purpose, address_class);
  if (request.name == nullptr || !by_name) return std::nullopt;
  return index.find_name(*request.name, query_of(request, *by_name));
}

// What opens a floor class, and lets a public address be dialled: kAllow or kAsk.
Match find_grant(const RuleIndex& index, const Request& request, Purpose purpose) {
  RuleQuery query = query_of(request, purpose);
  if (request.is_host_door) return index.find_door(query);
  const AddressClass address_class = class_of(request);
  const Match match = first_of(index.find_class(address_class, query),
                               find_name_grant(index, request, purpose, address_class));
  const PrefixGrant grant = prefix_grant(address_class);
  if (grant == PrefixGrant::kNone) return match;
  query.is_exact_only = grant == PrefixGrant::kOneAddress;
  return first_of(match, index.find_prefix(request.dialled.address, query));
}

// What restrains a flow (kDeny, kDenyInbound, kAsk): any rule that holds its address, the one
// inside it, or its name.
Match find_restraint(const RuleIndex& index, const Request& request, Purpose purpose) {
  const RuleQuery query = query_of(request, purpose);
  if (request.is_host_door) return index.find_door(query);
  const IpAddress& address = request.dialled.address;
  Match match =
      first_of(index.find_class(class_of(request), query), index.find_prefix(address, query));
  const Unwrapped unwrapped = unwrap(address);
  for (std::size_t i = 0; i < unwrapped.count; ++i) {
    match = first_of(match, index.find_prefix(unwrapped.inner[i], query));
  }
  if (request.name == nullptr) return match;
  return first_of(match, index.find_name(*request.name, query));
}

bool is_floor(const Request& request) {
  return request.is_host_door || class_of(request) != AddressClass::kPublic;
}

constexpr std::uint16_t kDnsTypeA = 1;      // RFC 1035 section 3.2.2
constexpr std::uint16_t kDnsTypeAaaa = 28;  // RFC 3596 section 2.1

constexpr std::array kOtherClasses{AddressClass::kLan,       AddressClass::kVpn,
                                   AddressClass::kSelf,      AddressClass::kMetadata,
                                   AddressClass::kLoopback,  AddressClass::kLinkLocal,
                                   AddressClass::kMulticast, AddressClass::kReserved};

// Whether a name that leads there alone is looked up at all.
bool is_worth_a_lookup(AddressClass address_class) {
  return address_class == AddressClass::kPublic || address_class == AddressClass::kLan ||
         address_class == AddressClass::kVpn;
}

bool makes_names_possible(const Destination& to) {
  return to.kind == Destination::Kind::kName ||
         (to.kind == Destination::Kind::kClass && is_worth_a_lookup(to.address_class));
}

// The narrowest destination that the user could allow to let the request pass.
std::optional<Destination> narrowest(const Request& request, bool is_by_name) {
  const bool is_icmp = request.protocol == Protocol::kIcmp;
  Destination to;
  to.protocol = request.protocol;
  if (!is_icmp && request.dialled.port != 0) {
    to.ports = PortSet(request.dialled.port);
  }
  if (request.is_host_door) {
    if (to.ports.is_all()) return std::nullopt;
    to.kind = Destination::Kind::kHostDoor;
    return to;
  }
  to.address_class = class_of(request);
  if (is_by_name) {
    to.kind = Destination::Kind::kName;
    to.pattern.name = request.name->lower_case();
    const bool is_web =
        request.protocol == Protocol::kTcp &&
        (request.dialled.port == 0 || PortSet::web().contains(request.dialled.port));
    if (!is_web) return to;
    to.protocol = std::nullopt;
    to.ports = PortSet::web();
  } else if (prefix_grant(to.address_class) == PrefixGrant::kNone) {
    to.kind = Destination::Kind::kClass;
  } else {
    to.prefix = Prefix(request.dialled.address, request.dialled.address.bits());
  }
  return to;
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
  }
  return "unknown";
}

Policy::Policy(PolicyInput input) : input_(std::move(input)), index_(input_) {}

Policy::Findings Policy::look_up(const Request& request) const {
  if (request.direction == Direction::kInbound) {
    return {.is_inbound = true, .denied = find_restraint(index_, request, Purpose::kDenyInbound)};
  }
  return {.is_floor = is_floor(request),
          .is_by_name = request.name != nullptr && !request.is_host_door,
          .allowed = find_grant(index_, request, Purpose::kAllow),
          .may_be_asked = find_grant(index_, request, Purpose::kAsk),
          .denied = find_restraint(index_, request, Purpose::kDeny),
          .asked = find_restraint(index_, request, Purpose::kAsk)};
}

Verdict Policy::conclude(const Findings& findings) const {
  if (findings.is_floor && !findings.allowed && !findings.may_be_asked) {
    return {.action = Action::kDeny,
            .reason = findings.is_by_name ? Reason::kRebind : Reason::kFloor};
  }
  if (findings.denied) {
    return {.action = Action::kDeny, .reason = Reason::kRule, .rule = findings.denied};
  }
  if (findings.is_inbound) return {.action = Action::kAllow, .reason = Reason::kDefault};
  if (findings.asked) {
    return {.action = Action::kAsk, .reason = Reason::kRule, .rule = findings.asked};
  }
  if (findings.allowed) {
    return {.action = Action::kAllow, .reason = Reason::kRule, .rule = findings.allowed};
  }
  if (input_.default_action == DefaultAction::kAllowPublic) {
    return {.action = Action::kAllow, .reason = Reason::kDefault};
  }
  const bool is_asked =
      input_.default_action == DefaultAction::kAsk || input_.mode == PolicyMode::kAsk;
  return {.action = is_asked ? Action::kAsk : Action::kDeny, .reason = Reason::kDefault};
}

Verdict Policy::evaluate(const Request& request) const { return conclude(look_up(request)); }

bool Policy::is_reported_only(const Request& request) const {
  const IpAddress& address = request.dialled.address;
  const bool is_never_dialled = class_of(request) == AddressClass::kMulticast ||
                                address.is_unspecified() || address.is_multicast_or_broadcast() ||
                                (address.is_v4() && address.octets()[0] == 0);
  return input_.mode == PolicyMode::kReport && !is_never_dialled;
}

std::optional<AllowedDestination> Policy::allow(const Request& request, Verdict& verdict) const {
  verdict = evaluate(request);
  if (verdict.action != Action::kAllow && !is_reported_only(request)) return std::nullopt;
  return AllowedDestination(request);
}

std::optional<AllowedDestination> Policy::allow_answered(const Request& request,
                                                         Verdict& verdict) const {
  verdict = evaluate(request);
  if (verdict.action == Action::kDeny && !is_reported_only(request)) return std::nullopt;
  return AllowedDestination(request);
}

// The findings for a name that led to some address of the class. Only public, lan and vpn are worth
// a lookup; where there is one anyway, other classes and address rules may let the flow pass too.
Policy::Findings Policy::suppose(const Request& request, AddressClass address_class,
                                 bool is_resolvable) const {
  const auto find = [&](Purpose purpose) {
    const RuleQuery query = query_of(request, purpose);
    Match match = index_.find_class(address_class, query);
    if (is_resolvable && prefix_grant(address_class) != PrefixGrant::kNone) {
      match = first_of(match, index_.find_any_prefix(query));
    }
    return first_of(match, find_name_grant(index_, request, purpose, address_class));
  };
  const auto restrain = [&](Purpose purpose) {
    const RuleQuery query = query_of(request, purpose);
    return first_of(index_.find_class(address_class, query),
                    index_.find_name(*request.name, query));
  };
  return {.is_floor = address_class != AddressClass::kPublic,
          .is_by_name = true,
          .allowed = find(Purpose::kAllow),
          .may_be_asked = find(Purpose::kAsk),
          .denied = restrain(Purpose::kDeny),
          .asked = restrain(Purpose::kAsk)};
}

Verdict Policy::judge_possible(const Request& request, bool is_resolvable) const {
  Verdict best = conclude(suppose(request, AddressClass::kPublic, is_resolvable));
  for (const AddressClass address_class : kOtherClasses) {
    if (best.action == Action::kAllow) break;
    if (!is_resolvable && !is_worth_a_lookup(address_class)) continue;
    const Verdict verdict = conclude(suppose(request, address_class, is_resolvable));
    const bool is_better = verdict.action == Action::kAllow ||
                           (verdict.action == Action::kAsk && best.action == Action::kDeny);
    if (is_better) best = verdict;
  }
  return best;
}

Verdict Policy::judge_name(const DnsName& name) const {
  Request request{.name = &name};
  std::optional<Verdict> best;
  index_.visit_changes(name, [&](Protocol protocol, std::uint16_t port) {
    request.protocol = protocol;
    request.dialled.port = std::max(port, std::uint16_t{1});
    const Verdict verdict = judge_possible(request, false);
    const bool is_better = !best || verdict.action == Action::kAllow ||
                           (verdict.action == Action::kAsk && best->action == Action::kDeny);
    if (is_better) best = verdict;
    return verdict.action == Action::kAllow;
  });
  return best.value_or(Verdict());
}

Verdict Policy::judge_unresolved(const Request& request) const {
  if (request.name == nullptr) return Verdict();
  const Verdict verdict = judge_possible(request, false);
  const bool is_decided =
      verdict.action == Action::kAllow || judge_name(*request.name).action == Action::kDeny;
  if (is_decided) return verdict;
  return judge_possible(request, true);
}

bool Policy::names_are_enforced() const {
  const bool is_open = input_.default_action == DefaultAction::kAllowPublic;
  return index_.has_names() || input_.default_action == DefaultAction::kAsk ||
         (!is_open && input_.mode != PolicyMode::kEnforce);
}

bool Policy::is_dns_type_allowed(const DnsName& name, std::uint16_t type) const {
  return type == kDnsTypeA || type == kDnsTypeAaaa || index_.is_dns_type_listed(name, type);
}

const Rule* Policy::rule_of(const Verdict& verdict) const {
  const bool is_known = verdict.rule && *verdict.rule < input_.rules.size();
  return is_known ? &input_.rules[*verdict.rule] : nullptr;
}

AllowedDestination Policy::upstream(const Endpoint& endpoint, Protocol protocol) {
  return AllowedDestination(Request{.protocol = protocol,
                                    .dialled = endpoint,
                                    .address_class = registry_class(endpoint.address)});
}

bool Policy::may_resolve_names() const {
  const bool is_default_enough =
      input_.default_action != DefaultAction::kDeny || input_.mode != PolicyMode::kEnforce;
  return is_default_enough || std::ranges::any_of(input_.rules, [](const Rule& rule) {
           return rule.action != Action::kDeny && makes_names_possible(rule.to);
         });
}

std::string Policy::remedy(const Request& request, const Verdict& verdict) const {
  const bool is_for_want_of_a_rule =
      verdict.action != Action::kAllow &&
      (verdict.reason == Reason::kFloor || verdict.reason == Reason::kDefault ||
       verdict.reason == Reason::kRebind || verdict.reason == Reason::kNoName);
  if (!is_for_want_of_a_rule || request.direction == Direction::kInbound) return {};
  const auto is_restrained = [&](Purpose purpose) {
    const bool is_unresolved = request.name != nullptr && request.dialled.address.is_unspecified();
    return is_unresolved ? index_.find_name(*request.name, query_of(request, purpose)).has_value()
                         : find_restraint(index_, request, purpose).has_value();
  };
  // Such a rule would still win.
  if (is_restrained(Purpose::kDeny) || is_restrained(Purpose::kAsk)) return {};
  const bool is_by_name =
      request.name != nullptr && !request.is_host_door && verdict.reason == Reason::kDefault;
  const std::optional<Destination> to = narrowest(request, is_by_name);
  if (!to) return {};
  const std::string text = format_destination(*to);
  // A guest may ask for names that no rule can hold.
  if (is_by_name && !parse_destination(text)) return {};
  return fmt::format("--allow {}", text);
}

}  // namespace cordon
