#include "netstack/host/packet_info.h"

#include <cstring>
#include <netinet/in.h>

namespace cordon {
namespace {

static_assert(sizeof(in_pktinfo) <= kMaxPacketInfo && sizeof(in6_pktinfo) == kMaxPacketInfo);

template <class Info>
std::optional<Info> read(Bytes data) {
  if (data.size() < sizeof(Info)) return std::nullopt;
  Info info;
  std::memcpy(&info, data.data(), sizeof(info));
  return info;
}

template <class Info>
PacketInfo write(int level, int type, const Info& info) {
  PacketInfo result{.level = level, .type = type};
  std::memcpy(result.octets.data(), &info, sizeof(info));
  result.size = sizeof(info);
  return result;
}

}  // namespace

PacketInfo packet_info(const HostEnd& from) {
  const Bytes octets = from.address.octets();
  if (from.address.is_v4()) {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, octets.data(), octets.size());
    return write(IPPROTO_IP, IP_PKTINFO, info);
  }
  in6_pktinfo info{};
  std::memcpy(&info.ipi6_addr, octets.data(), octets.size());
  if (from.address.is_link_local()) info.ipi6_ifindex = from.zone;
  return write(IPPROTO_IPV6, IPV6_PKTINFO, info);
}

std::optional<HostEnd> read_packet_info(int level, int type, Bytes data) {
  if (level == IPPROTO_IP && type == IP_PKTINFO) {
    const auto info = read<in_pktinfo>(data);
    if (!info) return std::nullopt;
    // The address that answers leave from; of a broadcast it is another one than the packet's.
    return HostEnd{.address = IpAddress::v4(ntohl(info->ipi_spec_dst.s_addr))};
  }
  if (level == IPPROTO_IPV6 && type == IPV6_PKTINFO) {
    const auto info = read<in6_pktinfo>(data);
    if (!info) return std::nullopt;
    HostEnd end{.address = IpAddress::from_octets(
                    Bytes(info->ipi6_addr.s6_addr, sizeof(info->ipi6_addr.s6_addr)))};
    if (end.address.is_link_local()) end.zone = info->ipi6_ifindex;
    return end;
  }
  return std::nullopt;
}

}  // namespace cordon
