// The name pool: an address of a private prefix for each name that the guest may dial, so that a
// packet to such an address says which name is meant, whatever the protocol.
//
//   name  -> slot -> one IPv4 and one IPv6 address, the same for the sandbox's whole life
//   address -> slot -> name, by arithmetic
//
// A slot is never given back: a guest may keep an address for as long as it lives, and flows point
// at the name. When all are taken, a new name has none and does not resolve.
//
// Storage: one table for kMaxPooledNames, reserved at the start and touched page by page as names
// come (calloc() gives pages that nobody has written), so a sandbox that resolves ten names pays
// for ten. Nothing is allocated later and nothing ever moves.
#pragma once

#include <optional>

#include "netstack/address/ip_address.h"
#include "netstack/flow/table.h"
#include "netstack/wire/dns_name.h"

namespace cordon {

/// A name as a key: its letters' case does not count.
struct NameKey {
  DnsName name;  // in lower case

  [[nodiscard]] std::uint64_t hash(const SipKey& key) const { return siphash(key, name.wire()); }
  friend bool operator==(const NameKey&, const NameKey&) = default;
};

struct PooledName {
  const DnsName* name = nullptr;  // the pool's own, in lower case; lives as long as the pool
  IpAddress v4;
  IpAddress v6;
  [[nodiscard]] const IpAddress& address(Family family) const {
    return family == Family::kIpv4 ? v4 : v6;
  }
};

class NamePool {
 public:
  /// The IPv4 prefix gives as many names as it has addresses that end in neither 0 nor 255 (some
  /// programs take those for a network and its broadcast); an IPv6 prefix no longer than /96 has
  /// more than enough.
  NamePool(const Prefix& v4, const Prefix& v6, const SipKey& key);

  /// The name with its addresses, which it gets where it has none yet; nullopt: the pool is full.
  [[nodiscard]] std::optional<PooledName> give(const DnsName& name);
  /// The name, where it has addresses already.
  [[nodiscard]] std::optional<PooledName> find(const DnsName& name) const;

  /// Whether `address` is one of the pool's, given to a name or not.
  [[nodiscard]] bool contains(const IpAddress& address) const;
  /// The name that `address` was given to, or nullptr.
  [[nodiscard]] const DnsName* name_at(const IpAddress& address) const;

  [[nodiscard]] std::size_t size() const { return names_.size(); }

 private:
  struct Nothing {};

  [[nodiscard]] PooledName at(FlowId slot) const;

  Prefix v4_;
  Prefix v6_;
  FlowTable<NameKey, Nothing, 1> names_;
};

}  // namespace cordon
