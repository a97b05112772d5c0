#include "netstack/flow/admission.h"

namespace cordon {
namespace {

// RFC 1122 section 3.2.1.3 c. A subnet of two addresses has none (RFC 3021).
bool is_subnet_broadcast(const Prefix& subnet, const IpAddress& address) {
  if (!address.is_v4() || subnet.length() >= 31 || !subnet.contains(address)) return false;
  const std::uint32_t host_bits = ~std::uint32_t{0} >> subnet.length();
  return (address.v4_number() & host_bits) == host_bits;
}

Verdict refused_by_scope() { return Verdict{.action = Action::kDeny, .reason = Reason::kScope}; }

}  // namespace

Meaning Admission::meaning_of(const IpAddress& presented) const {
  if (presented.is_multicast_or_broadcast()) return Meaning::kMulticast;
  const LinkFamily& family = link(presented.family());
  if (presented == family.host_door) return Meaning::kHostDoor;
  if (presented == family.gateway || presented == family.resolver ||
      presented == config_.gateway_link_local) {
    return Meaning::kOurs;
  }
  if (is_subnet_broadcast(family.subnet, presented)) return Meaning::kMulticast;
  // The rest of the guest's own subnet is an empty link.
  return family.subnet.contains(presented) ? Meaning::kOurs : Meaning::kPlain;
}

bool Admission::is_guest(const IpAddress& address) const {
  return address == config_.v4.guest || address == config_.v6.guest ||
         address == config_.guest_link_local;
}

Judgement Admission::judge(Protocol protocol, const Endpoint& guest,
                           const Endpoint& presented) const {
  Judgement judgement;
  Request& request = judgement.request;
  request.protocol = protocol;
  request.guest = guest;
  request.dialled = presented;
  request.is_host_door = meaning_of(presented.address) == Meaning::kHostDoor;
  if (request.is_host_door) {
    request.dialled.address = loopback(presented.address.family());
    request.address_class = AddressClass::kLoopback;
  } else {
    request.address_class =
        classify(presented.address, routes_.lookup(presented.address), config_.policy.overrides());
  }
  // An IPv4 link-local address has no zone and can be dialled by whom a rule allows it; in IPv6 one
  // on either side ends the flow here.
  if (presented.address.is_v6() &&
      (guest.address.is_link_local() || presented.address.is_link_local())) {
    judgement.verdict = refused_by_scope();
    return judgement;
  }
  judgement.allowed = config_.policy.allow(request, judgement.verdict);
  return judgement;
}

// No address is a name's: nothing has been pooled or pinned, so no flow has one.
bool Admission::is_name_of(const Request& /*request*/, const DnsName& /*name*/) const {
  return false;
}

Judgement Admission::judge_inbound(Protocol protocol, const Endpoint& guest,
                                   const Endpoint& client) const {
  Judgement judgement;
  Request& request = judgement.request;
  request.direction = Direction::kInbound;
  request.protocol = protocol;
  request.guest = guest;
  request.dialled = client;
  request.address_class =
      classify(client.address, routes_.lookup(client.address), config_.policy.overrides());
  // One scope on both sides. The guest has no IPv4 link-local address; its IPv6 one is given to TCP
  // alone: a UDP answer would have to name the host's zone, which the flow does not know.
  if (client.address.is_link_local() != guest.address.is_link_local()) {
    judgement.verdict = refused_by_scope();
    return judgement;
  }
  judgement.allowed = config_.policy.allow(request, judgement.verdict);
  return judgement;
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
