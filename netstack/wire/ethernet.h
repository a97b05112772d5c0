// Ethernet II frames (IEEE 802.3 clause 3, RFC 894, RFC 2464).
#pragma once

#include <array>
#include <cstdint>

#include "netstack/wire/drop.h"
#include "netstack/wire/endian.h"

namespace cordon {

using MacAddress = std::array<std::uint8_t, 6>;

inline constexpr MacAddress kBroadcastMac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
inline constexpr std::size_t kEthernetHeaderSize = 14;

enum class EtherType : std::uint16_t { kIpv4 = 0x0800, kArp = 0x0806, kIpv6 = 0x86dd };

struct EthernetHeader {
  MacAddress destination{};
  MacAddress source{};
  Be16 ether_type;
};
static_assert(sizeof(EthernetHeader) == kEthernetHeaderSize);

struct EthernetFrame {
  MacAddress destination{};
  MacAddress source{};
  EtherType ether_type = EtherType::kIpv4;
  Bytes payload;  // may carry padding behind the packet; the IP lengths decide
};

/// kTruncated below 14 octets; kBadEtherType for 802.3 lengths, VLAN tags and anything else.
[[nodiscard]] Parsed<EthernetFrame> parse_ethernet(Bytes frame);

}  // namespace cordon
