#include "netstack/link/neighbours.h"

#include <algorithm>

#include "netstack/wire/checksum.h"

namespace cordon {
namespace {

using Ipv4Octets = std::array<std::uint8_t, 4>;
using Ipv6Octets = std::array<std::uint8_t, 16>;

// RFC 826, for Ethernet and IPv4.
struct ArpPacket {
  Be16 hardware_type;
  Be16 protocol_type;
  std::uint8_t hardware_length = 0;
  std::uint8_t protocol_length = 0;
  Be16 operation;
  MacAddress sender_mac{};
  Ipv4Octets sender{};
  MacAddress target_mac{};
  Ipv4Octets target{};
};
static_assert(sizeof(ArpPacket) == 28);

constexpr std::uint16_t kArpEthernet = 1;
constexpr std::uint16_t kArpRequest = 1;
constexpr std::uint16_t kArpReply = 2;

// RFC 4861 sections 4.3 and 4.4: solicitation and advertisement have the same layout up to the
// options.
struct NeighbourMessage {
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  Be16 checksum;
  Be32 flags;  // reserved in a solicitation
  Ipv6Octets target{};
};
static_assert(sizeof(NeighbourMessage) == 24);

// RFC 4861 section 4.6.1, for Ethernet (RFC 2464 section 6).
struct LinkLayerAddressOption {
  std::uint8_t type = 0;
  std::uint8_t length = 1;  // in units of eight octets
  MacAddress mac{};
};
static_assert(sizeof(LinkLayerAddressOption) == 8);

constexpr std::uint8_t kRouterSolicitation = 133;
constexpr std::uint8_t kNeighbourSolicitation = 135;
constexpr std::uint8_t kNeighbourAdvertisement = 136;
constexpr std::uint8_t kRedirect = 137;
constexpr std::uint8_t kSourceLinkLayerAddress = 1;
constexpr std::uint8_t kTargetLinkLayerAddress = 2;
// RFC 4861 section 6.1.1 and 7.1.1: a packet that a router forwarded cannot have it.
constexpr std::uint8_t kNdpHopLimit = 255;

constexpr std::uint32_t kRouterFlag = 1U << 31;
constexpr std::uint32_t kSolicitedFlag = 1U << 30;
constexpr std::uint32_t kOverrideFlag = 1U << 29;

constexpr std::size_t kAdvertisementSize =
    sizeof(NeighbourMessage) + sizeof(LinkLayerAddressOption);

bool is_ours(const LinkAddresses& link, const IpAddress& address) {
  return std::ranges::find(link.ours, address) != link.ours.end();
}

bool is_question_for_us(const LinkAddresses& link, const ArpPacket& arp) {
  const bool is_well_formed =
      arp.hardware_type.get() == kArpEthernet &&
      arp.protocol_type.get() == static_cast<std::uint16_t>(EtherType::kIpv4) &&
      arp.hardware_length == sizeof(MacAddress) && arp.protocol_length == sizeof(Ipv4Octets);
  if (!is_well_formed || arp.operation.get() != kArpRequest) return false;
  // A sender of 0.0.0.0 is a probe (RFC 5227 section 2.1.1): for an address of ours it is answered,
  // so that the guest does not take it. A sender that says it is us is no sender.
  const IpAddress sender = IpAddress::v4(arp.sender);
  if (sender.is_multicast_or_broadcast() || sender.is_loopback() || is_ours(link, sender)) {
    return false;
  }
  return arp.sender_mac == link.guest_mac && is_ours(link, IpAddress::v4(arp.target));
}

// --- Neighbour Discovery

IpAddress solicited_node(const Ipv6Octets& target) {
  // RFC 4291 section 2.7.1: ff02::1:ffXX:XXXX
  Ipv6Octets group{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  std::copy(target.begin() + 13, target.end(), group.begin() + 13);
  return IpAddress::v6(group);
}

const IpAddress& all_nodes() {
  static constexpr IpAddress kAllNodes =
      IpAddress::v6({0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  return kAllNodes;
}

struct SolicitationOptions {
  bool are_sound = true;
  std::optional<MacAddress> source_mac;
};

SolicitationOptions read_options(Bytes options) {
  SolicitationOptions result;
  while (!options.empty()) {
    // RFC 4861 section 4.6: a length of 0 is invalid, and would never end.
    const std::size_t size = options.size() < 2 ? 0 : std::size_t{options[1]} * 8;
    if (size == 0 || size > options.size()) return {.are_sound = false, .source_mac = std::nullopt};
    const auto option = load<LinkLayerAddressOption>(options);
    if (option && option->type == kSourceLinkLayerAddress) {
      if (option->length != 1) return {.are_sound = false, .source_mac = std::nullopt};
      result.source_mac = option->mac;
    }
    options = options.subspan(size);
  }
  return result;
}

bool is_icmpv6_sum_right(const IpPacket& packet) {
  return checksum_sum(packet.payload,
                      pseudo_header_sum(packet.source, packet.destination, packet.protocol,
                                        static_cast<std::uint32_t>(packet.payload.size()))) ==
         0xffff;
}

// RFC 6980: Neighbour Discovery never comes in fragments, nor behind the header of an atomic one.
// No other extension header has a use in front of it, so none is let through.
bool has_extension_headers(const IpPacket& packet) {
  return packet.fragment || packet.packet.size() != kIpv6HeaderSize + packet.payload.size();
}

// RFC 4861 section 7.1.1, and that it comes from the station that we know. The target, or nullopt.
std::optional<Ipv6Octets> read_solicitation(const LinkAddresses& link, const IpPacket& packet) {
  if (packet.protocol != static_cast<std::uint8_t>(IpProtocol::kIcmpv6) || !packet.source.is_v6() ||
      packet.ttl != kNdpHopLimit || has_extension_headers(packet)) {
    return std::nullopt;
  }
  const auto message = load<NeighbourMessage>(packet.payload);
  if (!message || message->type != kNeighbourSolicitation || message->code != 0) {
    return std::nullopt;
  }
  if (!is_icmpv6_sum_right(packet)) return std::nullopt;
  const SolicitationOptions options =
      read_options(packet.payload.subspan(sizeof(NeighbourMessage)));
  if (!options.are_sound) return std::nullopt;
  if (packet.source.is_unspecified()) {
    const bool is_probe =
        packet.destination == solicited_node(message->target) && !options.source_mac;
    if (!is_probe) return std::nullopt;
  } else if (is_ours(link, packet.source) ||
             options.source_mac.value_or(link.guest_mac) != link.guest_mac) {
    return std::nullopt;
  }
  const IpAddress target = IpAddress::v6(message->target);
  const bool may_stand_for =
      target.is_link_local() && !packet.source.is_unspecified() && target != packet.source;
  if (!is_ours(link, target) && !may_stand_for) return std::nullopt;
  return message->target;
}

MacAddress multicast_mac(const IpAddress& group) {
  const Bytes octets = group.octets();  // RFC 2464 section 7
  return {0x33, 0x33, octets[12], octets[13], octets[14], octets[15]};
}

}  // namespace

Parsed<std::size_t> answer_arp(const LinkAddresses& link, Bytes arp, MutableBytes out) {
  const std::optional<ArpPacket> request = load<ArpPacket>(arp);
  if (!request || !is_question_for_us(link, *request)) return std::unexpected(Drop::kBadArp);
  const EthernetHeader ethernet{.destination = link.guest_mac,
                                .source = link.gateway_mac,
                                .ether_type = Be16(static_cast<std::uint16_t>(EtherType::kArp))};
  const ArpPacket reply{.hardware_type = Be16(kArpEthernet),
                        .protocol_type = Be16(static_cast<std::uint16_t>(EtherType::kIpv4)),
                        .hardware_length = sizeof(MacAddress),
                        .protocol_length = sizeof(Ipv4Octets),
                        .operation = Be16(kArpReply),
                        .sender_mac = link.gateway_mac,
                        .sender = request->target,
                        .target_mac = request->sender_mac,
                        .target = request->sender};
  constexpr std::size_t kSize = sizeof ethernet + sizeof reply;
  if (out.size() < kSize) return std::unexpected(Drop::kTooBig);
  (void)store(out, ethernet);  // both fit: the size was asked
  (void)store(out.subspan(sizeof ethernet), reply);
  return kSize;
}

Parsed<std::size_t> answer_ndp(const LinkAddresses& link, const IpPacket& packet,
                               MutableBytes out) {
  const std::optional<Ipv6Octets> target = read_solicitation(link, packet);
  if (!target) return std::unexpected(Drop::kBadNdp);
  constexpr std::size_t kSize = kEthernetHeaderSize + kIpv6HeaderSize + kAdvertisementSize;
  if (out.size() < kSize) return std::unexpected(Drop::kTooBig);

  // RFC 4861 section 7.2.4: a probe has no address to answer to, so everybody is told.
  const bool is_probe = packet.source.is_unspecified();
  const IpAddress destination = is_probe ? all_nodes() : packet.source;
  const EthernetHeader ethernet{
      .destination = is_probe ? multicast_mac(destination) : link.guest_mac,
      .source = link.gateway_mac,
      .ether_type = Be16(static_cast<std::uint16_t>(EtherType::kIpv6))};
  const IpHeaderFields ip{.source = IpAddress::v6(*target),
                          .destination = destination,
                          .protocol = IpProtocol::kIcmpv6,
                          .ttl = kNdpHopLimit};
  // Who only stands for somebody neither says to be a router nor overrides (RFC 4861
  // section 7.2.8).
  const std::uint32_t own_flags =
      is_ours(link, ip.source) ? kRouterFlag | kOverrideFlag : std::uint32_t{0};
  NeighbourMessage message{.type = kNeighbourAdvertisement,
                           .flags = Be32(own_flags | (is_probe ? 0 : kSolicitedFlag)),
                           .target = *target};
  const LinkLayerAddressOption option{.type = kTargetLinkLayerAddress, .mac = link.gateway_mac};

  (void)store(out, ethernet);  // all fit: the size was asked
  if (!write_ip_header(out.subspan(kEthernetHeaderSize), ip, kAdvertisementSize)) {
    return std::unexpected(Drop::kTooBig);
  }
  const MutableBytes body = out.subspan(kEthernetHeaderSize + kIpv6HeaderSize, kAdvertisementSize);
  (void)store(body, message);
  (void)store(body.subspan(sizeof message), option);
  const std::uint16_t pseudo =
      pseudo_header_sum(ip.source, ip.destination, static_cast<std::uint8_t>(ip.protocol),
                        static_cast<std::uint32_t>(kAdvertisementSize));
  message.checksum = Be16(checksum_of(checksum_sum(body, pseudo)));
  (void)store(body, message);
  return kSize;
}

bool is_ndp(const IpPacket& packet) {
  if (packet.protocol != static_cast<std::uint8_t>(IpProtocol::kIcmpv6) || !packet.source.is_v6()) {
    return false;
  }
  if (packet.payload.empty() || (packet.fragment && packet.fragment->offset != 0)) return false;
  const std::uint8_t type = packet.payload[0];
  const bool is_neighbour_discovery = type >= kRouterSolicitation && type <= kRedirect;
  // MLD (RFC 2710, 3810), inverse discovery (RFC 3122), SEND (RFC 3971), router discovery of
  // multicast (RFC 4286): none of them crosses a router.
  const bool is_multicast_listener = (type >= 130 && type <= 132) || type == 143;
  const bool is_link_scoped =
      type == 141 || type == 142 || type == 148 || type == 149 || (type >= 151 && type <= 153);
  return is_neighbour_discovery || is_multicast_listener || is_link_scoped;
}

}  // namespace cordon
