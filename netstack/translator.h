// The translator's core: guest frames in, host sockets out.
//
// It is sans-IO: four verbs (on_frame, on_socket, next_deadline, on_deadline) and a handful of
// notices go in, the seams are called, and time is an argument. host/ wires it to the kernel,
// tests/world to fakes.
//
//   frame -> link (ours? ARP, NDP) -> wire (parse, source is the guest's?) -> reassembly
//         -> tcp/ | udp/ | icmp/ | names/  -> admission (meaning, class, policy) -> host
//
// Every frame that goes no further is counted by reason (drops()). When the host's addresses,
// routes or links change, on_host_change() lets every living flow be judged again, some at a time.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "netstack/flow/context.h"
#include "netstack/flow/reassembly.h"
#include "netstack/flow/translator_config.h"
#include "netstack/icmp/echo_flows.h"
#include "netstack/names/name_lookups.h"
#include "netstack/names/resolver.h"
#include "netstack/names/upstream_queries.h"
#include "netstack/publish/published_ports.h"
#include "netstack/tcp/tcp_flows.h"
#include "netstack/udp/udp_flows.h"

namespace cordon {

struct TranslatorSeams {
  Tap& tap;
  HostSockets& host;
  GuestSockets& guest;
  Streams& streams;
  RouteQuery& routes;
  Entropy& entropy;
  Events& events;
  Relays* relays = nullptr;  // none: the translator moves every stream itself
};

struct TranslatorPorts {
  std::vector<PublishedTcp> tcp;
  std::vector<PublishedUdp> udp;
};

class Translator {
 public:
  /// `tcp`: as descriptors allow.
  Translator(TranslatorConfig config, const TranslatorSeams& seams, TranslatorPorts ports,
             TcpCapacity tcp);
  Translator(const Translator&) = delete;
  Translator& operator=(const Translator&) = delete;

  /// What the tap had waiting. The frames stay where they are until it returns, and nothing of them
  /// is held any longer.
  void on_frames(Instant now, std::span<const FrameIn> frames);
  void on_frame(Instant now, const FrameIn& frame) { on_frames(now, std::span(&frame, 1)); }
  /// True where the socket may have more to give: call again after the others have had their turn.
  bool on_socket(Instant now, const SocketOwner& owner, const Readiness& readiness);
  [[nodiscard]] Instant next_deadline() const;
  void on_deadline(Instant now);

  /// A relay is done with a stream.
  void on_relayed(Instant now, const RelayNews& news) { tcp_.on_relayed(now, news); }
  /// The supervisor has looked the process of a denial up and told it.
  void on_denial_told(std::uint32_t id) {
    refusals_.on_told(id);
    tcp_.on_denial_told(id);
  }
  /// The supervisor has looked up whose the flow of introduction `id` is.
  void on_introduced(Instant now, std::uint32_t id);
  /// A person has answered question `id`.
  void on_answer(Instant now, std::uint32_t id, bool is_yes);
  /// The host's resolv.conf changed.
  void set_upstreams(Instant now, std::vector<Endpoint> upstreams);
  /// Another policy, from now on, for new flows and for those that live: within the next turns each
  /// is judged again, what is no longer allowed is reset, and what still is lives on. The prefixes
  /// of the name pool stay as they were: addresses in guests' hands keep their meaning. Returns the
  /// policy before.
  Policy set_policy(Instant now, Policy policy, const NameSettings& names);
  /// The host's addresses, routes or links changed; `is_address_lost`: one was removed.
  void on_host_change(Instant now, bool is_address_lost);

  /// Lists a piece of the living flows (Events::listed); `cursor` is 0 at first. Returns where the
  /// next piece begins, kAllListed behind the last.
  [[nodiscard]] std::uint64_t list_flows(std::uint64_t cursor);
  static constexpr std::uint64_t kAllListed = ~std::uint64_t{0};
  /// Whether flows are reported as they begin and end (TranslatorConfig::reports_flows).
  void set_reports_flows(bool reports) { config_.reports_flows = reports; }

  [[nodiscard]] const DropCounters& drops() const { return drops_; }
  /// The tap has gone: there is no guest any more.
  [[nodiscard]] bool is_tap_gone() const { return link_.is_gone(); }
  [[nodiscard]] std::size_t flows() const { return tcp_.size() + udp_.size() + echo_.size(); }

 private:
  // One pass over all flows after a change on the host.
  struct Sweep {
    bool is_address_lost = false;
    std::optional<std::uint32_t> tcp;
    std::optional<std::uint32_t> udp;
    std::optional<std::uint32_t> echo;
    [[nodiscard]] bool is_running() const { return tcp || udp || echo; }
  };

  /// A packet that waited, as if it came now.
  void dispatch_again(Instant now, Bytes octets, bool is_answered);
  void expire_introductions(Instant now);
  void take_frame(Instant now, const FrameIn& frame);
  void on_arp(Bytes arp);
  void on_ip(Instant now, const IpPacket& packet, const FrameIn& frame);
  void on_packet(Instant now, const IpPacket& packet, const FrameIn& frame);
  void dispatch(Instant now, const IpPacket& packet, const FrameIn& frame);
  void on_udp(Instant now, const IpPacket& packet, const FrameIn& frame);
  void on_dns(Instant now, const IpPacket& packet, UdpDatagram datagram,
              std::uint16_t segment_size);
  void on_icmp(Instant now, const IpPacket& packet, bool is_checksum_trusted);
  void start_sweep(bool is_address_lost);
  void continue_sweep(Instant now);

  TranslatorConfig config_;
  DropCounters drops_;
  GuestLink link_;
  NamePool pool_;
  NamePins pins_;
  Budgets budgets_;
  Admission admission_;
  Refusals refusals_;
  Introductions introductions_;
  DestinationLoad load_;
  FlowContext context_;
  Reassembler reassembler_;
  UpstreamQueries upstream_;
  NameLookups lookups_;
  Resolver resolver_;
  TcpFlows tcp_;
  UdpFlows udp_;
  EchoFlows echo_;
  PublishedPorts published_;
  std::vector<IpAddress> our_addresses_;
  Sweep sweep_;
  Instant lost_address_sweep_ = kNever;
};

}  // namespace cordon
