// A host's name as a client writes it in the clear: in SNI (RFC 6066 section 3) and in HTTP
// (RFC 9110 section 7.2). Stricter than DnsName: letters, digits, hyphen, underscore and dots, so
// that no server can read another name out of it than we do.
#pragma once

#include <optional>
#include <string_view>

#include "netstack/wire/dns_name.h"

namespace cordon {

/// With or without the dot at the end; nullopt for anything that is no name, an IPv6 literal among
/// them. An IPv4 literal reads as a name of digits, which no rule has.
[[nodiscard]] std::optional<DnsName> parse_host_name(std::string_view text);

}  // namespace cordon
