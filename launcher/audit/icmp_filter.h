// Raw ICMP sockets that hear one type of message only. Errors quote what they are about, tokens
// included, so they must not be heard for it.
#pragma once

#include <cstdint>

#include "netstack/address/ip_address.h"
#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon::audit {

enum class EchoKind : std::uint8_t { kRequest, kReply };

/// `socket`: raw, of IPPROTO_ICMP or IPPROTO_ICMPV6.
[[nodiscard]] Status hear_only(const UniqueFd& socket, Family family, EchoKind kind);

}  // namespace cordon::audit
