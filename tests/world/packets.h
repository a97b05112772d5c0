// What a guest puts on its link, and what it finds there: packets built and read without netstack/,
// octet by octet after the RFCs, so that a mistake there is not repeated here.
//
//     Syn().to("198.51.100.17:80").mss(1460)
//     Udp("hello").from_port(4000).to("[2001:db8::7]:9")
//     Ping().to("198.51.100.17").id(7)
//
// A field that is not named has the value that an ordinary kernel would give it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "netstack/address/ip_address.h"
#include "netstack/wire/ethernet.h"

namespace cordon::world {

using Octets = std::vector<std::uint8_t>;

inline constexpr MacAddress kGuestMac{0x02, 0, 0, 0, 0, 0x02};
inline constexpr MacAddress kGatewayMac{0x02, 0, 0, 0, 0, 0x01};

inline constexpr std::uint8_t kIcmp = 1;
inline constexpr std::uint8_t kTcp = 6;
inline constexpr std::uint8_t kUdp = 17;
inline constexpr std::uint8_t kIcmpv6 = 58;

/// The guest's link in every world.
[[nodiscard]] IpAddress guest_address(Family family);
[[nodiscard]] IpAddress gateway_address(Family family);
[[nodiscard]] IpAddress resolver_address(Family family);
[[nodiscard]] IpAddress door_address(Family family);

/// "198.51.100.17" or "2001:db8::7"; a test with another text fails.
[[nodiscard]] IpAddress address(std::string_view text);
/// "198.51.100.17:80", "[2001:db8::7]:80"; without a port it is 0.
[[nodiscard]] Endpoint endpoint(std::string_view text);
[[nodiscard]] Octets octets(std::string_view text);
/// RFC 1071 over all of `bytes`; 0 where a checksum field inside is right.
[[nodiscard]] std::uint16_t internet_checksum(const Octets& bytes);

class Packet {
 public:
  explicit Packet(std::uint8_t protocol) : protocol_(protocol) {}

  Packet& from(std::string_view source);  // an endpoint, or an address alone
  Packet& from_port(std::uint16_t port) { return set(from_.port, port); }
  Packet& to(std::string_view destination) { return to(endpoint(destination)); }
  Packet& to(const Endpoint& destination) { return set(to_, destination); }
  Packet& payload(std::string_view text) { return set(payload_, octets(text)); }
  Packet& payload(Octets bytes) { return set(payload_, std::move(bytes)); }
  Packet& ttl(std::uint8_t value) { return set(ttl_, value); }
  Packet& traffic_class(std::uint8_t value) { return set(traffic_class_, value); }
  Packet& may_fragment() { return set(dont_fragment_, false); }
  Packet& source_mac(const MacAddress& mac) { return set(source_mac_, mac); }
  Packet& destination_mac(const MacAddress& mac) { return set(destination_mac_, mac); }
  Packet& bad_checksum() { return set(has_bad_checksum_, true); }

  // TCP
  Packet& seq(std::uint32_t value) { return set(seq_, value); }
  Packet& ack(std::uint32_t value) {
    flags_ |= 0x10;
    return set(ack_, value);
  }
  Packet& flags(std::uint8_t value) { return set(flags_, value); }
  Packet& with_fin() { return flags(flags_ | 0x01); }
  Packet& with_rst() { return flags(flags_ | 0x04); }
  Packet& window(std::uint16_t value) { return set(window_, value); }
  Packet& mss(std::uint16_t value);
  Packet& window_scale(std::uint8_t value);
  Packet& sack_permitted();
  Packet& timestamps(std::uint32_t value);
  Packet& options(Octets raw) { return set(options_, std::move(raw)); }

  // UDP: several datagrams of `segment_size` in one frame, as the kernel's USO hands them over.
  Packet& train(std::uint16_t segment_size) { return set(segment_size_, segment_size); }

  // ICMP
  Packet& type(std::uint8_t value) { return set(type_, value); }
  Packet& code(std::uint8_t value) { return set(code_, value); }
  Packet& id(std::uint16_t value) { return set(id_, value); }
  Packet& sequence(std::uint16_t value) { return set(sequence_, value); }

