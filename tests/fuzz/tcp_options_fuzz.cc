// The option octets of a SYN, of any number. Claims: the walk ends; what it finds is in range; what
// is found is written in 20 octets at most and found again.
#include "netstack/wire/tcp.h"
#include "tests/fuzz/fuzz_support.h"

namespace cordon {
namespace {

using fuzz::check;

void try_options(Bytes octets) {
  const SynOptions options = parse_syn_options(octets);
  check(options.window_scale.value_or(0) <= 14, "RFC 7323 section 2.3");
  check(options.mss.value_or(1) != 0, "an MSS of 0 says nothing");

  const IpHeaderFields ip{.source = IpAddress::v4(0xc6336401),
                          .destination = IpAddress::v4(0xc6336402)};
  const TcpHeaderFields fields{
      .source_port = 1, .destination_port = 2, .seq = Seq(0xffffffff), .flags = {.syn = true}};
  fuzz::Output out(kIpv4HeaderSize + kMaxTcpHeaderSize);
  const Bytes written = out.written(write_tcp(out.span(), ip, fields, &options));
  check(!written.empty() && written.size() <= kIpv4HeaderSize + kTcpHeaderSize + 20, "size");
  const Parsed<IpPacket> packet = parse_ipv4(written);
  check(packet.has_value(), "a written SYN is a packet");
  const Parsed<TcpSegment> segment = parse_tcp(*packet, false);
  check(segment && segment->seq == fields.seq && segment->flags == fields.flags, "and a segment");
  check(segment->payload.empty() && parse_syn_options(segment->options) == options, "round trip");
}

// The same by way of a header whose data offset cuts the options.
void try_segment(std::vector<std::uint8_t> payload) {
  const IpPacket packet{.source = IpAddress::v4(0xc6336401),
                        .destination = IpAddress::v4(0xc6336402),
                        .protocol = static_cast<std::uint8_t>(IpProtocol::kTcp),
                        .ttl = 64,
                        .packet = payload,
                        .payload = payload};
  const Parsed<TcpSegment> segment = parse_tcp(packet, true);
  if (!segment) return;
  check(fuzz::is_inside(segment->options, payload) && segment->options.size() <= 40, "options");
  try_options(segment->options);
}

}  // namespace
}  // namespace cordon

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cordon::fuzz::Input input(data, size);
  const std::vector<std::uint8_t> octets = input.rest();
  cordon::try_options(octets);
  cordon::try_segment(octets);
  return 0;
}
