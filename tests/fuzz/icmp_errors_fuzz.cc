// An error about anything. Input: kind, MTU (two octets), size of the output (two octets), then the
// offending octets, which need not be a packet at all.
//
// Claims: what is written is a packet with a right checksum; it quotes octets that were there and
// none else (the output is filled before); never an error about an error, a later fragment, a
// group.
#include "netstack/wire/checksum.h"
#include "netstack/wire/icmp.h"
#include "tests/fuzz/fuzz_support.h"

namespace cordon {
namespace {

using fuzz::check;

std::uint16_t message_sum(const IpPacket& packet) {
  const std::uint16_t pseudo =
      packet.source.is_v4() ? std::uint16_t{0}
                            : pseudo_header_sum(packet.source, packet.destination, packet.protocol,
                                                static_cast<std::uint32_t>(packet.payload.size()));
  return checksum_sum(packet.payload, pseudo);
}

// What the rules say about IPv4, from the octets themselves.
void check_v4_rules(Bytes offending) {
  check((load<Be16>(offending.subspan(6))->get() & 0x1fff) == 0, "a later fragment");
  check(offending[12] != 0 && offending[12] != 127 && offending[12] < 224, "source");
  check((offending[16] & 0xf0) != 0xe0, "destination");
  if (offending[9] != 1) return;
  const std::size_t header = std::size_t{offending[0] & 0x0fU} * 4;
  check(header < offending.size(), "an ICMP message without a type");
  const std::uint8_t type = offending[header];
  check(type != 3 && type != 4 && type != 5 && type != 11 && type != 12, "an ICMP error");
}

void check_v6_rules(Bytes offending, IcmpError error) {
  check(offending[8] != 0xff, "source");
  check(offending[24] != 0xff || error == IcmpError::kTooBig, "destination");
  if (offending[6] == 58 && offending.size() > kIpv6HeaderSize) {
    check(offending[40] >= 128 && offending[40] != 137, "an ICMPv6 error or redirect");
  }
}

void try_error(const IcmpErrorFields& fields, Bytes offending, std::size_t room) {
  const bool is_v4 = fields.destination.is_v4();
  fuzz::Output out(room);
  const Bytes written = out.written(write_icmp_error(out.span(), fields, offending));
  if (written.empty()) return;
  const std::size_t headers = ip_header_size(fields.destination.family()) + kIcmpHeaderSize;
  const Bytes quote = written.subspan(headers);
  check(written.size() <= (is_v4 ? 576U : 1280U), "size");
  check(quote.size() <= offending.size() && fuzz::is_equal(quote, offending.first(quote.size())),
        "the quote is the front of what came");
  const Parsed<IpPacket> packet = is_v4 ? parse_ipv4(written) : parse_ipv6(written);
  check(packet && packet->packet.size() == written.size(), "an error is a packet of its size");
  check(message_sum(*packet) == 0xffff, "checksum");
  check(packet->destination == fields.destination && packet->source == fields.source, "addresses");
  if (is_v4) {
    check_v4_rules(offending);
  } else {
    check_v6_rules(offending, fields.error);
  }
  // The error itself must never be answered.
  IcmpErrorFields back = fields;
  std::swap(back.source, back.destination);
  fuzz::Output second(1500);
  check(write_icmp_error(second.span(), back, written) == 0, "no error about an error");
}

}  // namespace
}  // namespace cordon

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cordon;
  fuzz::Input input(data, size);
  const auto error = static_cast<IcmpError>(input.octet() & 7);
  const std::uint32_t mtu = input.word();
  const std::size_t room = input.word() % 2048;
  const std::vector<std::uint8_t> offending = input.rest();
  const IcmpErrorFields v4{.source = IpAddress::v4(0xc6336401),
                           .destination = IpAddress::v4(0xc6336402),
                           .error = error,
                           .mtu = mtu};
  const IcmpErrorFields v6{.source = *IpAddress::parse("2001:db8::1"),
                           .destination = *IpAddress::parse("2001:db8::2"),
                           .error = error,
                           .mtu = mtu};
  try_error(v4, offending, room);
  try_error(v6, offending, room);
  return 0;
}
