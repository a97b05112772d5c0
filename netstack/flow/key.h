// What makes two packets one flow: both endpoints as the guest sees them. Each protocol has a table
// of its own, so the protocol is not part of the key. For ICMP echo the guest's "port" is the
// identifier and the remote's is 0.
#pragma once

#include <array>
#include <cstdint>

#include "netstack/address/ip_address.h"
#include "netstack/base/siphash.h"

namespace cordon {

struct FlowKey {
  Endpoint guest;
  Endpoint remote;  // as the guest sees it
  static constexpr bool kIsValue = true;

  [[nodiscard]] std::uint64_t hash(const SipKey& key) const;
  friend bool operator==(const FlowKey&, const FlowKey&) = default;
};

/// One guest endpoint: the mapping of RFC 4787. A flow by name has one of its own, for two names
/// may lead to one remote, whose answers must find their flow.
struct MappingKey {
  Endpoint guest;
  Endpoint name;  // of a flow by name: the pool's address and the port
  static constexpr bool kIsValue = true;

  [[nodiscard]] std::uint64_t hash(const SipKey& key) const;
  friend bool operator==(const MappingKey&, const MappingKey&) = default;
};

}  // namespace cordon
