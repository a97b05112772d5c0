// The question that the policy answers: one flow, at its first packet.
#pragma once

#include <cstdint>
#include <string_view>

#include "netstack/address/classes.h"
#include "netstack/address/ip_address.h"
#include "netstack/wire/dns_name.h"

namespace cordon {

enum class Protocol : std::uint8_t { kTcp, kUdp, kIcmp };
enum class Direction : std::uint8_t { kOutbound, kInbound };

/// "tcp", "udp", "icmp".
[[nodiscard]] std::string_view protocol_name(Protocol protocol);

struct Request {
  Direction direction = Direction::kOutbound;
  Protocol protocol = Protocol::kTcp;
  Endpoint guest;    // as the guest's packet says
  Endpoint dialled;  // what the host would dial, or the remote client of an inbound flow
  AddressClass address_class = AddressClass::kReserved;  // of `dialled`
  bool is_host_door = false;  // the guest dialled the host door's address
  /// The name that the guest dialled, where it is known: by an address that stands for one. Whose
  /// it is outlives every flow.
  const DnsName* name = nullptr;
  /// Somebody who was asked about this flow has said yes: what would be asked is allowed.
  bool is_answered = false;
};

/// A flow as its guest sees it: the class of what it dials may have changed meanwhile.
[[nodiscard]] inline bool is_same_flow(const Request& one, const Request& other) {
  return one.direction == other.direction && one.protocol == other.protocol &&
         one.guest == other.guest && one.dialled == other.dialled && one.name == other.name;
}

}  // namespace cordon
