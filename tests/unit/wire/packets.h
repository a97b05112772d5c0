// Packets for tests, made without the code under test: headers octet by octet, and a checksum that
// adds one 16-bit word after the other as RFC 1071 writes it down.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "netstack/address/ip_address.h"
#include "netstack/base/bytes.h"

namespace cordon::testing {

/// A vector's storage ends where its octets end, so that AddressSanitizer sees a read past them.
using Octets = std::vector<std::uint8_t>;

inline IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

/// The octets of an address, 4 or 16.
inline Octets address(std::string_view text) {
  const IpAddress parsed = ip(text);
  return {parsed.octets().begin(), parsed.octets().end()};
}

/// "45 00 001c": spaces are ignored.
inline Octets hex(std::string_view text) {
  Octets octets;
  unsigned digits = 0;
  unsigned value = 0;
  for (const char c : text) {
    if (c == ' ') continue;
    value = value * 16 + static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
    if (++digits % 2 == 0) {
      octets.push_back(static_cast<std::uint8_t>(value));
      value = 0;
    }
  }
  return octets;
}

inline Octets operator+(Octets front, const Octets& back) {
  front.insert(front.end(), back.begin(), back.end());
  front.shrink_to_fit();
  return front;
}

inline Octets text(std::string_view characters) { return {characters.begin(), characters.end()}; }

/// Octets 0, 1, 2 … so that a shifted copy is seen.
inline Octets counting(std::size_t size, std::size_t from = 0) {
  Octets octets(size);
  for (std::size_t i = 0; i < size; ++i) {
    octets[i] = static_cast<std::uint8_t>((from + i) * 7 + ((from + i) >> 8));
  }
  return octets;
}

inline void put16(Octets& octets, std::size_t at, std::size_t value) {
  octets[at] = static_cast<std::uint8_t>(value >> 8);
  octets[at + 1] = static_cast<std::uint8_t>(value);
}

inline void put32(Octets& octets, std::size_t at, std::uint32_t value) {
  put16(octets, at, value >> 16);
  put16(octets, at + 2, value & 0xffff);
}

inline unsigned get16(Bytes octets, std::size_t at) {
  return (unsigned{octets[at]} << 8) | octets[at + 1];
}

/// The folded sum, not inverted.
inline std::uint16_t plain_sum(Bytes octets, std::uint64_t sum = 0) {
  for (std::size_t i = 0; i < octets.size(); i += 2) {
    const unsigned low = i + 1 < octets.size() ? octets[i + 1] : 0;
    sum += (unsigned{octets[i]} << 8) | low;
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

/// The sum of a transport's octets with its pseudo-header; 0xffff where the checksum inside is
/// right.
inline std::uint16_t plain_transport_sum(const IpAddress& source, const IpAddress& destination,
                                         unsigned protocol, Bytes octets) {
  const Octets addresses = Octets(source.octets().begin(), source.octets().end()) +
                           Octets(destination.octets().begin(), destination.octets().end());
  return plain_sum(octets, plain_sum(addresses, protocol + octets.size()));
}

struct V4 {
  std::string_view source = "198.51.100.2";
  std::string_view destination = "198.51.100.20";
  unsigned protocol = 17;
  unsigned ttl = 64;
  unsigned tos = 0;
  unsigned identification = 0;
  unsigned flags_and_offset = 0x4000;
  Octets options = {};
  int total_length = -1;  // what is true
  int ihl = -1;
};

inline Octets ipv4(const V4& fields, const Octets& payload) {
  Octets header(20);
  header = header + fields.options;
  const int ihl = fields.ihl >= 0 ? fields.ihl : static_cast<int>(header.size() / 4);
  header[0] = static_cast<std::uint8_t>(0x40 | ihl);
  header[1] = static_cast<std::uint8_t>(fields.tos);
  put16(header, 2,
        fields.total_length >= 0 ? static_cast<std::size_t>(fields.total_length)
                                 : header.size() + payload.size());
  put16(header, 4, fields.identification);
  put16(header, 6, fields.flags_and_offset);
  header[8] = static_cast<std::uint8_t>(fields.ttl);
  header[9] = static_cast<std::uint8_t>(fields.protocol);
  std::ranges::copy(ip(fields.source).octets(), header.begin() + 12);
  std::ranges::copy(ip(fields.destination).octets(), header.begin() + 16);
  put16(header, 10, static_cast<std::uint16_t>(~plain_sum(header)));
  return header + payload;
}

struct V6 {
  std::string_view source = "2001:db8::2";
  std::string_view destination = "2001:db8::20";
  unsigned next_header = 17;
  unsigned hop_limit = 64;
  unsigned traffic_class = 0;
  unsigned flow_label = 0;
  int payload_length = -1;  // what is true
};

inline Octets ipv6(const V6& fields, const Octets& payload) {
  Octets header(40);
  put32(header, 0, 0x60000000U | fields.traffic_class << 20 | fields.flow_label);
  put16(header, 4,
        fields.payload_length >= 0 ? static_cast<std::size_t>(fields.payload_length)
                                   : payload.size());
  header[6] = static_cast<std::uint8_t>(fields.next_header);
  header[7] = static_cast<std::uint8_t>(fields.hop_limit);
  std::ranges::copy(ip(fields.source).octets(), header.begin() + 8);
  std::ranges::copy(ip(fields.destination).octets(), header.begin() + 24);
  return header + payload;
}

/// Puts the right checksum into a transport header that goes between the addresses of `Fields`.
template <class Fields>
Octets with_checksum(const Fields& fields, unsigned protocol, std::size_t at, Octets octets) {
  put16(octets, at, 0);
  put16(octets, at,
        static_cast<std::uint16_t>(
            ~plain_transport_sum(ip(fields.source), ip(fields.destination), protocol, octets)));
  return octets;
}

/// A datagram whose checksum is 0, to be completed by with_checksum(…, 17, 6, …).
inline Octets udp(const Octets& payload, unsigned source_port = 40000,
                  unsigned destination_port = 53, int length = -1) {
  Octets header(8);
  put16(header, 0, source_port);
  put16(header, 2, destination_port);
  put16(header, 4, length >= 0 ? static_cast<std::size_t>(length) : 8 + payload.size());
  return header + payload;
}

struct Segment {
  unsigned source_port = 40000;
  unsigned destination_port = 80;
  std::uint32_t seq = 0xffffffff;
  std::uint32_t ack = 0;
  unsigned flags = 0x02;
  unsigned window = 64240;
  unsigned urgent_pointer = 0;
  int data_offset = -1;
  Octets options = {};
};

/// A segment whose checksum is 0, to be completed by with_checksum(…, 6, 16, …).
inline Octets tcp(const Segment& fields, const Octets& payload = {}) {
  Octets header(20);
  header = header + fields.options;
  put16(header, 0, fields.source_port);
  put16(header, 2, fields.destination_port);
  put32(header, 4, fields.seq);
  put32(header, 8, fields.ack);
  const int data_offset =
      fields.data_offset >= 0 ? fields.data_offset : static_cast<int>(header.size() / 4);
  header[12] = static_cast<std::uint8_t>(data_offset << 4);
  header[13] = static_cast<std::uint8_t>(fields.flags);
  put16(header, 14, fields.window);
  put16(header, 18, fields.urgent_pointer);
  return header + payload;
}

/// An ICMP message with its checksum (RFC 792: no pseudo-header).
inline Octets icmp(unsigned type, unsigned code, std::uint32_t rest, const Octets& data = {}) {
  Octets message(8);
  message[0] = static_cast<std::uint8_t>(type);
  message[1] = static_cast<std::uint8_t>(code);
  put32(message, 4, rest);
  message = message + data;
  put16(message, 2, static_cast<std::uint16_t>(~plain_sum(message)));
  return message;
}

/// An ICMPv6 message between the addresses of `fields`, checksum included.
inline Octets icmp6(const V6& fields, unsigned type, unsigned code, std::uint32_t rest,
                    const Octets& data = {}) {
  Octets message(8);
  message[0] = static_cast<std::uint8_t>(type);
  message[1] = static_cast<std::uint8_t>(code);
  put32(message, 4, rest);
  return with_checksum(fields, 58, 2, message + data);
}

inline Octets ethernet(unsigned ether_type, const Octets& payload) {
  Octets header = hex("020000000001 020000000002 0000");
  put16(header, 12, ether_type);
  return header + payload;
}

}  // namespace cordon::testing
