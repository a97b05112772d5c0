// The way to the guest: packets become frames on the tap. Knows the two MAC addresses of the link
// and nothing of flows. A frame that the tap does not take is lost and counted: what is UDP and
// ICMP may be lost, and a SYN-ACK is sent again when the guest repeats its SYN.
#pragma once

#include <array>
#include <cstdint>

#include "netstack/base/time.h"
#include "netstack/base/token_bucket.h"
#include "netstack/seams/tap.h"
#include "netstack/wire/drop.h"
#include "netstack/wire/ethernet.h"
#include "netstack/wire/icmp.h"
#include "netstack/wire/ip.h"

namespace cordon {

class GuestLink {
 public:
  /// `icmp_errors` bounds what send_icmp_error() sends.
  GuestLink(Tap& tap, DropCounters& drops, const MacAddress& guest, const MacAddress& gateway,
            const TokenBucket& icmp_errors)
      : tap_(tap), drops_(drops), guest_(guest), gateway_(gateway), icmp_errors_(icmp_errors) {}

  /// A whole frame, as answer_arp() and answer_ndp() write them.
  void send_frame(Bytes frame);
  /// A whole IP packet, checksums done.
  void send_packet(Bytes packet);
  /// An UDP datagram, or with `segment_size` a train of them, whose octets are `parts` one behind
  /// the other (each a whole number of datagrams), checksummed by the kernel on the way.
  /// The guest's kernel takes a packet larger than the link's MTU: the MTU bounds what a sender may
  /// emit, not what a receiver accepts (RFC 1122 section 3.3.3).
  void send_udp(const IpHeaderFields& ip, std::uint16_t source_port, std::uint16_t destination_port,
                std::span<const Bytes> parts, std::uint16_t segment_size);
  /// As many as the bucket lets; what RFC 1122 and RFC 4443 forbid is not sent.
  void send_icmp_error(Instant now, const IcmpErrorFields& fields, Bytes offending);
  /// For an error that is written here and sent later: takes its share of that rate.
  [[nodiscard]] bool may_send_icmp_error(Instant now);

  [[nodiscard]] bool is_gone() const { return is_gone_; }

 private:
  void send(const FrameOut& frame);
  std::size_t write_ethernet(Family family);
  void send_one_udp(const IpHeaderFields& ip, std::uint16_t source_port,
                    std::uint16_t destination_port, std::span<const Bytes> parts,
                    std::uint16_t segment_size);

  Tap& tap_;
  DropCounters& drops_;
  MacAddress guest_;
  MacAddress gateway_;
  TokenBucket icmp_errors_;
  bool is_gone_ = false;
  std::array<std::uint8_t, 2048> scratch_{};
};

}  // namespace cordon
