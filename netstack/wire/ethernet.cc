#include "netstack/wire/ethernet.h"

namespace cordon {
namespace {

// 802.3 lengths (below 1,536), VLAN tags (0x8100, 0x88a8) and every other protocol are refused: the
// guest's link carries three.
std::optional<EtherType> known_ether_type(std::uint16_t value) {
  switch (value) {
    case 0x0800:
      return EtherType::kIpv4;
    case 0x0806:
      return EtherType::kArp;
    case 0x86dd:
      return EtherType::kIpv6;
    default:
      return std::nullopt;
  }
}

}  // namespace

Parsed<EthernetFrame> parse_ethernet(Bytes frame) {
  const std::optional<EthernetHeader> header = load<EthernetHeader>(frame);
  if (!header) return std::unexpected(Drop::kTruncated);
  const std::optional<EtherType> ether_type = known_ether_type(header->ether_type.get());
  if (!ether_type) return std::unexpected(Drop::kBadEtherType);
  return EthernetFrame{.destination = header->destination,
                       .source = header->source,
                       .ether_type = *ether_type,
                       .payload = frame.subspan(kEthernetHeaderSize)};
}

}  // namespace cordon
