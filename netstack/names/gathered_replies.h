// The resolver's replies of one turn of the loop. A guest with many questions in flight, a resolver
// of its own say, has many answers at once; those to one of its ports that are of one size go as
// one train (udp/datagram_trains.h says what a train is), which wakes it once.
//
// Replies are copied: they lie where the next one is written. Nothing waits beyond the turn:
// whoever adds lets all go on the deadline, which is at once. A long reply goes by itself.
#pragma once

#include <array>
#include <cstdint>

#include "netstack/address/ip_address.h"
#include "netstack/base/bytes.h"
#include "netstack/link/guest_link.h"

namespace cordon {

class GatheredReplies {
 public:
  /// To `guest`, as from `resolver`. What has to go first goes to `link`.
  void add(const Endpoint& resolver, const Endpoint& guest, Bytes message, GuestLink& link);
  void let_go(GuestLink& link);
  [[nodiscard]] bool is_empty() const { return count_ == 0; }

 private:
  // As many as a train has (UDP_MAX_SEGMENTS), of the size that every client takes (RFC 1035
  // section 4.2.1).
  static constexpr std::size_t kMaxReplies = 64;
  static constexpr std::size_t kMaxOctets = 512;

  void send(Bytes payload, std::uint16_t segment_size, GuestLink& link) const;

  Endpoint resolver_;
  Endpoint guest_;
  std::array<std::uint8_t, kMaxReplies * kMaxOctets> octets_;  // NOLINT: written before it is read
  std::size_t size_ = 0;                                       // of all
  std::size_t first_ = 0;  // of the first, which is that of all but the last
  std::size_t count_ = 0;
};

}  // namespace cordon
