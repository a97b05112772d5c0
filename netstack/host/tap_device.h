// The tap: frames in and out through one descriptor, each behind the virtio network header (12
// octets, virtio 1.2 section 5.1.6; linux/virtio_net.h). The guest-side set-up made the device and
// its offloads; here it is only read and written.
#pragma once

#include <optional>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/base/unique_fd.h"
#include "netstack/seams/tap.h"

namespace cordon {

class TapDevice final : public Tap {
 public:
  /// `has_udp_trains`: TUNSETOFFLOAD took TUN_F_USO4 and TUN_F_USO6.
  TapDevice(UniqueFd descriptor, bool has_udp_trains);

  [[nodiscard]] int descriptor() const { return descriptor_.get(); }

  /// The next frame, EAGAIN where none waits, EBADFD where the device has been deleted. The frame
  /// is valid until the next call.
  [[nodiscard]] IoResult<FrameIn> receive();

  TapSend send(const FrameOut& frame) override;
  [[nodiscard]] bool has_udp_trains() const override { return has_udp_trains_; }

 private:
  UniqueFd descriptor_;
  bool has_udp_trains_;
  std::vector<std::uint8_t> buffer_;
};

}  // namespace cordon
