#include "netstack/wire/udp.h"

#include <algorithm>

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

std::size_t write_udp_packet(MutableBytes out, const IpHeaderFields& ip, std::uint16_t source_port,
                             std::uint16_t destination_port, Bytes payload) {
  const std::size_t ip_size = ip_header_size(ip.source.family());
  const std::size_t length = kUdpHeaderSize + payload.size();
  if (length > 0xffff || out.size() < ip_size + length || !write_ip_header(out, ip, length)) {
    return 0;
  }
  UdpHeader header{.source_port = Be16(source_port),
                   .destination_port = Be16(destination_port),
                   .length = Be16(static_cast<std::uint16_t>(length))};
  const MutableBytes datagram = out.subspan(ip_size, length);
  (void)store(datagram, header);  // it fits: the size was asked
  std::ranges::copy(payload, datagram.subspan(kUdpHeaderSize).begin());
  const std::uint16_t pseudo =
      pseudo_header_sum(ip.source, ip.destination, static_cast<std::uint8_t>(ip.protocol),
                        static_cast<std::uint32_t>(length));
  const std::uint16_t checksum = checksum_of(checksum_sum(datagram, pseudo));
  // RFC 768: a checksum that comes out as 0 is sent as all ones, for 0 says that there is none.
  header.checksum = Be16(checksum == 0 ? 0xffff : checksum);
  (void)store(datagram, header);
  return ip_size + length;
}

}  // namespace cordon
