#include "tests/unit/policy/random_policy.h"

namespace cordon::random_policy {
namespace {

AddressClass plain_class(const Request& request) {
  const IpAddress& address = request.dialled.address;
  if (Prefix(IpAddress(), 8).contains(address)) return AddressClass::kSelf;
  if (address == IpAddress::v6({})) return AddressClass::kSelf;
  return request.address_class;
}

bool is_tcp_web(const Request& request) {
  return request.protocol == Protocol::kTcp &&
         (request.dialled.port == 80 || request.dialled.port == 443);
}

bool covers_protocol_and_port(const Rule& rule, bool is_quic_by_name, const Request& request) {
  const Destination& to = rule.to;
  const bool is_name = to.kind == Destination::Kind::kName;
  const bool has_no_port_given = is_name && to.ports == PortSet::web();
  if (is_name && is_quic_by_name && rule.action != Action::kDeny && to.ports.contains(443) &&
      request.protocol == Protocol::kUdp && request.dialled.port == 443) {
    // A short ask rule is about every protocol, or about tcp: QUIC goes with the latter. An allow
    // rule goes for tcp where it has no protocol of its own and no port.
    if (has_no_port_given && rule.action == Action::kAllow) return true;
    if (to.protocol == Protocol::kTcp) return true;
  }
  if (has_no_port_given && rule.action == Action::kAllow) return is_tcp_web(request);
  if (to.protocol && *to.protocol != request.protocol) return false;
  if (has_no_port_given) return true;
  if (request.protocol == Protocol::kIcmp || request.direction == Direction::kInbound) {
    return to.ports.is_all();
  }
  return to.ports.contains(request.dialled.port);
}

bool is_below(const DnsName& name, const DnsName& top) {
  return top.is_root() ? !name.is_root()
                       : ("." + name.lower_case().to_string()).ends_with("." + top.to_string()) &&
                             !(name == top);
}

bool is_named(const NamePattern& pattern, const Request& request) {
  if (request.name == nullptr || request.direction == Direction::kInbound) return false;
  const bool is_same = request.name->lower_case().to_string() == pattern.name.to_string();
  switch (pattern.kind) {
    case NamePattern::Kind::kExact:
      return is_same;
    case NamePattern::Kind::kSubdomains:
      return is_below(*request.name, pattern.name);
    case NamePattern::Kind::kSuffix:
      return is_same || is_below(*request.name, pattern.name);
  }
  return false;
}

bool is_demanding(const Rule& rule) { return !rule.limits.is_none() || rule.needs_tls; }

}  // namespace

bool has_plain_floor(const Request& request) {
  return request.is_host_door || plain_class(request) != AddressClass::kPublic;
}

bool plain_grants(const Rule& rule, bool is_quic_by_name, const Request& request) {
  const Destination& to = rule.to;
  if (rule.action == Action::kDeny) return false;
  if (!covers_protocol_and_port(rule, is_quic_by_name, request)) return false;
  if (request.is_host_door) return to.kind == Destination::Kind::kHostDoor;
  const AddressClass address_class = plain_class(request);
  switch (to.kind) {
    case Destination::Kind::kHostDoor:
      return false;
    case Destination::Kind::kClass:
      return to.address_class == address_class;
    case Destination::Kind::kName: {
      const bool is_private =
          address_class == AddressClass::kLan || address_class == AddressClass::kVpn;
      const bool may_be_private =
          rule.may_be_private && to.pattern.kind == NamePattern::Kind::kExact;
      return is_named(to.pattern, request) &&
             (address_class == AddressClass::kPublic || (is_private && may_be_private));
    }
    case Destination::Kind::kPrefix:
      break;
  }
  if (address_class == AddressClass::kSelf || address_class == AddressClass::kMulticast) {
    return false;
  }
  const bool is_one_address = to.prefix.length() == to.prefix.address().bits();
  if (address_class == AddressClass::kMetadata && !is_one_address) return false;
  return to.prefix.contains(request.dialled.address);
}

bool plain_restrains(const Rule& rule, bool is_quic_by_name, const Request& request) {
  const Destination& to = rule.to;
  if (rule.action == Action::kAllow) return false;
  if (request.direction == Direction::kInbound && rule.action != Action::kDeny) return false;
  if (!covers_protocol_and_port(rule, is_quic_by_name, request)) return false;
  if (request.is_host_door) return to.kind == Destination::Kind::kHostDoor;
  if (to.kind == Destination::Kind::kClass) return to.address_class == plain_class(request);
  if (to.kind == Destination::Kind::kName) return is_named(to.pattern, request);
  if (to.kind != Destination::Kind::kPrefix) return false;
  if (to.prefix.contains(request.dialled.address)) return true;
  const Unwrapped unwrapped = unwrap(request.dialled.address);
  return std::any_of(unwrapped.inner.begin(),
                     unwrapped.inner.begin() + static_cast<std::ptrdiff_t>(unwrapped.count),
                     [&](const IpAddress& inner) { return to.prefix.contains(inner); });
}

Verdict plain_evaluate(const PolicyInput& input, const Request& request) {
  std::optional<std::uint32_t> first[3];  // by Action
  bool is_opened = false;
  for (std::uint32_t i = 0; i < input.rules.size(); ++i) {
    const Rule& rule = input.rules[i];
    const bool grants = plain_grants(rule, input.is_quic_by_name, request);
    const bool counts = rule.action == Action::kAllow
                            ? grants
                            : plain_restrains(rule, input.is_quic_by_name, request);
    is_opened = is_opened || grants;
    std::optional<std::uint32_t>& best = first[static_cast<std::size_t>(rule.action)];
    if (!counts) continue;
    if (!best || (is_demanding(rule) && !is_demanding(input.rules[*best]))) best = i;
  }
  const auto by_rule = [&](Action action) {
    return Verdict{
        .action = action, .reason = Reason::kRule, .rule = first[static_cast<std::size_t>(action)]};
  };
  const auto has = [&](Action action) {
    return first[static_cast<std::size_t>(action)].has_value();
  };
  if (request.direction == Direction::kInbound) {
    if (has(Action::kDeny)) return by_rule(Action::kDeny);
    return {.action = Action::kAllow, .reason = Reason::kDefault};
  }
  if (has_plain_floor(request) && !is_opened) {
    const bool is_by_name = request.name != nullptr && !request.is_host_door;
    return {.action = Action::kDeny, .reason = is_by_name ? Reason::kRebind : Reason::kFloor};
  }
  for (const Action action : {Action::kDeny, Action::kAsk, Action::kAllow}) {
    if (has(action)) return by_rule(action);
  }
  Verdict verdict{.action = Action::kDeny, .reason = Reason::kDefault};
  if (input.default_action == DefaultAction::kAllowPublic) verdict.action = Action::kAllow;
  if (input.default_action == DefaultAction::kAsk) verdict.action = Action::kAsk;
  if (verdict.action == Action::kDeny && input.mode == PolicyMode::kAsk) {
    verdict.action = Action::kAsk;
  }
  return verdict;
}

std::string show(const PolicyInput& input, const Request& request) {
  std::string text(default_action_name(input.default_action));
  text += " mode=" + std::string(mode_name(input.mode));
  if (input.is_quic_by_name) text += " quic";
  for (const Rule& rule : input.rules) {
    text += rule.action == Action::kAllow ? " +" : rule.action == Action::kAsk ? " ?" : " -";
    text += format_destination(rule.to);
    if (rule.may_be_private) text += "!private";
    if (is_demanding(rule)) text += "!up";
  }
  text += " | ";
  text += protocol_name(request.protocol);
  text += " " + request.dialled.to_string() + " ";
  text += class_name(request.address_class);
  if (request.name != nullptr) text += " " + request.name->to_string();
  if (request.direction == Direction::kInbound) text += " inbound";
  if (request.is_host_door) text += " door";
  return text;
}

}  // namespace cordon::random_policy
