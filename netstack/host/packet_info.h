// Where a datagram was sent to, and where an answer is to leave from: IP_PKTINFO (ip(7)) and
// IPV6_PKTINFO (RFC 3542 section 6) as control messages.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "netstack/base/bytes.h"
#include "netstack/seams/host_sockets.h"

namespace cordon {

/// in6_pktinfo, the larger of the two.
inline constexpr std::size_t kMaxPacketInfo = 20;

struct PacketInfo {
  int level = 0;
  int type = 0;
  std::array<std::uint8_t, kMaxPacketInfo> octets{};
  std::size_t size = 0;

  [[nodiscard]] Bytes data() const { return Bytes(octets).first(size); }
};

/// For a datagram that is to leave from `from`.
[[nodiscard]] PacketInfo packet_info(const HostEnd& from);
/// nullopt: a control message of another kind, or too short.
[[nodiscard]] std::optional<HostEnd> read_packet_info(int level, int type, Bytes data);

}  // namespace cordon
