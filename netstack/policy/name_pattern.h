// Which names a rule is about: one, the subdomains of one, or both.
//
//   pypi.org     kExact
//   *.pypi.org   kSubdomains: every name below, at any depth, not pypi.org itself
//   .pypi.org    kSuffix: pypi.org and every name below
//
// A rule's name is a host name as people write it: letters, digits, hyphens and underscores, no
// label that starts or ends with a hyphen, not numeric at the end (that would be an address, WHATWG
// URL 3.5.3), in the ASCII form of RFC 5890 where it is international. What a guest asks for may be
// any octets; such names simply match nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "netstack/wire/dns_name.h"

namespace cordon {

struct NamePattern {
  enum class Kind : std::uint8_t { kExact, kSubdomains, kSuffix };
  Kind kind = Kind::kExact;
  DnsName name;  // in lower case

  /// Letter case does not count (RFC 4343).
  [[nodiscard]] bool matches(const DnsName& other) const;
  /// As it is written in a rule.
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const NamePattern&, const NamePattern&) = default;
};

/// What is wrong with a name in a rule, and how it is written right.
struct NameFault {
  std::size_t offset = 0;  // where in the text
  std::string why;
};

/// Reads a name as a rule has it, in any letter case, with or without a dot at the end. Refused
/// are wildcards over a whole top-level domain, names that lead to the guest itself (RFC 6761 6.3)
/// or to the host door, and words that are classes of addresses.
[[nodiscard]] std::expected<NamePattern, NameFault> parse_name_pattern(std::string_view text);

/// Whether a rule may be for this very name: parse_name_pattern() takes it. Single labels are left
/// out, for most are domains of everybody's. Allocates nothing.
[[nodiscard]] bool may_have_rule(const DnsName& name);

}  // namespace cordon
