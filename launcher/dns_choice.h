// Whom the translator's resolver asks: `--dns`, and `upstream` of a policy file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "netstack/address/ip_address.h"
#include "netstack/base/result.h"

namespace cordon {

struct DnsChoice {
  enum class Kind : std::uint8_t {
    kHost,  // what the host's resolv.conf says, followed as it changes
    kList,  // `servers`, in order
    kOff,   // no resolver
  };
  Kind kind = Kind::kHost;
  std::vector<Endpoint> servers;

  friend bool operator==(const DnsChoice&, const DnsChoice&) = default;
};

/// "host" or "off" alone, or servers: ADDRESS, ADDRESS:PORT, [IPV6]:PORT. An empty list is "host".
/// The error begins with the text that is wrong.
[[nodiscard]] Result<DnsChoice> parse_dns_choice(std::span<const std::string> texts);

/// What parse_dns_choice() reads back.
[[nodiscard]] std::vector<std::string> format_dns_choice(const DnsChoice& choice);

}  // namespace cordon
