// Puts an address on the host's lo for a moment, where the caller asked for that.
#pragma once

#include <cstdint>

#include "netstack/address/ip_address.h"
#include "netstack/base/result.h"

namespace cordon::audit {

enum class AddressChange : std::uint8_t { kAdd, kRemove };

/// As a /32 or /128. Needs CAP_NET_ADMIN; an address that is there already is an error.
[[nodiscard]] Status change_address(const Endpoint& address, AddressChange change);

}  // namespace cordon::audit
