// IP addresses, prefixes and endpoints as values.
//
// An IpAddress is IPv4 or IPv6 and never an IPv4-mapped IPv6 address on purpose of our own: sockets
// of the host are opened per family, so the mapping never arises. Where a guest sends one in a
// packet it stays what it is, and address/classes.h unwraps it for judgement.
//
// Text forms: RFC 4291 section 2.2 is read, RFC 5952 is written.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "netstack/base/bytes.h"

namespace cordon {

enum class Family : std::uint8_t { kIpv4, kIpv6 };

class IpAddress {
 public:
  /// 0.0.0.0
  constexpr IpAddress() = default;

  [[nodiscard]] static constexpr IpAddress v4(std::array<std::uint8_t, 4> octets) {
    IpAddress address;
    for (std::size_t i = 0; i < octets.size(); ++i) address.octets_[i] = octets[i];
    return address;
  }
  /// `host_order` as in 0x7f000001 for 127.0.0.1.
  [[nodiscard]] static constexpr IpAddress v4(std::uint32_t host_order) {
    return v4({static_cast<std::uint8_t>(host_order >> 24),
               static_cast<std::uint8_t>(host_order >> 16),
               static_cast<std::uint8_t>(host_order >> 8), static_cast<std::uint8_t>(host_order)});
  }
  [[nodiscard]] static constexpr IpAddress v6(std::array<std::uint8_t, 16> octets) {
    IpAddress address;
    address.family_ = Family::kIpv6;
    address.octets_ = octets;
    return address;
  }
  /// `octets` are 4 or 16, in network order, as they stand in a header; anything else is 0.0.0.0.
  [[nodiscard]] static IpAddress from_octets(Bytes octets);
  /// Dotted quad or RFC 4291 text, no zone, no prefix length.
  [[nodiscard]] static std::optional<IpAddress> parse(std::string_view text);

  [[nodiscard]] constexpr Family family() const { return family_; }
  [[nodiscard]] constexpr bool is_v4() const { return family_ == Family::kIpv4; }
  [[nodiscard]] constexpr bool is_v6() const { return family_ == Family::kIpv6; }
  /// 4 or 16 octets in network order.
  [[nodiscard]] constexpr Bytes octets() const {
    return Bytes(octets_).first(is_v4() ? std::size_t{4} : std::size_t{16});
  }
  /// The IPv4 address as a number; 0 for IPv6.
  [[nodiscard]] constexpr std::uint32_t v4_number() const {
    if (!is_v4()) return 0;
    return (std::uint32_t{octets_[0]} << 24) | (std::uint32_t{octets_[1]} << 16) |
           (std::uint32_t{octets_[2]} << 8) | std::uint32_t{octets_[3]};
  }
  /// 32 or 128.
  [[nodiscard]] constexpr unsigned bits() const { return is_v4() ? 32 : 128; }

  [[nodiscard]] bool is_unspecified() const;
  /// 224.0.0.0/4, ff00::/8 and 255.255.255.255.
  [[nodiscard]] bool is_multicast_or_broadcast() const;
  /// 127.0.0.0/8, ::1.
  [[nodiscard]] bool is_loopback() const;
  /// 169.254.0.0/16, fe80::/10.
  [[nodiscard]] bool is_link_local() const;

  /// Whether both are of one family and equal in their first `length` bits.
  [[nodiscard]] constexpr bool shares_bits(const IpAddress& other, unsigned length) const {
    if (family_ != other.family_) return false;
    const Halves ours = halves();
    const Halves theirs = other.halves();
    return ((ours[0] ^ theirs[0]) & leading_bits(length)) == 0 &&
           ((ours[1] ^ theirs[1]) & leading_bits(length < 64 ? 0 : length - 64)) == 0;
  }

  /// Dotted quad, or RFC 5952.
  [[nodiscard]] std::string to_string() const;

  friend constexpr bool operator==(const IpAddress&, const IpAddress&) = default;
  /// Any total order (IPv4 first), for sorted containers.
  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  // The octets as two numbers, the first one's octets in the higher. IPv4 fills half of the first.
  using Halves = std::array<std::uint64_t, 2>;
  [[nodiscard]] constexpr Halves halves() const {
    auto halves = std::bit_cast<Halves>(octets_);
    if constexpr (std::endian::native == std::endian::little) {
      for (std::uint64_t& half : halves) half = std::byteswap(half);
    }
    return halves;
  }
  // A number whose first `count` bits are set, all from 64 on.
  [[nodiscard]] static constexpr std::uint64_t leading_bits(unsigned count) {
    if (count == 0) return 0;
    return ~std::uint64_t{0} << (count < 64 ? 64 - count : 0);
  }

  Family family_ = Family::kIpv4;
  std::array<std::uint8_t, 16> octets_{};
};

/// 127.0.0.1 or ::1.
[[nodiscard]] constexpr IpAddress loopback(Family family) {
  if (family == Family::kIpv4) return IpAddress::v4(0x7f000001);
  return IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
}

/// An address and a port; in flows of ICMP echo the "port" is the identifier.
struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;

  /// "1.2.3.4:80", "[2001:db8::1]:80".
  [[nodiscard]] std::string to_string() const;
  friend constexpr bool operator==(const Endpoint&, const Endpoint&) = default;
};

/// A CIDR prefix whose host bits are zero by construction (RFC 4632).
class Prefix {
 public:
  constexpr Prefix() = default;
  /// Clears the host bits. `length` is clamped to the family's bits.
  Prefix(const IpAddress& address, unsigned length);
  /// "10.0.0.0/8", "2001:db8::/32", or an address alone (/32, /128). Set host bits are refused, so
  /// that a typing error never becomes another network.
  [[nodiscard]] static std::optional<Prefix> parse(std::string_view text);

  [[nodiscard]] const IpAddress& address() const { return address_; }
  [[nodiscard]] unsigned length() const { return length_; }
  [[nodiscard]] bool contains(const IpAddress& address) const {
    return address_.shares_bits(address, length_);
  }
  [[nodiscard]] bool overlaps(const Prefix& other) const;
  [[nodiscard]] std::string to_string() const;

  friend constexpr bool operator==(const Prefix&, const Prefix&) = default;

 private:
  IpAddress address_;
  std::uint8_t length_ = 0;
};

}  // namespace cordon
