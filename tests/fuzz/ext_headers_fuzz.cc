// The octets behind an IPv6 header, as a chain of extension headers: the first octet of the input
// is the first next header, the rest the payload.
//
// Claims: bounds; the two ways of walking agree; what passes is found by a second, plainer walk
// that only follows lengths, and nothing on the way is a header that must not pass.
#include "netstack/wire/extension_headers.h"
#include "tests/fuzz/fuzz_support.h"

namespace cordon {
namespace {

using fuzz::check;

std::vector<std::uint8_t> packet_with(std::uint8_t next_header, Bytes payload) {
  std::vector<std::uint8_t> packet(kIpv6HeaderSize);
  packet[0] = 0x60;
  packet[4] = static_cast<std::uint8_t>(payload.size() >> 8);
  packet[5] = static_cast<std::uint8_t>(payload.size());
  packet[6] = next_header;
  packet[7] = 64;
  packet[8] = packet[24] = 0x20;
  packet[9] = packet[25] = 0x01;
  packet.insert(packet.end(), payload.begin(), payload.end());
  packet.shrink_to_fit();
  return packet;
}

bool is_walked(std::uint8_t next_header) {
  return next_header == 0 || next_header == 43 || next_header == 44 || next_header == 60;
}

// Follows the lengths up to `end` and says whether each header on the way may be there.
void walk_plainly(Bytes packet, const ExtensionChain& chain) {
  std::size_t at = kIpv6HeaderSize;
  std::uint8_t next_header = packet[6];
  std::size_t count = 0;
  std::size_t fragments = 0;
  for (; at < chain.end; ++count) {
    check(is_walked(next_header), "only extension headers are walked over");
    check(next_header != 0 || count == 0, "hop-by-hop options come first");
    check(next_header != 43 || (packet[at + 2] != 0 && packet[at + 3] == 0), "routing");
    fragments += next_header == 44 ? 1 : 0;
    const std::size_t size = next_header == 44 ? 8 : (std::size_t{packet[at + 1]} + 1) * 8;
    next_header = packet[at];
    if (at + size == chain.end) check(chain.next_header_field == at, "the field that names it");
    at += size;
  }
  check(at == chain.end && next_header == chain.protocol, "both walks end at the same place");
  check(count <= 16 && fragments <= 1, "count");
}

void try_walk(Bytes packet, AtFirstFragment mode) {
  const Parsed<ExtensionChain> chain = walk_extension_headers(packet, mode);
  if (!chain) return;
  check(chain->end <= packet.size() && chain->end >= kIpv6HeaderSize, "end");
  check(chain->end - kIpv6HeaderSize <= 512 && chain->end % 8 == 0, "octets");
  check(chain->next_header_field < chain->end, "field");
  walk_plainly(packet, *chain);
  const bool stops_at_fragment =
      chain->fragment && (chain->fragment->offset != 0 || mode == AtFirstFragment::kStop);
  if (chain->fragment) {
    check(chain->fragment->offset != 0 || chain->fragment->has_more, "atomic fragments are whole");
  }
  check(stops_at_fragment || !is_walked(chain->protocol), "the walk goes to the transport");
}

void try_packet(Bytes packet) {
  try_walk(packet, AtFirstFragment::kStop);
  try_walk(packet, AtFirstFragment::kWalkOn);
  const Parsed<ExtensionChain> to_fragment = walk_extension_headers(packet, AtFirstFragment::kStop);
  const Parsed<ExtensionChain> to_end = walk_extension_headers(packet, AtFirstFragment::kWalkOn);
  check(to_fragment || !to_end, "the longer walk passes only where the shorter one does");
  if (to_fragment && to_end) {
    check(to_fragment->end <= to_end->end, "order");
    check(to_fragment->fragment.has_value() == to_end->fragment.has_value(), "fragment");
    if (!to_fragment->fragment) check(to_fragment->end == to_end->end, "same walk");
  }
  const Parsed<IpPacket> parsed = parse_ipv6(packet);
  if (!parsed) {
    check(!to_fragment || packet.size() == kIpv6HeaderSize, "only the chain can be wrong here");
    return;
  }
  check(to_fragment && parsed->protocol == to_fragment->protocol, "protocol");
  check(parsed->payload.size() == packet.size() - to_fragment->end, "payload");
}

}  // namespace
}  // namespace cordon

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cordon::fuzz::Input input(data, size);
  const std::uint8_t next_header = input.octet();
  cordon::try_packet(cordon::packet_with(next_header, input.octets(65535)));
  return 0;
}
