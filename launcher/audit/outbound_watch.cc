#include "launcher/audit/outbound_watch.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <fmt/format.h>

#include "launcher/audit/hexadecimal.h"
#include "launcher/text_file.h"
#include "netstack/wire/endian.h"
#include "netstack/wire/ip.h"

namespace cordon::audit {
namespace {

constexpr int kReceiveBuffer = 4 << 20;
constexpr std::size_t kMostPacketsATurn = 256;

// RFC 826, for Ethernet and IPv4.
struct ArpPacket {
  std::array<std::uint8_t, 8> start;
  std::array<std::uint8_t, 6> sender_hardware;
  std::array<std::uint8_t, 4> sender;
  std::array<std::uint8_t, 6> target_hardware;
  std::array<std::uint8_t, 4> target;
};
static_assert(sizeof(ArpPacket) == 28);

// RFC 4861 section 4.3, without options.
struct NeighbourSolicitation {
  std::uint8_t type;
  std::array<std::uint8_t, 7> rest;
  std::array<std::uint8_t, 16> target;
};
static_assert(sizeof(NeighbourSolicitation) == 24);
constexpr std::uint8_t kSolicitationType = 135;

struct Ports {
  Be16 source;
  Be16 destination;
};

std::optional<SeenPacket> look_at_arp(Bytes packet) {
  constexpr std::array<std::uint8_t, 8> kRequest{0, 1, 8, 0, 6, 4, 0, 1};
  const auto arp = load<ArpPacket>(packet);
  if (!arp || arp->start != kRequest) return std::nullopt;
  return SeenPacket{.destination = IpAddress::v4(arp->target), .asks_for_neighbour = true};
}

SeenPacket look_at_ip(const IpPacket& packet) {
  SeenPacket seen{.destination = packet.destination};
  const auto protocol = static_cast<IpProtocol>(packet.protocol);
  if (protocol == IpProtocol::kIcmpv6) {
    const auto solicitation = load<NeighbourSolicitation>(packet.payload);
    if (solicitation && solicitation->type == kSolicitationType) {
      return {.destination = IpAddress::v6(solicitation->target), .asks_for_neighbour = true};
    }
  }
  if (protocol != IpProtocol::kTcp && protocol != IpProtocol::kUdp) return seen;
  const bool is_later_fragment = packet.fragment && packet.fragment->offset != 0;
  const auto ports = load<Ports>(packet.payload);
  if (!ports || is_later_fragment) return seen;
  seen.transport = protocol == IpProtocol::kTcp ? Transport::kTcp : Transport::kUdp;
  seen.port = ports->destination.get();
  return seen;
}

/// "0100007F:1F90": 32-bit words as the host's own integers, over octets in network order.
std::optional<Endpoint> parse_table_endpoint(std::string_view text) {
  constexpr std::size_t kDigitsV4 = 8;
  constexpr std::size_t kDigitsV6 = 32;
  const auto colon = text.find(':');
  if (colon != kDigitsV4 && colon != kDigitsV6) return std::nullopt;
  std::array<std::uint8_t, 16> octets{};
  for (std::size_t at = 0; at < colon; at += kDigitsV4) {
    const auto word = parse_hexadecimal(text.substr(at, kDigitsV4));
    if (!word) return std::nullopt;
    std::memcpy(octets.data() + at / 2, &*word, sizeof(*word));
  }
  const auto port = parse_hexadecimal(text.substr(colon + 1));
  if (!port || *port > 65535) return std::nullopt;
  Bytes address = Bytes(octets).first(colon / 2);
  constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (colon == kDigitsV6 && std::equal(kMapped.begin(), kMapped.end(), address.begin())) {
    address = address.subspan(kMapped.size());
  }
  return Endpoint{IpAddress::from_octets(address), static_cast<std::uint16_t>(*port)};
}

std::string_view third_word(std::string_view line) {
  std::string_view word;
  for (int i = 0; i < 3; ++i) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    word = line.substr(0, line.find(' '));
    line.remove_prefix(word.size());
  }
  return word;
}

/// The length-prefixed nibbles of the address's second half, which come first in its PTR name.
std::string reverse_pattern(std::string_view nonce) {
  const std::string name = reverse_name(made_up_address(nonce));
  std::string pattern;
  for (std::size_t i = 0; i < 16; ++i) {
    pattern += '\1';
    pattern += name[i * 2];
  }
  return pattern;
}

/// Rows that a packet on its way out proves by what it carries, wherever it goes. Of the others the
/// destination must be reached; and a question meant for another server may well be passed on by
/// the sandbox's own resolver.
bool is_proved_by_content(Leak leak) {
  constexpr std::array kByContent{Leak::kMdns,        Leak::kLlmnr,     Leak::kNbns,    Leak::kSsdp,
                                  Leak::kWsDiscovery, Leak::kBroadcast, Leak::kDnsNames};
  return std::find(kByContent.begin(), kByContent.end(), leak) != kByContent.end();
}

UniqueFd open_packet_socket() {
  UniqueFd socket(::socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL)));
  if (socket.is_open()) {
    (void)::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer,
                       sizeof(kReceiveBuffer));
  }
  return socket;
}

}  // namespace

