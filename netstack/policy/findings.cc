#include "netstack/policy/findings.h"

#include <algorithm>
#include <tuple>

namespace cordon {
namespace {

RuleQuery query_of(const Request& request, Purpose purpose) {
  return {.purpose = purpose, .protocol = request.protocol, .port = request.dialled.port};
}

// Name rules for public addresses and for private ones are asked for by different purposes; nobody
// grants another class by name.
Match find_name_grant(const RuleIndex& index, const NameIndex::Places& names, RuleQuery query,
                      AddressClass address_class) {
  if (address_class == AddressClass::kPublic) return index.find_name(names, query);
  if (address_class != AddressClass::kLan && address_class != AddressClass::kVpn) return {};
  query.purpose = query.purpose == Purpose::kAllow ? Purpose::kAllowPrivate : Purpose::kAskPrivate;
  return index.find_name(names, query);
}

// One outbound request among the rules: its places, found once.
class Walk {
 public:
  Walk(const RuleIndex& index, const Request& request)
      : index_(index),
        request_(request),
        address_class_(judged_class(request)),
        place_(index.place_of(request.dialled.address)),
        unwrapped_(unwrap(request.dialled.address)) {
    if (request.name != nullptr) names_ = index.places_of(*request.name);
    for (std::size_t i = 0; i < unwrapped_.count; ++i) {
      inner_[i] = index.place_of(unwrapped_.inner[i]);
    }
  }

  // What opens a floor class, and lets a public address be dialled: kAllow or kAsk.
  [[nodiscard]] Match grant(Purpose purpose) const {
    if (!index_.has(purpose)) return {};
    const RuleQuery query = query_of(request_, purpose);
    const Match match = std::min(index_.find_class(address_class_, query),
                                 find_name_grant(index_, names_, query, address_class_));
    switch (prefix_grant(address_class_)) {
      case PrefixGrant::kNone:
        return match;
      case PrefixGrant::kOneAddress:
        return std::min(match, index_.find_one_address(place_, query));
      case PrefixGrant::kAny:
        return std::min(match, index_.find_prefix(place_, query));
    }
    return match;
  }

  // What restrains a flow: any rule that holds its class, its address, the one inside it, or its
  // name.
  [[nodiscard]] Match restraint(Purpose purpose) const {
    if (!index_.has(purpose)) return {};
    const RuleQuery query = query_of(request_, purpose);
    Match match =
        std::min(index_.find_class(address_class_, query), index_.find_prefix(place_, query));
    for (std::size_t i = 0; i < unwrapped_.count; ++i) {
      match = std::min(match, index_.find_prefix(inner_[i], query));
    }
    return std::min(match, index_.find_name(names_, query));
  }

 private:
  const RuleIndex& index_;
  const Request& request_;
  AddressClass address_class_;
  PrefixIndex::Place place_;
  Unwrapped unwrapped_;
  std::array<PrefixIndex::Place, std::tuple_size_v<decltype(Unwrapped::inner)>> inner_{};
  NameIndex::Places names_;
};

Findings look_up_door(const RuleIndex& index, const Request& request) {
  const auto find = [&](Purpose purpose) { return index.find_door(query_of(request, purpose)); };
  if (request.direction == Direction::kInbound) {
    return {.is_inbound = true, .denied = find(Purpose::kDenyInbound)};
  }
  return {.address_class = judged_class(request),
          .is_floor = true,
          .allowed = find(Purpose::kAllow),
          .may_be_asked = find(Purpose::kAsk),
          .denied = find(Purpose::kDeny),
          .asked = find(Purpose::kAsk)};
}

}  // namespace

AddressClass judged_class(const Request& request) {
  const IpAddress& address = request.dialled.address;
  const bool is_this_network = address.is_v4() && address.octets()[0] == 0;
  return is_this_network || address.is_unspecified() ? AddressClass::kSelf : request.address_class;
}

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

Findings look_up(const RuleIndex& index, const Request& request) {
  if (request.is_host_door) return look_up_door(index, request);
  const Walk walk(index, request);
  Findings findings{.address_class = judged_class(request)};
  if (request.direction == Direction::kInbound) {
    findings.is_inbound = true;
    findings.denied = walk.restraint(Purpose::kDenyInbound);
    return findings;
  }
  findings.is_floor = findings.address_class != AddressClass::kPublic;
  findings.is_by_name = request.name != nullptr;
  findings.allowed = walk.grant(Purpose::kAllow);
  findings.may_be_asked = walk.grant(Purpose::kAsk);
  findings.denied = walk.restraint(Purpose::kDeny);
  findings.asked = walk.restraint(Purpose::kAsk);
  return findings;
}

Findings suppose(const RuleIndex& index, const Request& request, const NameIndex::Places& names,
                 AddressClass address_class, Supposed by_prefix, bool is_resolvable) {
  const auto grant = [&](Purpose purpose) {
    const RuleQuery query = query_of(request, purpose);
    const Match by_name = find_name_grant(index, names, query, address_class);
    const bool counts_class = is_resolvable || address_class == AddressClass::kPublic;
    return counts_class ? std::min(index.find_class(address_class, query), by_name) : by_name;
  };
  const auto restraint = [&](Purpose purpose) {
    const RuleQuery query = query_of(request, purpose);
    return std::min(index.find_class(address_class, query), index.find_name(names, query));
  };
  Findings findings{.address_class = address_class,
                    .is_floor = address_class != AddressClass::kPublic,
                    .is_by_name = true,
                    .allowed = grant(Purpose::kAllow),
                    .may_be_asked = grant(Purpose::kAsk),
                    .denied = restraint(Purpose::kDeny),
                    .asked = restraint(Purpose::kAsk)};
  if (by_prefix == Supposed::kNone || prefix_grant(address_class) == PrefixGrant::kNone) {
    return findings;
  }
  if (by_prefix == Supposed::kAllowed) {
    const Match any = index.find_any_prefix(query_of(request, Purpose::kAllow));
    findings.allowed = std::min(findings.allowed, any);
    return findings;
  }
  const Match any = index.find_any_prefix(query_of(request, Purpose::kAsk));
  findings.may_be_asked = std::min(findings.may_be_asked, any);
  findings.asked = std::min(findings.asked, any);
  return findings;
}

Match find_restraint(const RuleIndex& index, const Request& request, Purpose purpose) {
  if (request.is_host_door) return index.find_door(query_of(request, purpose));
  return Walk(index, request).restraint(purpose);
}

}  // namespace cordon
