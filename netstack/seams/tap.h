// The guest's link: Ethernet frames with what the kernel leaves undone or wants done (the virtio
// network header, virtio 1.2 section 5.1.6, in the terms of this program).
#pragma once

#include <cstdint>
#include <span>

#include "netstack/base/bytes.h"

namespace cordon {

/// A frame from the guest.
struct FrameIn {
  Bytes frame;
  bool is_checksum_trusted = false;    // left undone by the guest's kernel, or vouched for
  std::uint16_t udp_segment_size = 0;  // not 0: a train of datagrams of that size (UDP_L4)
};

/// A frame to the guest: headers and payload apart, and the payload in parts, so that none of it is
/// copied.
struct FrameOut {
  Bytes headers;                   // Ethernet, IP and, where there is one, the transport header
  std::span<const Bytes> payload;  // at most kMaxPayloadParts, one behind the other
  /// Not 0: the transport checksum at headers[checksum_start + checksum_offset] holds the
  /// pseudo-header sum, and the rest is the kernel's to do.
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
  std::uint16_t udp_segment_size = 0;  // not 0: the payload is a train; only where has_udp_trains()
};

inline constexpr std::size_t kMaxPayloadParts = 64;

enum class TapSend : std::uint8_t { kSent, kFull, kGone };

class Tap {
 public:
  virtual ~Tap() = default;
  virtual TapSend send(const FrameOut& frame) = 0;
  /// Whether the kernel takes udp_segment_size (USO, Linux 6.2).
  [[nodiscard]] virtual bool has_udp_trains() const = 0;
};

}  // namespace cordon
