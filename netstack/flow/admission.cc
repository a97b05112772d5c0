#include "netstack/flow/admission.h"

#include <algorithm>

namespace cordon {
namespace {

// RFC 1122 section 3.2.1.3 c. A subnet of two addresses has none (RFC 3021).
bool is_subnet_broadcast(const Prefix& subnet, const IpAddress& address) {
  if (!address.is_v4() || subnet.length() >= 31 || !subnet.contains(address)) return false;
  const std::uint32_t host_bits = ~std::uint32_t{0} >> subnet.length();
  return (address.v4_number() & host_bits) == host_bits;
}

Verdict refused_by(Reason reason) { return Verdict{.action = Action::kDeny, .reason = reason}; }

}  // namespace

AddressClass class_of(const IpAddress& address, RouteQuery& routes,
                      std::span<const ClassOverride> overrides) {
  AddressClass worst = classify(address, routes.lookup(address), overrides);
  // Whoever translates the outer address (NAT64, a 6to4 relay) may stand on this host's own link.
  const Unwrapped unwrapped = unwrap(address);
  for (std::size_t i = 0; i < unwrapped.count; ++i) {
    const IpAddress& inner = unwrapped.inner[i];
    worst = std::min(worst, classify(inner, routes.lookup(inner), overrides));
  }
  return worst;
}

Meaning Admission::meaning_of(const IpAddress& presented) const {
  if (presented.is_multicast_or_broadcast()) return Meaning::kMulticast;
  const LinkFamily& family = link(presented.family());
  if (presented == family.host_door) return Meaning::kHostDoor;
  if (presented == family.gateway || presented == family.resolver ||
      presented == config_.gateway_link_local) {
    return Meaning::kOurs;
  }
  if (is_subnet_broadcast(family.subnet, presented)) return Meaning::kMulticast;
  // A guest may keep an address of the pool for longer than names are enforced.
  const bool is_name =
      are_names_enforced() ? pool_.contains(presented) : pool_.name_at(presented) != nullptr;
  if (is_name) return Meaning::kName;
  // The rest of the guest's own subnet is an empty link.
  return family.subnet.contains(presented) ? Meaning::kOurs : Meaning::kPlain;
}

bool Admission::is_guest(const IpAddress& address) const {
  return address == config_.v4.guest || address == config_.v6.guest ||
         address == config_.guest_link_local;
}

Judgement Admission::judge(Instant now, Protocol protocol, const Endpoint& guest,
                           const Endpoint& presented) const {
  Request request{.protocol = protocol, .guest = guest, .dialled = presented};
  request.is_host_door = meaning_of(presented.address) == Meaning::kHostDoor;
  if (request.is_host_door) request.dialled.address = loopback(presented.address.family());
  request.is_answered = is_answered_;
  return rejudge(now, request);
}

Judgement Admission::rejudge(Instant now, const Request& request) const {
  const Judgement judgement = judge_again(request);
  // What only the floor or the default is against, a name may open.
  const bool may_be_named = judgement.verdict.action != Action::kAllow &&
                            (judgement.verdict.reason == Reason::kDefault ||
                             judgement.verdict.reason == Reason::kFloor) &&
                            request.name == nullptr && name_mode() == NameSettings::Mode::kPin;
  return may_be_named ? judge_as_named(now, judgement) : judgement;
}

Judgement Admission::judge_as_named(Instant now, const Judgement& plain) const {
  Judgement first = plain;
  const bool is_for_want_of_a_name =
      first.verdict.action == Action::kDeny && first.verdict.reason == Reason::kDefault;
  if (is_for_want_of_a_name) first.verdict.reason = Reason::kNoName;
  bool has_pin = false;
  for (const NamePins::Pin& pin : pins_.at(plain.request.dialled.address)) {
    if (pin.until < now) continue;
    Request request = plain.request;
    request.name = pin.name;
    const Judgement judgement = judge_again(request);
    if (judgement.verdict.action == Action::kAllow) return judgement;
    if (!has_pin) first = judgement;
    has_pin = true;
  }
  return first;
}

Judgement Admission::judge_name(Protocol protocol, const Endpoint& guest,
                                const Endpoint& presented) const {
  return judge_name_again(protocol, guest, presented, is_answered_);
}

Judgement Admission::judge_name_again(Protocol protocol, const Endpoint& guest,
                                      const Endpoint& presented, bool is_answered) const {
  Judgement judgement;
  Request& request = judgement.request;
  request.protocol = protocol;
  request.guest = guest;
  request.dialled = presented;
  request.name = pool_.name_at(presented.address);
  request.is_answered = is_answered;
  if (request.name == nullptr) {
    judgement.verdict = Verdict{.action = Action::kDeny, .reason = Reason::kNoName};
  } else if (guest.address.is_link_local()) {
    judgement.verdict = refused_by(Reason::kScope);
  } else {
    judgement.verdict = config_.policy.judge_unresolved(request);
  }
  const bool is_allowed = judgement.verdict.action == Action::kAsk && request.is_answered;
  if (is_allowed) judgement.verdict.action = Action::kAllow;
  return judgement;
}

bool Admission::may_resolve(const Verdict& verdict) const {
  if (verdict.action == Action::kAllow) return true;
  return config_.policy.mode() == PolicyMode::kReport && verdict.reason != Reason::kNoName &&
         verdict.reason != Reason::kScope;
}

Judgement Admission::judge_resolved(const Request& by_name, const IpAddress& address) const {
  Request request = by_name;
  request.dialled.address = address;
  return judge_again(request);
}

Judgement Admission::judge_again(const Request& request) const {
  Judgement judgement{.request = request};
  const IpAddress& dialled = request.dialled.address;
  judgement.request.address_class = request.is_host_door
                                        ? AddressClass::kLoopback
                                        : class_of(dialled, routes_, config_.policy.overrides());
  // An IPv4 link-local address has no zone and can be dialled by whom a rule allows it; in IPv6 one
  // on either side ends the flow here.
  const bool is_link_local = request.guest.address.is_link_local() || dialled.is_link_local();
  if (dialled.is_v6() && is_link_local) {
    judgement.verdict = refused_by(Reason::kScope);
    return judgement;
  }
  judgement.allowed = config_.policy.allow(judgement.request, judgement.verdict);
  return judgement;
}

bool Admission::is_name_of(const Request& request, const DnsName& name) const {
  if (request.name == nullptr) return false;
  if (*request.name == name) return true;
  if (name_mode() != NameSettings::Mode::kPin) return false;
  for (const NamePins::Pin& pin : pins_.at(request.dialled.address)) {
    if (*pin.name != name) continue;
    Request by_name = request;
    by_name.name = pin.name;
    return judge_again(by_name).allowed.has_value();
  }
  return false;
}

NameSettings::Mode Admission::name_mode() const {
  if (config_.names.mode != NameSettings::Mode::kByPolicy) return config_.names.mode;
  return config_.policy.names_are_enforced() ? NameSettings::Mode::kMap : NameSettings::Mode::kOpen;
}

bool Admission::are_names_enforced() const {
  const NameSettings::Mode mode = name_mode();
  return mode == NameSettings::Mode::kMap || mode == NameSettings::Mode::kPin;
}

Judgement Admission::judge_arrival(Protocol protocol, const Endpoint& guest,
                                   const Arrival& arrival) const {
  Judgement judgement = judge_inbound(protocol, guest, arrival.client);
  const IpAddress& client = arrival.client.address;
  const bool is_mixed = arrival.local && arrival.local->is_link_local() != client.is_link_local();
  const bool is_stranger =
      !arrival.sources.empty() && std::ranges::none_of(arrival.sources, [&](const Prefix& source) {
        return source.contains(client);
      });
  if (!is_mixed && !is_stranger) return judgement;
  judgement.allowed.reset();
  judgement.verdict = refused_by(is_mixed ? Reason::kScope : Reason::kSource);
  return judgement;
}

Judgement Admission::judge_inbound(Protocol protocol, const Endpoint& guest,
                                   const Endpoint& client) const {
  Judgement judgement;
  Request& request = judgement.request;
  request.direction = Direction::kInbound;
  request.protocol = protocol;
  request.guest = guest;
  request.dialled = client;
  request.address_class = class_of(client.address, routes_, config_.policy.overrides());
  // One scope on the guest's side. It has no IPv4 link-local address.
  if (client.address.is_link_local() != guest.address.is_link_local()) {
    judgement.verdict = refused_by(Reason::kScope);
    return judgement;
  }
  judgement.allowed = config_.policy.allow(request, judgement.verdict);
  return judgement;
}

bool Admission::has_route(const IpAddress& address) const {
  return routes_.lookup(address).type != RouteFacts::Type::kUnreachable;
}

bool Admission::is_local_address_lost(const std::optional<Endpoint>& local) const {
  return local && !local->address.is_unspecified() &&
         routes_.lookup(local->address).type != RouteFacts::Type::kLocal;
}

const IpAddress& Admission::guest_for(const IpAddress& client) const {
  if (client.is_v6() && client.is_link_local()) return config_.guest_link_local;
  return link(client.family()).guest;
}

Endpoint Admission::present_client(const Endpoint& client) const {
  if (!client.address.is_loopback()) return client;
  return Endpoint{.address = link(client.address.family()).gateway, .port = client.port};
}

Endpoint Admission::present_peer(const Endpoint& peer) const {
  if (!peer.address.is_loopback()) return peer;
  return Endpoint{.address = link(peer.address.family()).host_door, .port = peer.port};
}

}  // namespace cordon
