// The handshake's packets: what a SYN is answered with. Pure.
//
// The initial send sequence number follows RFC 6528: a clock of 4 µs ticks plus a keyed hash over
// both endpoints. The answer offers no more than the SYN did: window scaling, SACK and timestamps
// only where they were offered (RFC 7323, RFC 2018), MPTCP and Fast Open never, so that both fall
// back.
#pragma once

#include "netstack/base/siphash.h"
#include "netstack/base/time.h"
#include "netstack/flow/key.h"
#include "netstack/seams/guest_sockets.h"
#include "netstack/wire/tcp.h"

namespace cordon {

/// The scale that our socket uses when the guest offered scaling: windows up to 16 MiB in steps of
/// 256.
inline constexpr std::uint8_t kOurWindowScale = 8;
/// The window of a SYN-ACK, which is never scaled.
inline constexpr std::uint16_t kSynAckWindow = 65535;
/// RFC 9293 section 3.7.1: what a peer can take that does not say.
inline constexpr std::uint16_t kDefaultMssV4 = 536;
inline constexpr std::uint16_t kDefaultMssV6 = 1220;
/// Below this an MSS is a mistake or an attack: Linux has the same floor (tcp_min_snd_mss).
inline constexpr std::uint16_t kMinMss = 48;

/// What a SYN said, kept until its flow ends: a repeated SYN gets the same answer.
struct SynRecord {
  Seq irs;
  Seq iss;
  std::uint16_t window = 0;
  SynOptions options;
};

[[nodiscard]] Seq initial_sequence(const SipKey& key, const FlowKey& flow, Instant now);

/// What the socket is told that takes the connection over.
[[nodiscard]] Adoption adoption_of(const FlowKey& flow, const SynRecord& syn);

/// Octets written, 0 where `out` is too small. `timestamp` is the socket's clock (TSval).
[[nodiscard]] std::size_t write_syn_ack(MutableBytes out, const FlowKey& flow, const SynRecord& syn,
                                        std::uint16_t mtu, std::uint32_t timestamp);

/// The reset that says "connection refused" (RFC 9293 section 3.5.2: sequence 0, everything
/// acknowledged).
[[nodiscard]] std::size_t write_refusal(MutableBytes out, const FlowKey& flow, Seq irs);

/// The SYN again, as far as an ICMP error quotes it.
[[nodiscard]] std::size_t write_quoted_syn(MutableBytes out, const FlowKey& flow, Seq irs);

}  // namespace cordon
