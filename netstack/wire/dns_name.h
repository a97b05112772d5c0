// Domain names as values: the uncompressed wire form of RFC 1035 section 3.1 in a fixed array, the
// root label included. Letters keep the case they came with; comparison ignores it (RFC 4343).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "netstack/address/ip_address.h"
#include "netstack/base/bytes.h"

namespace cordon {

inline constexpr std::size_t kLongestDnsName = 255;  // octets with the root label, RFC 1035 2.3.4
inline constexpr std::size_t kLongestDnsLabel = 63;

/// Only A to Z: a name's octets are not text of any locale (RFC 4343 section 3). Length octets are
/// at most 63 and so no letters.
[[nodiscard]] constexpr std::uint8_t lower_dns_octet(std::uint8_t octet) {
  return octet >= 'A' && octet <= 'Z' ? static_cast<std::uint8_t>(octet + ('a' - 'A')) : octet;
}

class DnsName {
 public:
  /// The root.
  constexpr DnsName() = default;

  /// Dotted text without escapes, with or without the dot at the end: printable ASCII only, labels
  /// of 1 to 63 octets, 255 in all. "." is the root; an empty text is none.
  [[nodiscard]] static std::optional<DnsName> parse(std::string_view text);

  /// The name that stands at `offset` of a message, compression followed (RFC 1035 4.1.4); `offset`
  /// moves behind it. A pointer must lead backwards, before the labels that it continues and not
  /// into the header, so that no chain of pointers loops; nor are there more than a name has
  /// labels. nullopt, and `offset` as it was, otherwise.
  [[nodiscard]] static std::optional<DnsName> read(Bytes message, std::size_t& offset);

  /// in-addr.arpa (RFC 1035 3.5) or ip6.arpa (RFC 3596 2.5).
  [[nodiscard]] static DnsName of_address(const IpAddress& address);
  /// The address that of_address() made this name from, if it is one.
  [[nodiscard]] std::optional<IpAddress> to_address() const;

  /// Uncompressed, with the root label: 1 to 255 octets.
  [[nodiscard]] Bytes wire() const { return Bytes(octets_).first(size_); }
  [[nodiscard]] bool is_root() const { return size_ == 1; }
  /// Equal to `suffix`, or under it.
  [[nodiscard]] bool ends_with(const DnsName& suffix) const;
  [[nodiscard]] DnsName lower_case() const;
  /// RFC 1035 5.1: printable ASCII, everything else and dots in labels escaped; no dot at the end,
  /// the root is ".". At most 1,003 characters.
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const DnsName& one, const DnsName& other);

 private:
  // A label before the root label; false where the name would grow too long.
  [[nodiscard]] bool append(Bytes label);

  std::array<std::uint8_t, kLongestDnsName> octets_{};
  std::uint8_t size_ = 1;
};

}  // namespace cordon
