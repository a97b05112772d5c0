// Name pins: which names were answered with which address. Where a guest gets real addresses
// (mode "pin"), this is how a flow to one of them is known to be meant for an allowed name.
//
// A pin holds for max(TTL, kNamePin) from the last answer that had it: programs keep addresses for
// longer than they may. A flow needs its pin only to begin; after that it keeps its name itself.
//
// Many names may share an address, as on a CDN: up to kMaxNamesPerAddress are remembered for each,
// and the one that ends first makes room. Addresses too make room for new ones, the least recently
// answered first. All memory is reserved at the start (flow/table.h).
#pragma once

#include <span>

#include "netstack/address/ip_address.h"
#include "netstack/flow/limits.h"
#include "netstack/flow/table.h"
#include "netstack/wire/dns_name.h"

namespace cordon {

class NamePins {
 public:
  struct Pin {
    const DnsName* name = nullptr;  // of the name pool
    Instant until{};
  };

  explicit NamePins(const SipKey& key);

  /// `name` was answered with `address`, for `ttl`.
  void pin(Instant now, const IpAddress& address, const DnsName& name, Duration ttl);

  /// All pins of an address, those that have ended among them, in no order.
  [[nodiscard]] std::span<const Pin> at(const IpAddress& address) const;

 private:
  struct AddressKey {
    IpAddress address;
    [[nodiscard]] std::uint64_t hash(const SipKey& key) const {
      return siphash(key, address.octets());
    }
    friend bool operator==(const AddressKey&, const AddressKey&) = default;
  };
  struct Names {
    std::array<Pin, kMaxNamesPerAddress> pins{};
    std::size_t count = 0;
  };

  FlowTable<AddressKey, Names, 1> addresses_;
};

}  // namespace cordon