std::optional<SeenPacket> look_at_packet(std::uint16_t ethertype, Bytes packet) {
  if (ethertype == ETH_P_ARP) return look_at_arp(packet);
  if (ethertype != ETH_P_IP && ethertype != ETH_P_IPV6) return std::nullopt;
  const auto parsed = ethertype == ETH_P_IP ? parse_ipv4(packet) : parse_ipv6(packet);
  if (!parsed) return std::nullopt;
  return look_at_ip(*parsed);
}

std::vector<Endpoint> parse_remote_ends(std::string_view table) {
  std::vector<Endpoint> ends;
  while (!table.empty()) {
    const std::string_view line = table.substr(0, table.find('\n'));
    table.remove_prefix(std::min(line.size() + 1, table.size()));
    const auto end = parse_table_endpoint(third_word(line));
    if (end && end->port != 0) ends.push_back(*end);
  }
  return ends;
}

OutboundWatch::OutboundWatch(Waiter& waiter, Evidence& evidence, std::string nonce,
                             std::vector<Target> targets, std::vector<IpAddress> unused)
    : waiter_(waiter),
      evidence_(evidence),
      nonce_(std::move(nonce)),
      reverse_pattern_(reverse_pattern(nonce_)),
      targets_(std::move(targets)),
      unused_(std::move(unused)),
      packets_(open_packet_socket()) {
  if (packets_.is_open()) waiter_.add(packets_.get(), [this] { on_packet(); });
}

OutboundWatch::~OutboundWatch() {
  if (packets_.is_open()) waiter_.remove(packets_.get());
}

std::vector<Target> OutboundWatch::matching(const SeenPacket& seen) const {
  std::vector<Target> found;
  for (const Target& target : targets_) {
    if (target.at.address != seen.destination) continue;
    const bool is_meant =
        seen.asks_for_neighbour
            ? std::find(unused_.begin(), unused_.end(), seen.destination) != unused_.end()
            : seen.transport == target.transport && seen.port == target.at.port;
    if (is_meant) found.push_back(target);
  }
  return found;
}

void OutboundWatch::judge(std::string_view interface, const SeenPacket& seen) {
  for (const Target& target : matching(seen)) {
    note(target.leak,
         seen.asks_for_neighbour
             ? fmt::format("{} was looked for on {}", seen.destination.to_string(), interface)
             : fmt::format("{} {} left by {}", transport_word(target.transport),
                           target.at.to_string(), interface));
  }
}

void OutboundWatch::note(Leak leak, std::string words) {
  evidence_.add(leak, {Notice::Kind::kLeft, std::move(words)});
}

void OutboundWatch::on_packet() {
  std::array<std::uint8_t, 2048> buffer;
  for (std::size_t i = 0; i < kMostPacketsATurn; ++i) {
    sockaddr_ll link{};
    socklen_t link_size = sizeof(link);
    const ssize_t size = ::recvfrom(packets_.get(), buffer.data(), buffer.size(), 0,
                                    reinterpret_cast<sockaddr*>(&link), &link_size);
    if (size <= 0) return;
    std::array<char, IF_NAMESIZE> name{};
    if (link.sll_pkttype != PACKET_OUTGOING ||
        ::if_indextoname(static_cast<unsigned>(link.sll_ifindex), name.data()) == nullptr ||
        std::string_view(name.data()) == "lo") {
      continue;
    }
    const Bytes packet = Bytes(buffer).first(static_cast<std::size_t>(size));
    if (const auto seen = look_at_packet(ntohs(link.sll_protocol), packet)) {
      judge(name.data(), *seen);
    }
    const std::string_view text(reinterpret_cast<const char*>(packet.data()), packet.size());
    const auto token = find_token(nonce_, text);
    if (token && is_proved_by_content(token->leak)) {
      note(token->leak, fmt::format("{} left by {}", token->way, name.data()));
    }
    if (text.find(reverse_pattern_) != std::string_view::npos) {
      note(Leak::kDnsReverse, fmt::format("the question left by {}", name.data()));
    }
  }
}

void OutboundWatch::look() {
  if (sees_packets()) return;
  const auto look_at = [this](const char* path, Transport transport) {
    for (const Endpoint& end : parse_remote_ends(read_text_file(path))) {
      const SeenPacket seen{.destination = end.address, .transport = transport, .port = end.port};
      for (const Target& target : matching(seen)) {
        if (!has_looked_) known_before_.push_back(target);
        const bool is_ours =
            std::find(known_before_.begin(), known_before_.end(), target) == known_before_.end();
        if (is_ours) {
          note(target.leak, fmt::format("the host has a socket to {} {}", transport_word(transport),
                                        end.to_string()));
        }
      }
    }
  };
  look_at("/proc/net/tcp", Transport::kTcp);
  look_at("/proc/net/tcp6", Transport::kTcp);
  look_at("/proc/net/udp", Transport::kUdp);
  look_at("/proc/net/udp6", Transport::kUdp);
  has_looked_ = true;
}

}  // namespace cordon::audit
