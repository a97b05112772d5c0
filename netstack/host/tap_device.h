// The tap: frames in and out through one descriptor, each behind the virtio network header (12
// octets, virtio 1.2 section 5.1.6; linux/virtio_net.h). The guest-side set-up made the device and
// its offloads; here it is only read and written.
#pragma once

#include <array>
#include <memory>
#include <span>

#include "netstack/base/result.h"
#include "netstack/flow/limits.h"
#include "netstack/host/descriptor/unique_fd.h"
#include "netstack/seams/tap.h"

namespace cordon {

class TapDevice final : public Tap {
 public:
  /// `has_udp_trains`: TUNSETOFFLOAD took TUN_F_USO4 and TUN_F_USO6.
  TapDevice(UniqueFd descriptor, bool has_udp_trains);

  [[nodiscard]] int descriptor() const { return descriptor_.get(); }

  struct Batch {
    std::span<const FrameIn> frames;
    bool has_more = false;  // the tap may hold more
  };

  /// Frames that wait, at most `budget` and what the buffer holds; EBADFD where the device has been
  /// deleted and no frame is left. They are valid until the next call.
  [[nodiscard]] IoResult<Batch> receive(std::size_t budget);

  TapSend send(const FrameOut& frame) override;
  [[nodiscard]] bool has_udp_trains() const override { return has_udp_trains_; }

 private:
  UniqueFd descriptor_;
  bool has_udp_trains_;
  // The largest frame: 64 KiB of packet behind the Ethernet header.
  static constexpr std::size_t kMaxFrame = 65536 + 64;
  // Room for a turn of ordinary frames, with the largest behind them: a frame of any size is read
  // to where the last one ended. Memory that is not used is never touched.
  static constexpr std::size_t kBuffer = kFramesPerTurn * 1600 + kMaxFrame;

  IoResult<FrameIn> receive_one(MutableBytes room);

  std::unique_ptr<std::uint8_t[]> buffer_;
  std::array<FrameIn, kFramesPerTurn> frames_;
};

}  // namespace cordon
