#include "netstack/policy/policy.h"

#include <algorithm>

#include <fmt/format.h>

namespace cordon {
namespace {

using Match = std::optional<std::uint32_t>;

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

Match find_allow(const RuleIndex& index, const Request& request) {
  RuleQuery query = query_of(request, Purpose::kAllow);
  if (request.is_host_door) return index.find_door(query);
  const AddressClass address_class = class_of(request);
  const Match by_class = index.find_class(address_class, query);
  const PrefixGrant grant = prefix_grant(address_class);
  if (grant == PrefixGrant::kNone) return by_class;
  query.is_exact_only = grant == PrefixGrant::kOneAddress;
  return first_of(by_class, index.find_prefix(request.dialled.address, query));
}

Match find_deny(const RuleIndex& index, const Request& request, Purpose purpose) {
  const RuleQuery query = query_of(request, purpose);
  if (request.is_host_door) return index.find_door(query);
  const IpAddress& address = request.dialled.address;
  Match match =
      first_of(index.find_class(class_of(request), query), index.find_prefix(address, query));
  const Unwrapped unwrapped = unwrap(address);
  for (std::size_t i = 0; i < unwrapped.count; ++i) {
    match = first_of(match, index.find_prefix(unwrapped.inner[i], query));
  }
  return match;
}

bool is_floor(const Request& request) {
  return request.is_host_door || class_of(request) != AddressClass::kPublic;
}

bool names_public_or_private_space(const Destination& to) {
  return to.kind == Destination::Kind::kClass &&
         (to.address_class == AddressClass::kPublic || to.address_class == AddressClass::kLan ||
          to.address_class == AddressClass::kVpn);
}

// The narrowest destination that the user could allow to let the request pass.
std::optional<Destination> narrowest(const Request& request) {
  const bool is_icmp = request.protocol == Protocol::kIcmp;
  Destination to;
  to.protocol = request.protocol;
  if (!is_icmp && request.dialled.port != 0) {
    to.ports = {.first = request.dialled.port, .last = request.dialled.port};
  }
  if (request.is_host_door) {
    if (to.ports.is_all()) return std::nullopt;
    to.kind = Destination::Kind::kHostDoor;
    return to;
  }
  to.address_class = class_of(request);
  if (prefix_grant(to.address_class) == PrefixGrant::kNone) {
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
  }
  return "unknown";
}

Policy::Policy(PolicyInput input) : input_(std::move(input)), index_(input_.rules) {}

Verdict Policy::evaluate(const Request& request) const {
  if (request.direction == Direction::kInbound) {
    const Match denied = find_deny(index_, request, Purpose::kDenyInbound);
    if (denied) return {.action = Action::kDeny, .reason = Reason::kRule, .rule = denied};
    return {.action = Action::kAllow, .reason = Reason::kDefault};
  }
  const Match allowed = find_allow(index_, request);
  const bool has_floor = is_floor(request);
  if (has_floor && !allowed) return {.action = Action::kDeny, .reason = Reason::kFloor};
  const Match denied = find_deny(index_, request, Purpose::kDeny);
  if (denied) return {.action = Action::kDeny, .reason = Reason::kRule, .rule = denied};
  if (allowed) return {.action = Action::kAllow, .reason = Reason::kRule, .rule = allowed};
  const bool is_open = input_.default_action == DefaultAction::kAllowPublic;
  return {.action = is_open ? Action::kAllow : Action::kDeny, .reason = Reason::kDefault};
}

std::optional<AllowedDestination> Policy::allow(const Request& request, Verdict& verdict) const {
  verdict = evaluate(request);
  if (verdict.action != Action::kAllow) return std::nullopt;
  return AllowedDestination(request);
}

AllowedDestination Policy::upstream(const Endpoint& endpoint, Protocol protocol) {
  return AllowedDestination(Request{.protocol = protocol,
                                    .dialled = endpoint,
                                    .address_class = registry_class(endpoint.address)});
}

bool Policy::may_resolve_names() const {
  if (input_.default_action == DefaultAction::kAllowPublic) return true;
  return std::ranges::any_of(input_.rules, [](const Rule& rule) {
    return rule.action == Action::kAllow && names_public_or_private_space(rule.to);
  });
}

std::string Policy::remedy(const Request& request, const Verdict& verdict) const {
  const bool is_for_want_of_a_rule =
      verdict.action == Action::kDeny &&
      (verdict.reason == Reason::kFloor || verdict.reason == Reason::kDefault);
  if (!is_for_want_of_a_rule || request.direction == Direction::kInbound) return {};
  // A deny rule would still win.
  if (find_deny(index_, request, Purpose::kDeny)) return {};
  const std::optional<Destination> to = narrowest(request);
  if (!to) return {};
  return fmt::format("--allow {}", format_destination(*to));
}

}  // namespace cordon
