#include "netstack/link/guest_link.h"

#include <algorithm>

#include "netstack/wire/checksum.h"
#include "netstack/wire/udp.h"

namespace cordon {
namespace {

std::size_t size_of(std::span<const Bytes> parts) {
  std::size_t size = 0;
  for (const Bytes part : parts) size += part.size();
  return size;
}

}  // namespace

void GuestLink::send_frame(Bytes frame) { send(FrameOut{.headers = frame}); }

void GuestLink::send_packet(Bytes packet) {
  if (packet.empty()) return;
  const bool is_v6 = (packet[0] >> 4) == 6;
  const std::size_t used = write_ethernet(is_v6 ? Family::kIpv6 : Family::kIpv4);
  send(FrameOut{.headers = Bytes(scratch_).first(used), .payload = std::span(&packet, 1)});
}

void GuestLink::send_udp(const IpHeaderFields& ip, std::uint16_t source_port,
                         std::uint16_t destination_port, std::span<const Bytes> parts,
                         std::uint16_t segment_size) {
  if (segment_size == 0 || size_of(parts) <= segment_size) {
    send_one_udp(ip, source_port, destination_port, parts, 0);
    return;
  }
  if (tap_.has_udp_trains()) {
    send_one_udp(ip, source_port, destination_port, parts, segment_size);
    return;
  }
  for (Bytes rest : parts) {
    while (!rest.empty()) {
      const Bytes datagram = rest.first(std::min<std::size_t>(segment_size, rest.size()));
      send_one_udp(ip, source_port, destination_port, std::span(&datagram, 1), 0);
      rest = rest.subspan(datagram.size());
    }
  }
}

void GuestLink::send_one_udp(const IpHeaderFields& ip, std::uint16_t source_port,
                             std::uint16_t destination_port, std::span<const Bytes> parts,
                             std::uint16_t segment_size) {
  const std::size_t ethernet = write_ethernet(ip.source.family());
  const std::size_t ip_size = ip_header_size(ip.source.family());
  const std::size_t udp_length = kUdpHeaderSize + size_of(parts);
  const MutableBytes out = MutableBytes(scratch_).subspan(ethernet);
  if (udp_length > kMaxIpPacket || !write_ip_header(out, ip, udp_length)) {
    drops_.add(Drop::kTooBig);
    return;
  }
  const UdpHeader header{.source_port = Be16(source_port),
                         .destination_port = Be16(destination_port),
                         .length = Be16(static_cast<std::uint16_t>(udp_length)),
                         .checksum = Be16(pseudo_header_sum(
                             ip.source, ip.destination, static_cast<std::uint8_t>(IpProtocol::kUdp),
                             static_cast<std::uint32_t>(udp_length)))};
  if (!store(out.subspan(ip_size), header)) return;
  send(FrameOut{.headers = Bytes(scratch_).first(ethernet + ip_size + kUdpHeaderSize),
                .payload = parts,
                .checksum_start = static_cast<std::uint16_t>(ethernet + ip_size),
                .checksum_offset = 6,
                .udp_segment_size = segment_size});
}

void GuestLink::send_icmp_error(Instant now, const IcmpErrorFields& fields, Bytes offending) {
  std::array<std::uint8_t, 1280> packet{};
  const std::size_t size = write_icmp_error(packet, fields, offending);
  if (size == 0) return;
  if (may_send_icmp_error(now)) send_packet(Bytes(packet).first(size));
}

bool GuestLink::may_send_icmp_error(Instant now) {
  if (icmp_errors_.take(now)) return true;
  drops_.add(Drop::kIcmpRate);
  return false;
}

std::size_t GuestLink::write_ethernet(Family family) {
  const EthernetHeader header{.destination = guest_,
                              .source = gateway_,
                              .ether_type = Be16(static_cast<std::uint16_t>(
                                  family == Family::kIpv4 ? EtherType::kIpv4 : EtherType::kIpv6))};
  return store(scratch_, header) ? kEthernetHeaderSize : 0;
}

void GuestLink::send(const FrameOut& frame) {
  switch (tap_.send(frame)) {
    case TapSend::kSent:
      return;
    case TapSend::kFull:
      drops_.add(Drop::kTapFull);
      return;
    case TapSend::kGone:
      is_gone_ = true;
      return;
  }
}

}  // namespace cordon
