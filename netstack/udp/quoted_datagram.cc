#include "netstack/udp/quoted_datagram.h"

#include <algorithm>

namespace cordon {

std::size_t write_quoted_datagram(MutableBytes out, const FlowKey& key, Bytes payload) {
  payload = payload.first(std::min(payload.size(), kQuotedPayload));
  const std::size_t ip_size = ip_header_size(key.guest.address.family());
  const std::size_t udp_length = kUdpHeaderSize + payload.size();
  const UdpHeader header{.source_port = Be16(key.guest.port),
                         .destination_port = Be16(key.remote.port),
                         .length = Be16(static_cast<std::uint16_t>(udp_length))};
  const IpHeaderFields ip{
      .source = key.guest.address, .destination = key.remote.address, .protocol = IpProtocol::kUdp};
  if (!write_ip_header(out, ip, udp_length) || !store(out.subspan(ip_size), header)) return 0;
  std::ranges::copy(payload, out.subspan(ip_size + kUdpHeaderSize).begin());
  return ip_size + udp_length;
}

}  // namespace cordon
