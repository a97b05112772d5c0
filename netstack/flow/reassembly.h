// Reassembly of IPv4 and IPv6 fragments, within fixed bounds.
//
// Goal: a guest's kernel fragments UDP datagrams larger than its MTU; the policy must see a whole
// datagram or nothing. Any overlap kills the datagram (RFC 5722; for IPv4 the same rule by our choice),
// the first fragment must hold the transport header (RFC 7112), atomic fragments are whole packets by
// themselves (RFC 6946) and never reach this class.
//
// State: all memory is taken at construction; nothing is allocated later. A datagram is a slot with a
// buffer of its own pages out of one pool; the pool's bound is kReassemblyBytes. When slots or pages run
// out the oldest datagram goes. Time is an argument; expire() drops what is older than
// kReassemblyTimeout and reports first fragments so that the caller can send ICMP "reassembly time exceeded".
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "netstack/base/time.h"
#include "netstack/wire/drop.h"
#include "netstack/wire/ip.h"

namespace cordon {

class Reassembler {
 public:
  Reassembler();
  ~Reassembler();
  Reassembler(const Reassembler&) = delete;
  Reassembler& operator=(const Reassembler&) = delete;

  /// Takes a fragment (packet.fragment is set). kFragmentHeld while others are missing; the whole packet
  /// when it was the last one, as if it had come unfragmented (`packet` starts with a rewritten header
  /// without fragment fields; the view is valid until the next call). Other Drops: the datagram is gone.
  [[nodiscard]] Parsed<IpPacket> insert(Instant now, const IpPacket& packet);

  /// Drops timed-out datagrams. For each whose first fragment had come, `report` gets that fragment's
  /// packet from its IP header on (for ICMP 11/1 or 3/1).
  void expire(Instant now, const std::function<void(Bytes first_fragment)>& report);

  [[nodiscard]] Instant next_deadline() const;
  [[nodiscard]] std::size_t datagrams() const;
  [[nodiscard]] std::size_t bytes_held() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cordon
