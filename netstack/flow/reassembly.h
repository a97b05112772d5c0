// Reassembly of IPv4 and IPv6 fragments, within fixed bounds.
//
// Goal: a guest's kernel fragments UDP datagrams larger than its MTU; the policy must see a whole
// datagram or nothing. Any overlap kills the datagram (RFC 5722; for IPv4 the same rule by our
// choice), the first fragment must hold the transport header (RFC 7112), atomic fragments are whole
// packets by themselves (RFC 6946) and never reach this class.
//
// A fragment that is bad by itself (empty, no multiple of 8, past 65,535) kills its datagram like
// an overlap. A killed datagram stays known until its timeout, so that its later pieces die too.
//
// State: all memory is taken at construction, kReassemblyBytes in all; nothing is allocated later.
// A datagram is a slot with a list of the ranges that came and with pages out of one pool. When
// slots or pages run out the oldest datagram gives way. Time is an argument; expire() drops what is
// older than kReassemblyTimeout and reports first fragments so that the caller can send ICMP
// "reassembly time exceeded". Steps per fragment: 64 slots and 64 ranges are looked at, however
// hostile the order (RFC 8504 section 5.3).
//
// Not done: ECN marks of the later fragments (RFC 3168 section 5.3); the first one's traffic class
// counts.
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
  Reassembler(Reassembler&&) = delete;
  Reassembler& operator=(Reassembler&&) = delete;

  /// Takes a fragment (packet.fragment is set). kFragmentHeld while others are missing; the whole
  /// packet when it was the last one, as if it had come unfragmented (`packet` starts with a
  /// rewritten header without fragment fields; the view is valid until the next call). Other Drops:
  /// the datagram is gone.
  [[nodiscard]] Parsed<IpPacket> insert(Instant now, const IpPacket& packet);

  /// Drops timed-out datagrams and returns how many of them were not dead already. For each whose
  /// first fragment had come, `report` gets that fragment's packet from its IP header on (for ICMP
  /// 11/1 or 3/1); the view ends with the call, in which the reassembler must not be used.
  std::size_t expire(Instant now, const std::function<void(Bytes first_fragment)>& report);

  /// When expire() has something to do; kNever where nothing is held.
  [[nodiscard]] Instant next_deadline() const;
  /// Datagrams known, dead ones among them; at most kReassemblyDatagrams.
  [[nodiscard]] std::size_t datagrams() const;
  /// Octets of the pages in use.
  [[nodiscard]] std::size_t bytes_held() const;
  /// Datagrams that gave way to newer ones since the start.
  [[nodiscard]] std::uint64_t evictions() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cordon
