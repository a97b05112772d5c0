// TCP headers and options (RFC 9293 section 3.1, RFC 7323, RFC 2018), as far as a handshake needs
// them: the streams themselves are the kernel's.
#pragma once

#include <cstdint>
#include <optional>

#include "netstack/wire/ip.h"

namespace cordon {

/// A sequence number: arithmetic is modulo 2^32 and there is no operator<.
class Seq {
 public:
  constexpr Seq() = default;
  constexpr explicit Seq(std::uint32_t value) : value_(value) {}
  [[nodiscard]] constexpr std::uint32_t get() const { return value_; }
  [[nodiscard]] constexpr Seq plus(std::uint32_t octets) const { return Seq(value_ + octets); }
  friend constexpr bool operator==(Seq, Seq) = default;

 private:
  std::uint32_t value_ = 0;
};

struct TcpFlags {
  bool fin = false, syn = false, rst = false, psh = false, ack = false, urg = false;
  friend bool operator==(const TcpFlags&, const TcpFlags&) = default;
};

/// The options of a SYN. Unknown kinds (MPTCP, Fast Open, …) are passed over.
struct SynOptions {
  std::optional<std::uint16_t> mss;          // RFC 9293 section 3.7.1
  std::optional<std::uint8_t> window_scale;  // 0..14; larger is read as 14 (RFC 7323 section 2.3)
  bool has_sack_permitted = false;           // RFC 2018
  struct Timestamps {
    std::uint32_t value = 0;  // TSval
    std::uint32_t echo = 0;   // TSecr
    friend bool operator==(const Timestamps&, const Timestamps&) = default;
  };
  std::optional<Timestamps> timestamps;  // RFC 7323
  friend bool operator==(const SynOptions&, const SynOptions&) = default;
};

struct TcpSegment {
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  Seq seq;
  Seq ack;
  TcpFlags flags;
  std::uint16_t window = 0;
  Bytes options;  // raw, 0..40 octets
  Bytes payload;
};

/// `is_checksum_trusted`: the kernel left the checksum undone (virtio NEEDS_CSUM) or vouches for
/// it. Refuses SYN+FIN, SYN+RST and a segment without any flag (kBadTcpFlags), port 0 (kBadPort),
/// and a packet that is still a fragment (kBadTransportLength).
[[nodiscard]] Parsed<TcpSegment> parse_tcp(const IpPacket& packet, bool is_checksum_trusted);

/// An option of length 0 or 1, or one that passes the end, ends the walk: what came before it
/// counts (that is what Linux does). A known kind of a wrong length is passed over, an MSS of 0
/// says nothing. Never fails: a SYN with broken options is a SYN without them.
[[nodiscard]] SynOptions parse_syn_options(Bytes options);

inline constexpr std::size_t kTcpHeaderSize = 20;  // without options
inline constexpr std::size_t kMaxTcpHeaderSize = 60;

struct TcpHeaderFields {
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  Seq seq;
  Seq ack;
  TcpFlags flags;
  std::uint16_t window = 0;
};

/// Writes an IP packet with a segment without payload, checksums included; the octets written, 0
/// where `out` is too small. `ip.protocol` is not read. `options` only on a SYN; may be null.
[[nodiscard]] std::size_t write_tcp(MutableBytes out, const IpHeaderFields& ip,
                                    const TcpHeaderFields& fields, const SynOptions* options);

}  // namespace cordon
