#include "netstack/wire/udp.h"

#include "netstack/wire/checksum.h"

namespace cordon {
namespace {

bool is_checksum_right(const IpPacket& packet, const UdpHeader& header, Bytes datagram) {
  if (header.checksum.get() == 0) return packet.source.is_v4();  // RFC 768; RFC 8200 section 8.1
  const std::uint16_t pseudo = pseudo_header_sum(packet.source, packet.destination, packet.protocol,
                                                 static_cast<std::uint32_t>(datagram.size()));
  return checksum_sum(datagram, pseudo) == 0xffff;
}

}  // namespace

Parsed<UdpDatagram> parse_udp(const IpPacket& packet, bool is_checksum_trusted, bool is_gso) {
  if (packet.protocol != static_cast<std::uint8_t>(IpProtocol::kUdp)) {
    return std::unexpected(Drop::kUnknownTransport);
  }
  if (packet.fragment) return std::unexpected(Drop::kBadTransportLength);
  const std::optional<UdpHeader> header = load<UdpHeader>(packet.payload);
  if (!header) return std::unexpected(Drop::kTruncated);
  const std::size_t length = is_gso ? packet.payload.size() : header->length.get();
  if (length < kUdpHeaderSize || length > packet.payload.size()) {
    return std::unexpected(Drop::kBadTransportLength);
  }
  const Bytes datagram = packet.payload.first(length);
  if (!is_checksum_trusted && !is_checksum_right(packet, *header, datagram)) {
    return std::unexpected(Drop::kBadTransportChecksum);
  }
  if (header->destination_port.get() == 0) return std::unexpected(Drop::kBadPort);
  return UdpDatagram{.source_port = header->source_port.get(),
                     .destination_port = header->destination_port.get(),
                     .payload = datagram.subspan(kUdpHeaderSize)};
}

}  // namespace cordon
