#include "tests/world/packets.h"

#include <algorithm>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace cordon::world {
namespace {

void put16(Octets& out, std::uint32_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}
void put32(Octets& out, std::uint32_t value) {
  put16(out, value >> 16);
  put16(out, value & 0xffff);
}
void put(Octets& out, Bytes bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

std::uint16_t get16(const Octets& in, std::size_t at) {
  return static_cast<std::uint16_t>((in.at(at) << 8) | in.at(at + 1));
}
std::uint32_t get32(const Octets& in, std::size_t at) {
  return (std::uint32_t{get16(in, at)} << 16) | get16(in, at + 2);
}
void store16(Octets& out, std::size_t at, std::uint16_t value) {
  out.at(at) = static_cast<std::uint8_t>(value >> 8);
  out.at(at + 1) = static_cast<std::uint8_t>(value);
}
Octets tail(const Octets& from, std::size_t at) {
  return Octets(from.begin() + static_cast<std::ptrdiff_t>(std::min(at, from.size())), from.end());
}

Octets pseudo_header(const IpAddress& source, const IpAddress& destination, std::uint8_t protocol,
                     std::size_t size) {
  Octets out;
  put(out, source.octets());
  put(out, destination.octets());
  put32(out, static_cast<std::uint32_t>(size));
  put32(out, protocol);
  return out;
}

std::uint16_t transport_checksum(const IpAddress& source, const IpAddress& destination,
                                 std::uint8_t protocol, const Octets& transport) {
  // ICMP of IPv4 has no pseudo-header.
  Octets all =
      protocol == kIcmp ? Octets{} : pseudo_header(source, destination, protocol, transport.size());
  put(all, transport);
  return internet_checksum(all);
}

}  // namespace

IpAddress guest_address(Family family) {
  return address(family == Family::kIpv4 ? "10.0.2.100" : "fd00:c0de::100");
}
IpAddress gateway_address(Family family) {
  return address(family == Family::kIpv4 ? "10.0.2.1" : "fd00:c0de::1");
}
IpAddress resolver_address(Family family) {
  return address(family == Family::kIpv4 ? "10.0.2.3" : "fd00:c0de::3");
}
IpAddress door_address(Family family) {
  return address(family == Family::kIpv4 ? "10.0.2.4" : "fd00:c0de::4");
}

IpAddress address(std::string_view text) {
  const std::optional<IpAddress> parsed = IpAddress::parse(text);
  EXPECT_TRUE(parsed.has_value()) << "no address: " << text;
  return parsed.value_or(IpAddress{});
}

Endpoint endpoint(std::string_view text) {
  std::string_view host = text;
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    host = text.substr(1, end - 1);
    if (text.size() > end + 1) port = text.substr(end + 2);
  } else if (std::ranges::count(text, ':') == 1) {
    const std::size_t colon = text.find(':');
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  unsigned number = 0;
  for (const char digit : port) number = number * 10 + static_cast<unsigned>(digit - '0');
  return Endpoint{.address = address(host), .port = static_cast<std::uint16_t>(number)};
}

Octets octets(std::string_view text) { return Octets(text.begin(), text.end()); }

std::uint16_t internet_checksum(const Octets& bytes) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    sum += i % 2 == 0 ? std::uint64_t{bytes[i]} << 8 : bytes[i];
  }
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

Packet Syn() { return Packet(kTcp).flags(0x02); }
Packet Segment(std::uint8_t flags) { return Packet(kTcp).flags(flags); }
Packet Udp(std::string_view payload) { return Packet(kUdp).payload(payload); }
Packet Ping() { return Packet(kIcmp).payload("abcdefgh"); }
Packet Transport(std::uint8_t protocol) { return Packet(protocol); }

Packet& Packet::from(std::string_view source) {
  const std::uint16_t port = from_.port;
  from_ = endpoint(source);
  if (from_.port == 0) from_.port = port;
  has_source_ = true;
  return *this;
}

Packet& Packet::option(std::initializer_list<std::uint8_t> bytes) {
  options_.insert(options_.end(), bytes);
  return *this;
}
Packet& Packet::mss(std::uint16_t value) {
  return option({2, 4, static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)});
}
Packet& Packet::window_scale(std::uint8_t value) { return option({1, 3, 3, value}); }
Packet& Packet::sack_permitted() { return option({1, 1, 4, 2}); }
Packet& Packet::timestamps(std::uint32_t value) {
  option({1, 1, 8, 10});
  put32(options_, value);
  return option({0, 0, 0, 0});
}

IpAddress Packet::source() const {
  return has_source_ ? from_.address : guest_address(to_.address.family());
}