  [[nodiscard]] std::uint16_t segment_size() const { return segment_size_; }
  [[nodiscard]] std::uint32_t sequence_number() const { return seq_; }
  [[nodiscard]] IpAddress source() const;
  [[nodiscard]] const Endpoint& destination() const { return to_; }
  /// The transport header and what follows.
  [[nodiscard]] Octets transport() const;
  [[nodiscard]] Octets packet() const { return packet_of(transport(), std::nullopt); }
  [[nodiscard]] Octets frame() const { return frame_of(packet()); }
  /// The frames of the packet cut into fragments of `size` octets of payload (a multiple of 8).
  [[nodiscard]] std::vector<Octets> fragments(std::size_t size, std::uint16_t identification) const;

 private:
  struct Piece {
    std::uint16_t identification;
    std::size_t offset;
    bool has_more;
  };

  template <class T, class U>
  Packet& set(T& field, U&& value) {
    field = static_cast<U&&>(value);
    return *this;
  }
  Packet& option(std::initializer_list<std::uint8_t> bytes);
  [[nodiscard]] Octets packet_of(const Octets& payload, const std::optional<Piece>& piece) const;
  [[nodiscard]] Octets frame_of(const Octets& packet) const;

  std::uint8_t protocol_;
  bool has_source_ = false;
  Endpoint from_{.port = 40000};
  Endpoint to_;
  Octets payload_;
  std::uint8_t ttl_ = 64;
  std::uint8_t traffic_class_ = 0;
  bool dont_fragment_ = true;
  bool has_bad_checksum_ = false;
  MacAddress source_mac_ = kGuestMac;
  MacAddress destination_mac_ = kGatewayMac;
  std::uint32_t seq_ = 1000;
  std::uint32_t ack_ = 0;
  std::uint8_t flags_ = 0;
  std::uint16_t window_ = 64240;
  Octets options_;
  std::uint16_t segment_size_ = 0;
  std::uint8_t type_ = 0;
  std::uint8_t code_ = 0;
  std::uint16_t id_ = 1;
  std::uint16_t sequence_ = 1;
};

[[nodiscard]] Packet Syn();
/// Any TCP segment without SYN.
[[nodiscard]] Packet Segment(std::uint8_t flags);
[[nodiscard]] Packet Udp(std::string_view payload = "?");
/// An echo request; its type follows the destination's family.
[[nodiscard]] Packet Ping();
/// A packet of any other transport.
[[nodiscard]] Packet Transport(std::uint8_t protocol);

/// A packet that the tap got, taken apart. Reading checks every length and every checksum.
struct Seen {
  IpAddress source;
  IpAddress destination;
  std::uint8_t protocol = 0;
  std::uint8_t ttl = 0;
  std::uint8_t traffic_class = 0;
  bool has_dont_fragment = false;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  // TCP
  std::uint32_t seq = 0;
  std::uint32_t ack = 0;
  std::uint8_t flags = 0;
  std::uint16_t window = 0;
  std::optional<std::uint16_t> mss;
  std::optional<std::uint8_t> window_scale;
  bool has_sack_permitted = false;
  std::optional<std::uint32_t> timestamp;
  std::optional<std::uint32_t> timestamp_echo;
  bool has_other_option = false;
  // UDP
  std::uint16_t segment_size = 0;
  // ICMP
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  std::uint16_t id = 0;
  std::uint16_t sequence = 0;
  std::uint32_t mtu = 0;
  /// Of TCP, UDP and echo what they carry; of an ICMP error the packet that it quotes.
  Octets payload;

  [[nodiscard]] bool is_syn_ack() const { return protocol == kTcp && flags == 0x12; }
  [[nodiscard]] bool is_reset() const { return protocol == kTcp && (flags & 0x04) != 0; }
  [[nodiscard]] bool is_udp() const { return protocol == kUdp; }
  [[nodiscard]] bool is_icmp() const { return protocol == kIcmp || protocol == kIcmpv6; }
  [[nodiscard]] std::string text() const;
  [[nodiscard]] std::string describe() const;
};

/// How the checksum of a frame is finished by the kernel behind the tap.
struct Unfinished {
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
  std::uint16_t segment_size = 0;
};

/// The packet in a frame, or nothing (and a failed test) where a length or a checksum is wrong, or
/// the MAC addresses are not those of the link.
[[nodiscard]] std::optional<Seen> read_frame(Octets frame, const Unfinished& unfinished);
/// A packet as an ICMP error quotes it: cut anywhere behind its first 8 transport octets, its
/// checksums not looked at.
[[nodiscard]] std::optional<Seen> read_quoted(const Octets& packet);

}  // namespace cordon::world
