// What the rules say about one request: the walk that enforcement and explain share. A verdict is
// made of findings and of the policy's default and mode, and of nothing else.
#pragma once

#include "netstack/address/classes.h"
#include "netstack/policy/lane_table.h"
#include "netstack/policy/request.h"
#include "netstack/policy/rule_index.h"

namespace cordon {

struct Findings {
  AddressClass address_class = AddressClass::kPublic;  // that counts, see judged_class()
  bool is_inbound = false;
  bool is_floor = false;
  bool is_by_name = false;
  Match allowed;       // opens the floor too
  Match may_be_asked;  // opens the floor for a question
  Match denied;
  Match asked;
};

/// 0.0.0.0/8 and :: are the host's own (RFC 1122 3.2.1.3, RFC 4291 2.5.2), whatever class came
/// along.
[[nodiscard]] AddressClass judged_class(const Request& request);

/// Whether rules for a prefix grant addresses of the class: never, for the one address, or always.
enum class PrefixGrant : std::uint8_t { kNone, kOneAddress, kAny };
[[nodiscard]] PrefixGrant prefix_grant(AddressClass address_class);

/// For a request whose address is known.
[[nodiscard]] Findings look_up(const RuleIndex& index, const Request& request);

/// Which address rule might hold an address that is not known yet.
enum class Supposed : std::uint8_t { kNone, kAllowed, kAsked };

/// For a flow by name that would lead to some address of the class, held by no address rule or by
/// one that allows or asks (any that covers protocol and port). Request::name is set, `names` are
/// its places. Where the name is not `is_resolvable` for another reason, of the rules for classes
/// only those for @public open anything: to find out whether a name leads to the local network is
/// to tell it to whoever answers for it.
[[nodiscard]] Findings suppose(const RuleIndex& index, const Request& request,
                               const NameIndex::Places& names, AddressClass address_class,
                               Supposed by_prefix, bool is_resolvable);

/// Whether a rule restrains (kDeny, kAsk) the request, whatever allows it.
[[nodiscard]] Match find_restraint(const RuleIndex& index, const Request& request, Purpose purpose);

}  // namespace cordon
