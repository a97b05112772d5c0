// The guest's datagram again, as an ICMP error quotes it.
#pragma once

#include "netstack/flow/key.h"
#include "netstack/wire/udp.h"

namespace cordon {

/// How much of a datagram an ICMP error quotes at most: the rest is cut by the error's own bound.
inline constexpr std::size_t kQuotedPayload = 512;
inline constexpr std::size_t kQuotedDatagram = kIpv6HeaderSize + kUdpHeaderSize + kQuotedPayload;

/// Octets written: at most kQuotedDatagram.
[[nodiscard]] std::size_t write_quoted_datagram(MutableBytes out, const FlowKey& key,
                                                Bytes payload);

}  // namespace cordon