Octets Packet::transport() const {
  const bool is_v6 = to_.address.is_v6();
  Octets out;
  std::uint8_t protocol = protocol_;
  std::size_t checksum_at = 0;
  if (protocol_ == kTcp) {
    Octets options = options_;
    while (options.size() % 4 != 0) options.push_back(0);
    put16(out, from_.port);
    put16(out, to_.port);
    put32(out, seq_);
    put32(out, ack_);
    out.push_back(static_cast<std::uint8_t>((5 + options.size() / 4) << 4));
    out.push_back(flags_);
    put16(out, window_);
    put32(out, 0);
    put(out, options);
    checksum_at = 16;
  } else if (protocol_ == kUdp) {
    put16(out, from_.port);
    put16(out, to_.port);
    put16(out, static_cast<std::uint32_t>(8 + payload_.size()));
    put16(out, 0);
    checksum_at = 6;
  } else if (protocol_ == kIcmp || protocol_ == kIcmpv6) {
    if (is_v6) protocol = kIcmpv6;
    const std::uint8_t echo = is_v6 ? 128 : 8;
    out.push_back(type_ != 0 ? type_ : echo);
    out.push_back(code_);
    put16(out, 0);
    put16(out, id_);
    put16(out, sequence_);
    checksum_at = 2;
  }
  put(out, payload_);
  if (checksum_at != 0) {
    std::uint16_t sum = transport_checksum(source(), to_.address, protocol, out);
    if (protocol == kUdp && sum == 0) sum = 0xffff;
    store16(out, checksum_at, has_bad_checksum_ ? static_cast<std::uint16_t>(sum ^ 0x5555) : sum);
  }
  return out;
}

Octets Packet::packet_of(const Octets& payload, const std::optional<Piece>& piece) const {
  const IpAddress from = source();
  const bool is_v6 = to_.address.is_v6();
  Octets out;
  if (is_v6) {
    const std::uint8_t protocol = protocol_ == kIcmp ? kIcmpv6 : protocol_;
    put32(out, 0x60000000U | (std::uint32_t{traffic_class_} << 20));
    put16(out, static_cast<std::uint32_t>(payload.size() + (piece ? 8 : 0)));
    out.push_back(piece ? 44 : protocol);
    out.push_back(ttl_);
    put(out, from.octets());
    put(out, to_.address.octets());
    if (piece) {
      out.push_back(protocol);
      out.push_back(0);
      put16(out, static_cast<std::uint32_t>(piece->offset | (piece->has_more ? 1 : 0)));
      put32(out, piece->identification);
    }
  } else {
    out.push_back(0x45);
    out.push_back(traffic_class_);
    put16(out, static_cast<std::uint32_t>(20 + payload.size()));
    put16(out, piece ? piece->identification : 0);
    if (piece) {
      put16(out, static_cast<std::uint32_t>(piece->offset / 8) | (piece->has_more ? 0x2000U : 0U));
    } else {
      put16(out, dont_fragment_ ? 0x4000 : 0);
    }
    out.push_back(ttl_);
    out.push_back(protocol_);
    put16(out, 0);
    put(out, from.octets());
    put(out, to_.address.octets());
    store16(out, 10, internet_checksum(out));
  }
  put(out, payload);
  return out;
}

Octets Packet::frame_of(const Octets& packet) const {
  Octets out;
  put(out, destination_mac_);
  put(out, source_mac_);
  put16(out, to_.address.is_v6() ? 0x86dd : 0x0800);
  put(out, packet);
  return out;
}

std::vector<Octets> Packet::fragments(std::size_t size, std::uint16_t identification) const {
  const Octets whole = transport();
  std::vector<Octets> frames;
  for (std::size_t at = 0; at < whole.size(); at += size) {
    const std::size_t end = std::min(at + size, whole.size());
    const Octets share(whole.begin() + static_cast<std::ptrdiff_t>(at),
                       whole.begin() + static_cast<std::ptrdiff_t>(end));
    frames.push_back(frame_of(packet_of(
        share,
        Piece{.identification = identification, .offset = at, .has_more = end < whole.size()})));
  }
  return frames;
}

