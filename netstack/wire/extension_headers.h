// The extension headers of an IPv6 packet (RFC 8200 section 4), walked once from the fixed header
// to the first header that is none of them.
//
// Walked: hop-by-hop options (only directly behind the fixed header), routing (never type 0, and no
// other with segments left), fragment, destination options. Authentication and ESP end the walk
// like any transport: nothing of ours looks behind them.
#pragma once

#include <cstdint>
#include <optional>

#include "netstack/wire/drop.h"
#include "netstack/wire/ip.h"

namespace cordon {

/// Bounds of the chain (RFC 8504 section 5.3): kMaxExtensionHeaders and kMaxExtensionOctets of
/// flow/limits.h, which wire/ may not include; flow/reassembly.cc asserts that they are equal.
inline constexpr std::size_t kExtensionHeaderLimit = 16;
inline constexpr std::size_t kExtensionOctetLimit = 512;

struct ExtensionChain {
  std::uint8_t protocol = 0;          // what the last header names
  std::size_t next_header_field = 6;  // where it names it, octets from the start of the packet
  std::size_t end = kIpv6HeaderSize;  // where that protocol's own header begins
  std::optional<Fragment> fragment;   // absent for an atomic fragment (RFC 6946)
};

/// What the walk does at a fragment header whose offset is 0 and that has more fragments behind it.
enum class AtFirstFragment : std::uint8_t {
  kStop,    // the payload is the fragment's share
  kWalkOn,  // the first fragment must hold the whole chain (RFC 7112), so the chain is walked to
            // its end
};

/// `packet` starts with a complete IPv6 header; nothing behind its end is read. kSourceRoute,
/// kBadExtensionHeader, or kBadHeaderLength for a header that passes the end of `packet`.
[[nodiscard]] Parsed<ExtensionChain> walk_extension_headers(Bytes packet, AtFirstFragment mode);

}  // namespace cordon
