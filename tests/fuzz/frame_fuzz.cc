// A frame as a guest may send it, through every parser that a frame meets. The first octet chooses:
// bit 0 repairs the IPv4 header checksum, bit 1 has transport checksums trusted, bit 2 says UDP
// GSO.
//
// Claims: every view lies inside the frame; what is parsed and written again parses to the same;
// answers stay within their buffers.
#include <array>

#include "netstack/link/neighbours.h"
#include "netstack/wire/checksum.h"
#include "netstack/wire/ethernet.h"
#include "netstack/wire/icmp.h"
#include "netstack/wire/tcp.h"
#include "netstack/wire/udp.h"
#include "tests/fuzz/fuzz_support.h"

namespace cordon {
namespace {

using fuzz::check;
using fuzz::is_equal;
using fuzz::is_inside;

struct Choices {
  bool repairs_ip_checksum = false;
  bool is_checksum_trusted = false;
  bool is_gso = false;
};

const std::array<IpAddress, 3>& our_addresses() {
  static const std::array<IpAddress, 3> addresses{*IpAddress::parse("198.51.100.1"),
                                                  *IpAddress::parse("fe80::1"),
                                                  *IpAddress::parse("2001:db8::1")};
  return addresses;
}

LinkAddresses link_addresses() {
  return LinkAddresses{
      .guest_mac = {2, 0, 0, 0, 0, 2}, .gateway_mac = {2, 0, 0, 0, 0, 1}, .ours = our_addresses()};
}

IpHeaderFields header_like(const IpPacket& packet) {
  return IpHeaderFields{.source = packet.source,
                        .destination = packet.destination,
                        .ttl = packet.ttl,
                        .traffic_class = packet.traffic_class,
                        .flow_label = packet.flow_label,
                        .has_dont_fragment = packet.has_dont_fragment};
}

Parsed<IpPacket> parse_ip(Bytes bytes, Family family) {
  return family == Family::kIpv4 ? parse_ipv4(bytes) : parse_ipv6(bytes);
}

void repair_ip_checksum(MutableBytes ip) {
  if (ip.size() < kIpv4HeaderSize) return;
  const std::size_t size = std::size_t{ip[0] & 0x0fU} * 4;
  if (size < kIpv4HeaderSize || size > ip.size()) return;
  ip[10] = ip[11] = 0;
  check(store(ip.subspan(10), Be16(checksum_of(checksum_sum(ip.first(size))))), "the field fits");
}

void try_tcp(const IpPacket& packet, const Choices& choices) {
  const Parsed<TcpSegment> segment = parse_tcp(packet, choices.is_checksum_trusted);
  if (!segment) return;
  check(is_inside(segment->options, packet.payload) && segment->options.size() <= 40, "options");
  check(is_inside(segment->payload, packet.payload), "TCP payload");
  check(segment->options.size() + segment->payload.size() + kTcpHeaderSize == packet.payload.size(),
        "TCP parts add up");
  const SynOptions options = parse_syn_options(segment->options);
  const TcpHeaderFields fields{.source_port = segment->source_port,
                               .destination_port = segment->destination_port,
                               .seq = segment->seq,
                               .ack = segment->ack,
                               .flags = segment->flags,
                               .window = segment->window};
  fuzz::Output out(200);
  const Bytes written = out.written(write_tcp(out.span(), header_like(packet), fields, &options));
  const Parsed<IpPacket> again = parse_ip(written, packet.source.family());
  check(again.has_value(), "a written segment is a packet");
  const Parsed<TcpSegment> same = parse_tcp(*again, false);
  check(same && same->seq == segment->seq && same->ack == segment->ack &&
            same->flags == segment->flags && same->window == segment->window &&
            same->source_port == segment->source_port &&
            same->destination_port == segment->destination_port,
        "a segment survives being written");
  check(!segment->flags.syn || parse_syn_options(same->options) == options, "so do its options");
}

void try_udp(const IpPacket& packet, const Choices& choices) {
  const auto datagram = parse_udp(packet, choices.is_checksum_trusted, choices.is_gso);
  if (!datagram) return;
  check(is_inside(datagram->payload, packet.payload), "UDP payload");
  check(datagram->destination_port != 0, "UDP port");
  check(!choices.is_gso || datagram->payload.size() + kUdpHeaderSize == packet.payload.size(),
        "a train takes the whole payload");
}

void try_echo(const IpPacket& packet, const Choices& choices) {
  const Parsed<EchoMessage> echo = parse_echo(packet, choices.is_checksum_trusted);
  if (!echo) return;
  check(is_inside(echo->data, packet.payload), "echo data");
  check(echo->data.size() + kIcmpHeaderSize == packet.payload.size(),
        "echo takes all that is there");
  fuzz::Output out(packet.packet.size() + 100);
  const std::size_t size = write_echo(out.span(), header_like(packet), *echo);
  // An IPv6 packet may be larger than what is ever written.
  if (size == 0) {
    check(packet.payload.size() + kIpv6HeaderSize > kMaxIpPacket, "an echo that fits is written");
    return;
  }
  const Bytes written = out.written(size);
  const Parsed<IpPacket> again = parse_ip(written, packet.source.family());
  check(again.has_value(), "a written echo is a packet");
  const Parsed<EchoMessage> same = parse_echo(*again, false);
  check(same && same->is_request == echo->is_request && same->identifier == echo->identifier &&
            same->sequence == echo->sequence && is_equal(same->data, echo->data),
        "an echo survives being written");
}

void try_errors(const IpPacket& packet) {
  const bool is_v4 = packet.source.is_v4();
  for (int error = 0; error <= static_cast<int>(IcmpError::kReassemblyTimeout); ++error) {
    const IcmpErrorFields fields{.source = our_addresses()[is_v4 ? 0 : 2],
                                 .destination = packet.source,
                                 .error = static_cast<IcmpError>(error),
                                 .mtu = 1400};
    fuzz::Output out(1400);
    const Bytes written = out.written(write_icmp_error(out.span(), fields, packet.packet));
    if (written.empty()) continue;
    check(written.size() <= (is_v4 ? 576U : 1280U), "an error's size");
    check(!packet.fragment || packet.fragment->offset == 0, "no error about a later fragment");
    check(parse_ip(written, packet.source.family()).has_value(), "an error is a packet");
  }
}

void try_ip(Bytes bytes, Family family, const Choices& choices) {
  const Parsed<IpPacket> packet = parse_ip(bytes, family);
  if (!packet) return;
  check(is_inside(packet->packet, bytes) && is_inside(packet->payload, packet->packet), "views");
  check(packet->packet.data() == bytes.data(), "a packet starts where it starts");
  check(packet->payload.empty() || packet->payload.data() + packet->payload.size() ==
                                       packet->packet.data() + packet->packet.size(),
        "a payload ends with its packet");
  check(packet->source.family() == family && packet->destination.family() == family, "family");
  check(packet->ttl != 0, "ttl");
  if (packet->fragment) check(packet->fragment->offset % 8 == 0, "offset");
  try_tcp(*packet, choices);
  try_udp(*packet, choices);
  try_echo(*packet, choices);
  try_errors(*packet);
  fuzz::Output out(100);
  const Parsed<std::size_t> answer = answer_ndp(link_addresses(), *packet, out.span());
  const Bytes written = out.written(answer.value_or(0));
  if (!answer) return;
  check(is_ndp(*packet), "only Neighbour Discovery is answered as such");
  const Parsed<EthernetFrame> frame = parse_ethernet(written);
  check(frame && parse_ipv6(frame->payload).has_value(), "an advertisement is a packet");
}

void try_frame(MutableBytes bytes, const Choices& choices) {
  const Parsed<EthernetFrame> frame = parse_ethernet(bytes);
  if (!frame) return;
  check(is_inside(frame->payload, bytes), "frame payload");
  if (frame->ether_type == EtherType::kArp) {
    fuzz::Output out(60);
    const auto answer = answer_arp(link_addresses(), frame->payload, out.span());
    check(!answer || *answer == 42, "an ARP reply's size");
    (void)out.written(answer.value_or(0));  // asked for its claims
    return;
  }
  const bool is_v4 = frame->ether_type == EtherType::kIpv4;
  if (is_v4 && choices.repairs_ip_checksum) {
    repair_ip_checksum(bytes.subspan(kEthernetHeaderSize));
  }
  try_ip(frame->payload, is_v4 ? Family::kIpv4 : Family::kIpv6, choices);
}

}  // namespace
}  // namespace cordon

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cordon::fuzz::Input input(data, size);
  const std::uint8_t choice = input.octet();
  std::vector<std::uint8_t> frame = input.rest();
  cordon::try_frame(frame, {.repairs_ip_checksum = (choice & 1) != 0,
                            .is_checksum_trusted = (choice & 2) != 0,
                            .is_gso = (choice & 4) != 0});
  return 0;
}