namespace {

void read_tcp_options(const Octets& options, Seen& seen) {
  for (std::size_t at = 0; at < options.size();) {
    const std::uint8_t kind = options[at];
    if (kind == 0) return;
    if (kind == 1) {
      ++at;
      continue;
    }
    const std::size_t size = options.at(at + 1);
    if (size < 2 || at + size > options.size()) {
      ADD_FAILURE() << "a TCP option of ours has a bad length";
      return;
    }
    if (kind == 2) {
      seen.mss = get16(options, at + 2);
    } else if (kind == 3) {
      seen.window_scale = options.at(at + 2);
    } else if (kind == 4) {
      seen.has_sack_permitted = true;
    } else if (kind == 8) {
      seen.timestamp = get32(options, at + 2);
      seen.timestamp_echo = get32(options, at + 6);
    } else {
      seen.has_other_option = true;
    }
    at += size;
  }
}

void read_transport(const Octets& in, Seen& seen) {
  if (seen.protocol == kTcp && in.size() >= 20) {
    seen.source_port = get16(in, 0);
    seen.destination_port = get16(in, 2);
    seen.seq = get32(in, 4);
    seen.ack = get32(in, 8);
    seen.flags = in[13] & 0x3f;
    seen.window = get16(in, 14);
    const std::size_t header = std::size_t{in[12]} / 16 * 4;
    if (header < 20 || header > in.size()) return;
    read_tcp_options(Octets(in.begin() + 20, in.begin() + static_cast<std::ptrdiff_t>(header)),
                     seen);
    seen.payload = tail(in, header);
  } else if ((seen.protocol == kTcp || seen.protocol == kUdp) && in.size() >= 8) {
    seen.source_port = get16(in, 0);
    seen.destination_port = get16(in, 2);
    if (seen.protocol == kTcp) seen.seq = get32(in, 4);
    if (seen.protocol == kUdp) seen.payload = tail(in, 8);
  } else if (seen.is_icmp() && in.size() >= 8) {
    seen.type = in[0];
    seen.code = in[1];
    seen.id = get16(in, 4);
    seen.sequence = get16(in, 6);
    seen.mtu = seen.protocol == kIcmp ? seen.sequence : get32(in, 4);
    seen.payload = tail(in, 8);
  }
}

// The IP header; what follows it goes to `transport`.
std::optional<Seen> read_ip(const Octets& packet, bool is_whole, Octets& transport) {
  Seen seen;
  if (packet.empty()) return std::nullopt;
  if (packet[0] >> 4 == 4) {
    if (packet.size() < 20 || packet[0] != 0x45) return std::nullopt;
    seen.traffic_class = packet[1];
    seen.has_dont_fragment = (packet[6] & 0x40) != 0;
    seen.ttl = packet[8];
    seen.protocol = packet[9];
    seen.source = IpAddress::from_octets(Bytes(packet).subspan(12, 4));
    seen.destination = IpAddress::from_octets(Bytes(packet).subspan(16, 4));
    if (is_whole) {
      EXPECT_EQ(get16(packet, 2), packet.size()) << "IPv4 total length";
      const Octets header(packet.begin(), packet.begin() + 20);
      EXPECT_EQ(internet_checksum(header), 0) << "IPv4 header checksum";
    }
    transport = tail(packet, 20);
  } else {
    if (packet.size() < 40 || packet[0] >> 4 != 6) return std::nullopt;
    seen.traffic_class = static_cast<std::uint8_t>(get16(packet, 0) >> 4);
    seen.has_dont_fragment = true;
    seen.ttl = packet[7];
    seen.protocol = packet[6];
    seen.source = IpAddress::from_octets(Bytes(packet).subspan(8, 16));
    seen.destination = IpAddress::from_octets(Bytes(packet).subspan(24, 16));
    if (is_whole) {
      EXPECT_EQ(get16(packet, 4), packet.size() - 40) << "IPv6 payload length";
    }
    transport = tail(packet, 40);
  }
  return seen;
}

}  // namespace

std::optional<Seen> read_frame(Octets frame, const Unfinished& unfinished) {
  if (frame.size() < 14) {
    ADD_FAILURE() << "a frame of " << frame.size() << " octets";
    return std::nullopt;
  }
  EXPECT_TRUE(std::equal(kGuestMac.begin(), kGuestMac.end(), frame.begin()));
  EXPECT_TRUE(std::equal(kGatewayMac.begin(), kGatewayMac.end(), frame.begin() + 6));
  if (unfinished.checksum_start != 0) {
    const std::uint16_t sum = internet_checksum(tail(frame, unfinished.checksum_start));
    store16(frame, unfinished.checksum_start + unfinished.checksum_offset, sum);
  }
  Octets transport;
  std::optional<Seen> seen = read_ip(tail(frame, 14), true, transport);
  if (!seen) {
    ADD_FAILURE() << "a frame without an IP packet";
    return std::nullopt;
  }
  EXPECT_EQ(get16(frame, 12), seen->source.is_v4() ? 0x0800 : 0x86dd);
  EXPECT_EQ(transport_checksum(seen->source, seen->destination, seen->protocol, transport), 0)
      << "transport checksum";
  if (seen->protocol == kUdp) {
    EXPECT_EQ(get16(transport, 4), transport.size()) << "UDP length";
  }
  read_transport(transport, *seen);
  seen->segment_size = unfinished.segment_size;
  return seen;
}

std::optional<Seen> read_quoted(const Octets& packet) {
  Octets transport;
  std::optional<Seen> seen = read_ip(packet, false, transport);
  if (seen) read_transport(transport, *seen);
  return seen;
}

std::string Seen::text() const { return std::string(payload.begin(), payload.end()); }

std::string Seen::describe() const {
  const std::string way = fmt::format("{} > {}", source.to_string(), destination.to_string());
  if (is_icmp()) {
    return fmt::format("{} icmp {}/{} id {} seq {}, {} octets", way, type, code, id, sequence,
                       payload.size());
  }
  if (protocol == kTcp) {
    return fmt::format("{} tcp {} > {} flags {:#04x} seq {} ack {}", way, source_port,
                       destination_port, flags, seq, ack);
  }
  return fmt::format("{} protocol {} {} > {}, {} octets", way, protocol, source_port,
                     destination_port, payload.size());
}

}  // namespace cordon::world
