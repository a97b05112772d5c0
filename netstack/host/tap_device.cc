#include "netstack/host/tap_device.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/uio.h>
#include <unistd.h>

namespace cordon {
namespace {

// virtio 1.2 section 5.1.6, with the num_buffers field: what TUNSETVNETHDRSZ was set to. Written
// out here because linux/virtio_net.h is no C++.
struct VnetHeader {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t header_length = 0;
  std::uint16_t gso_size = 0;
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
  std::uint16_t buffers = 0;
};
static_assert(sizeof(VnetHeader) == 12);

constexpr std::uint8_t kNeedsChecksum = 1;
constexpr std::uint8_t kDataValid = 2;
constexpr std::uint8_t kGsoUdpL4 = 5;
constexpr std::uint8_t kGsoEcn = 0x80;

// TUN_F_CSUM announces it and the header is in the machine's own order (no TUNSETVNETLE, no version
// 1).
VnetHeader header_for(const FrameOut& frame) {
  VnetHeader header{};
  if (frame.checksum_start != 0) {
    header.flags = kNeedsChecksum;
    header.checksum_start = frame.checksum_start;
    header.checksum_offset = frame.checksum_offset;
  }
  if (frame.udp_segment_size != 0) {
    header.gso_type = kGsoUdpL4;
    header.gso_size = frame.udp_segment_size;
    header.header_length = static_cast<std::uint16_t>(frame.headers.size());
  }
  return header;
}

iovec readable(const void* data, std::size_t size) {
  return iovec{.iov_base = const_cast<void*>(data), .iov_len = size};  // NOLINT: writev only reads
}

}  // namespace

TapDevice::TapDevice(UniqueFd descriptor, bool has_udp_trains)
    : descriptor_(std::move(descriptor)),
      has_udp_trains_(has_udp_trains),
      buffer_(std::make_unique_for_overwrite<std::uint8_t[]>(kBuffer)) {}

IoResult<TapDevice::Batch> TapDevice::receive(std::size_t budget) {
  MutableBytes room(buffer_.get(), kBuffer);
  std::size_t count = 0;
  budget = std::min(budget, frames_.size());
  while (count < budget && room.size() >= kMaxFrame) {
    const IoResult<FrameIn> frame = receive_one(room);
    if (!frame) {
      if (count == 0 && frame.error().value == EBADFD) return std::unexpected(frame.error());
      return Batch{.frames = std::span(frames_).first(count)};
    }
    frames_[count++] = *frame;
    room = room.subspan(frame->frame.size());
  }
  return Batch{.frames = std::span(frames_).first(count), .has_more = true};
}

IoResult<FrameIn> TapDevice::receive_one(MutableBytes room) {
  VnetHeader header{};
  std::array<iovec, 2> parts{iovec{.iov_base = &header, .iov_len = sizeof(header)},
                             iovec{.iov_base = room.data(), .iov_len = room.size()}};
  // syscalls: readv
  const ssize_t size = readv(descriptor_.get(), parts.data(), static_cast<int>(parts.size()));
  if (size < 0) return std::unexpected(Errno{errno});
  if (static_cast<std::size_t>(size) <= sizeof(header)) return FrameIn{};
  FrameIn frame{.frame = Bytes(room).first(static_cast<std::size_t>(size) - sizeof(header)),
                .is_checksum_trusted = (header.flags & (kNeedsChecksum | kDataValid)) != 0};
  if ((header.gso_type & ~kGsoEcn) == kGsoUdpL4) {
    frame.udp_segment_size = header.gso_size;
  }
  return frame;
}

TapSend TapDevice::send(const FrameOut& frame) {
  const VnetHeader header = header_for(frame);
  std::array<iovec, 2 + kMaxPayloadParts> parts;  // NOLINT: as many as are used are filled
  std::size_t count = 0;
  parts[count++] = readable(&header, sizeof(header));
  parts[count++] = readable(frame.headers.data(), frame.headers.size());
  for (const Bytes part : frame.payload.first(std::min(frame.payload.size(), kMaxPayloadParts))) {
    parts[count++] = readable(part.data(), part.size());
  }
  // syscalls: writev
  const ssize_t size = writev(descriptor_.get(), parts.data(), static_cast<int>(count));
  if (size >= 0) return TapSend::kSent;
  // EIO: the guest took the link down, which is the guest's own affair. EBADFD: the device is
  // deleted.
  return errno == EBADFD ? TapSend::kGone : TapSend::kFull;
}

}  // namespace cordon
