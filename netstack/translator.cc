#include "netstack/translator.h"

#include <algorithm>
#include <utility>

#include "netstack/link/neighbours.h"

namespace cordon {
namespace {

// Flows judged again in one turn of the loop.
constexpr std::size_t kSweepBudget = 256;
// Flows listed in one piece: what the control channel surely has room for.
constexpr std::size_t kListPiece = 64;

std::vector<IpAddress> addresses_of(const TranslatorConfig& config) {
  return {config.v4.gateway,  config.v4.resolver,  config.v4.host_door,      config.v6.gateway,
          config.v6.resolver, config.v6.host_door, config.gateway_link_local};
}

}  // namespace

Translator::Translator(TranslatorConfig config, const TranslatorSeams& seams, TranslatorPorts ports,
                       TcpCapacity tcp)
    : config_(std::move(config)),
      link_(seams.tap, drops_, config_.guest_mac, config_.gateway_mac,
            TokenBucket(kIcmpErrorsPerSecond, kIcmpErrorsBurst)),
      pool_(config_.names.pool_v4, config_.names.pool_v6,
            SipKey{seams.entropy.next(), seams.entropy.next()}),
      pins_(SipKey{seams.entropy.next(), seams.entropy.next()}),
      budgets_(config_.start, config_.policy),
      admission_(config_, seams.routes, pool_, pins_),
      refusals_(seams.events, link_, drops_),
      introductions_(seams.events, config_),
      load_(SipKey{seams.entropy.next(), seams.entropy.next()}),
      context_{.config = config_,
               .admission = admission_,
               .pool = pool_,
               .pins = pins_,
               .budgets = budgets_,
               .refusals = refusals_,
               .introductions = introductions_,
               .load = load_,
               .link = link_,
               .host = seams.host,
               .guest = seams.guest,
               .streams = seams.streams,
               .relays = seams.relays,
               .entropy = seams.entropy,
               .events = seams.events,
               .drops = drops_},
      upstream_({.host = seams.host,
                 .streams = seams.streams,
                 .entropy = seams.entropy,
                 .events = seams.events,
                 .drops = drops_}),
      lookups_(context_, upstream_),
      resolver_(context_, upstream_),
      tcp_(context_, lookups_, resolver_, tcp),
      udp_(context_, lookups_, std::move(ports.udp)),
      echo_(context_, lookups_),
      published_(context_, tcp_, std::move(ports.tcp)),
      our_addresses_(addresses_of(config_)) {
  upstream_.set_upstreams(config_.start, config_.upstreams);
}

void Translator::on_frames(Instant now, std::span<const FrameIn> frames) {
  for (const FrameIn& frame : frames) take_frame(now, frame);
  udp_.send_gathered(now);
}

void Translator::take_frame(Instant now, const FrameIn& frame) {
  const Parsed<EthernetFrame> ethernet = parse_ethernet(frame.frame);
  if (!ethernet) return drops_.add(ethernet.error());
  if (ethernet->source != config_.guest_mac) return drops_.add(Drop::kForeignMac);
  const bool is_group = (ethernet->destination[0] & 1) != 0;
  if (!is_group && ethernet->destination != config_.gateway_mac) {
    return drops_.add(Drop::kNotForUs);
  }
  if (ethernet->ether_type == EtherType::kArp) return on_arp(ethernet->payload);
  const Parsed<IpPacket> packet = ethernet->ether_type == EtherType::kIpv4
                                      ? parse_ipv4(ethernet->payload)
                                      : parse_ipv6(ethernet->payload);
  if (!packet) return drops_.add(packet.error());
  on_ip(now, *packet, frame);
}

void Translator::on_arp(Bytes arp) {
  std::array<std::uint8_t, 64> out{};
  const LinkAddresses link{
      .guest_mac = config_.guest_mac, .gateway_mac = config_.gateway_mac, .ours = our_addresses_};
  const Parsed<std::size_t> size = answer_arp(link, arp, out);
  if (!size) return drops_.add(size.error());
  link_.send_frame(Bytes(out).first(*size));
}

void Translator::on_ip(Instant now, const IpPacket& packet, const FrameIn& frame) {
  if (is_ndp(packet)) {
    std::array<std::uint8_t, 128> out{};
    const LinkAddresses link{
        .guest_mac = config_.guest_mac, .gateway_mac = config_.gateway_mac, .ours = our_addresses_};
    const Parsed<std::size_t> size = answer_ndp(link, packet, out);
    if (!size) return drops_.add(size.error());
    return link_.send_frame(Bytes(out).first(*size));
  }
  if (!admission_.is_guest(packet.source)) return drops_.add(Drop::kForeignSource);
  if (!packet.fragment) return on_packet(now, packet, frame);
  Parsed<IpPacket> whole = reassembler_.insert(now, packet);
  if (!whole) {
    if (whole.error() != Drop::kFragmentHeld) drops_.add(whole.error());
    return;
  }
  // Whoever fragments may be fragmented again on the host's side; an IPv6 packet does not say so
  // itself.
  whole->has_dont_fragment = false;
  // The checksum of a datagram that was sent in fragments covers all of it and was never left
  // undone.
  on_packet(now, *whole, FrameIn{});
  udp_.send_gathered(now);  // The next fragment takes its place.
}

void Translator::on_packet(Instant now, const IpPacket& packet, const FrameIn& frame) {
  refusals_.set_packet(packet.packet);
  // A train would not be one any more.
  const bool may_wait = introductions_.is_on() && frame.udp_segment_size == 0;
  if (may_wait) introductions_.set_packet(packet.packet);
  dispatch(now, packet, frame);
  if (may_wait) introductions_.set_packet({});
  refusals_.set_packet({});
}

void Translator::on_answer(Instant now, std::uint32_t id, bool is_yes) {
  const std::optional<Bytes> held = refusals_.on_answer(now, id, is_yes);
  if (!held) return;
  // What it leads to may be asked, and held, in its place.
  std::array<std::uint8_t, Asking::kMaxPacket> copy{};
  std::ranges::copy(*held, copy.begin());
  dispatch_again(now, Bytes(copy).first(held->size()), true);
}

void Translator::on_introduced(Instant now, std::uint32_t id) {
  introductions_.set_passing(true);
  while (const std::optional<Introductions::Released> held = introductions_.settle(id)) {
    dispatch_again(now, held->packet, held->is_answered);
  }
  introductions_.set_passing(false);
}

void Translator::expire_introductions(Instant now) {
  introductions_.set_passing(true);
  while (const std::optional<Introductions::Released> held = introductions_.expire(now)) {
    dispatch_again(now, held->packet, held->is_answered);
  }
  introductions_.set_passing(false);
}

void Translator::dispatch_again(Instant now, Bytes octets, bool is_answered) {
  const Parsed<IpPacket> packet = (octets[0] >> 4) == 4 ? parse_ipv4(octets) : parse_ipv6(octets);
  if (!CORDON_INVARIANT(packet.has_value())) return;
  admission_.set_answered(is_answered);
  // Its checksum was looked at when it came.
  on_packet(now, *packet, FrameIn{.is_checksum_trusted = true});
  udp_.send_gathered(now);
  admission_.set_answered(false);
}

void Translator::dispatch(Instant now, const IpPacket& packet, const FrameIn& frame) {
  switch (static_cast<IpProtocol>(packet.protocol)) {
    case IpProtocol::kTcp: {
      const Parsed<TcpSegment> segment = parse_tcp(packet, frame.is_checksum_trusted);
      if (!segment) return drops_.add(segment.error());
      return tcp_.on_segment(now, packet, *segment);
    }
    case IpProtocol::kUdp:
      return on_udp(now, packet, frame);
    case IpProtocol::kIcmp:
    case IpProtocol::kIcmpv6:
      return on_icmp(now, packet, frame.is_checksum_trusted);
    case IpProtocol::kHopByHop:
    case IpProtocol::kRouting:
    case IpProtocol::kFragment:
    case IpProtocol::kEsp:
    case IpProtocol::kAuthentication:
    case IpProtocol::kNoNextHeader:
    case IpProtocol::kDestinationOptions:
      break;
  }
  drops_.add(Drop::kUnknownTransport);
}

void Translator::on_udp(Instant now, const IpPacket& packet, const FrameIn& frame) {
  const Parsed<UdpDatagram> datagram =
      parse_udp(packet, frame.is_checksum_trusted, frame.udp_segment_size != 0);
  if (!datagram) return drops_.add(datagram.error());
  if (datagram->destination_port == kDnsPort) {
    return on_dns(now, packet, *datagram, frame.udp_segment_size);
  }
  udp_.on_datagram(now, packet, *datagram, frame.udp_segment_size);
}

void Translator::on_dns(Instant now, const IpPacket& packet, UdpDatagram datagram,
                        std::uint16_t segment_size) {
  if (admission_.meaning_of(packet.destination) == Meaning::kMulticast) {
    return drops_.add(Drop::kMulticast);
  }
  if (segment_size == 0) return resolver_.on_query(now, packet, datagram);
  for (Bytes rest = datagram.payload; !rest.empty(); rest = rest.subspan(datagram.payload.size())) {
    datagram.payload = rest.first(std::min<std::size_t>(segment_size, rest.size()));
    resolver_.on_query(now, packet, datagram);
  }
}

void Translator::on_icmp(Instant now, const IpPacket& packet, bool is_checksum_trusted) {
  const bool is_v4 = packet.protocol == static_cast<std::uint8_t>(IpProtocol::kIcmp);
  if (is_v4 != packet.source.is_v4()) return drops_.add(Drop::kUnknownTransport);
  const Parsed<EchoMessage> message = parse_echo(packet, is_checksum_trusted);
  if (!message) return drops_.add(message.error());
  echo_.on_echo(now, packet, *message);
}

bool Translator::on_socket(Instant now, const SocketOwner& owner, const Readiness& readiness) {
  switch (owner.kind) {
    case OwnerKind::kTcpHost:
    case OwnerKind::kTcpAttempt:
    case OwnerKind::kTcpGuest:
      tcp_.on_socket(now, owner, readiness);
      return false;
    case OwnerKind::kUdp:
    case OwnerKind::kPublished:
      return udp_.on_socket(now, owner, readiness);
    case OwnerKind::kEcho:
      return echo_.on_socket(now, owner, readiness);
    case OwnerKind::kListener:
      published_.on_socket(now, owner);
      return false;
    case OwnerKind::kDns:
      return upstream_.on_socket(now, owner, readiness);
    case OwnerKind::kTap:
    case OwnerKind::kControl:
    case OwnerKind::kMonitor:
    case OwnerKind::kRelays:
      break;
  }
  return false;
}

Instant Translator::next_deadline() const {
  if (sweep_.is_running()) return Instant{};
  return std::min({tcp_.next_deadline(), udp_.next_deadline(), echo_.next_deadline(),
                   upstream_.next_deadline(), lookups_.next_deadline(), resolver_.next_deadline(),
                   published_.next_deadline(), refusals_.next_deadline(),
                   introductions_.next_deadline(), reassembler_.next_deadline(),
                   budgets_.next_deadline(), lost_address_sweep_});
}

void Translator::on_deadline(Instant now) {
  refusals_.on_deadline(now);
  if (introductions_.next_deadline() <= now) expire_introductions(now);
  tcp_.on_deadline(now);
  udp_.on_deadline(now);
  echo_.on_deadline(now);
  upstream_.on_deadline(now);
  lookups_.on_deadline(now);
  resolver_.on_deadline();
  published_.on_deadline(now);
  reassembler_.expire(now, [&](Bytes first_fragment) {
    const Parsed<IpPacket> packet =
        (first_fragment[0] >> 4) == 4 ? parse_ipv4(first_fragment) : parse_ipv6(first_fragment);
    drops_.add(Drop::kFragmentTimeout);
    if (!packet) return;
    link_.send_icmp_error(
        now,
        IcmpErrorFields{.source = admission_.link(packet->source.family()).gateway,
                        .destination = packet->source,
                        .error = IcmpError::kReassemblyTimeout},
        first_fragment);
  });
  if (lost_address_sweep_ <= now) {
    lost_address_sweep_ = kNever;
    start_sweep(true);
  }
  if (budgets_.on_deadline(now)) start_sweep(false);
  if (sweep_.is_running()) continue_sweep(now);
}

void Translator::set_upstreams(Instant now, std::vector<Endpoint> upstreams) {
  config_.upstreams = std::move(upstreams);
  upstream_.set_upstreams(now, config_.upstreams);
}

Policy Translator::set_policy(Instant now, Policy policy, const NameSettings& names) {
  const Prefix pool_v4 = config_.names.pool_v4;
  const Prefix pool_v6 = config_.names.pool_v6;
  Policy before = std::exchange(config_.policy, std::move(policy));
  config_.names = names;
  config_.names.pool_v4 = pool_v4;
  config_.names.pool_v6 = pool_v6;
  tcp_.count_all_relayed();
  budgets_.set_policy(now, config_.policy);
  start_sweep(false);
  return before;
}

std::uint64_t Translator::list_flows(std::uint64_t cursor) {
  // The table's number stands above the slot's.
  constexpr int kSlotBits = 32;
  const auto slot = static_cast<std::uint32_t>(cursor);
  const std::uint64_t table = cursor >> kSlotBits;
  std::optional<std::uint32_t> next;
  if (table == 0) next = tcp_.list(slot, kListPiece);
  if (table == 1) next = udp_.list(slot, kListPiece);
  if (table == 2) next = echo_.list(slot, kListPiece);
  if (next) return table << kSlotBits | *next;
  return table < 2 ? (table + 1) << kSlotBits : kAllListed;
}

void Translator::on_host_change(Instant now, bool is_address_lost) {
  start_sweep(false);
  if (is_address_lost) lost_address_sweep_ = now + kLostAddressGrace;
}

void Translator::start_sweep(bool is_address_lost) {
  sweep_ = Sweep{
      .is_address_lost = is_address_lost || sweep_.is_address_lost, .tcp = 0, .udp = 0, .echo = 0};
}

void Translator::continue_sweep(Instant now) {
  if (sweep_.tcp) {
    sweep_.tcp = tcp_.rejudge(now, *sweep_.tcp, kSweepBudget, sweep_.is_address_lost);
  } else if (sweep_.udp) {
    sweep_.udp = udp_.rejudge(now, *sweep_.udp, kSweepBudget);
  } else if (sweep_.echo) {
    sweep_.echo = echo_.rejudge(now, *sweep_.echo, kSweepBudget);
  }
  if (!sweep_.is_running()) sweep_.is_address_lost = false;
}

}  // namespace cordon
