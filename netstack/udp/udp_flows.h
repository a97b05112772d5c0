// UDP. Mapping and filtering are those of RFC 4787:
//
//   mapping    endpoint-independent (REQ-1): one host socket for each guest address and port,
//   whatever
//              it talks to, so the guest has one address outside
//   filtering  address and port-dependent (REQ-8): what comes in is passed on only from a peer that
//   the
//              guest has sent to and the policy has allowed; anything else is dropped and counted
//
// A flow is (guest endpoint, remote endpoint), judged at its first datagram; a mapping is the host
// socket under all flows of one guest endpoint, and closes with the last of them. A published port
// is a host socket that the supervisor bound: a client's first datagram is judged as inbound, the
// flow keeps the client's true address, and answers leave by the published socket, from the address
// that the client last wrote to. A link-local client meets the guest's link-local address; which of
// the host's links it is on the flow remembers (RFC 4007), and the guest does not learn.
//
// A flow by name (an address of the name pool) is judged by its name, looked up on the host's side,
// and bound to the address that flow/named_choice.h takes; until then its first datagrams wait
// (flow/held_datagrams.h). Until somebody answers it may turn to another one
// (flow/named_trials.h). It has a mapping of its own. QUIC by name (port 443) is rejected at once
// with port unreachable unless the settings let it pass, so that clients fall back to TCP, whose
// first flight can be looked at.
//
// Trains (UDP_SEGMENT on the way out, UDP_GRO on the way in, USO on the tap) pass as one buffer
// each way, and what one turn of the loop brings of single datagrams is gathered into trains
// (udp/datagram_trains.h). A train that the path does not take, because its datagrams are larger
// than the path's MTU, goes datagram by datagram: each is cut or refused as it would have been by
// itself. Port 53 never comes here: names/ answers it. Multicast goes nowhere.
//
// ICMP errors that the host receives for a flow (IP_RECVERR) are shown to the guest as if they had
// come to it: same reporter, same kind, its own datagram quoted (RFC 5508 REQ-3, by analogy for UDP
// RFC 4787 REQ-11); they end no mapping. Timers: kUdpIdle, kUdpWellKnownIdle, from the last
// datagram of either way. Budgets count payloads, and what is past them is lost (flow/meter.h).
#pragma once

#include <vector>

#include "netstack/flow/context.h"
#include "netstack/flow/datagram_flow.h"
#include "netstack/flow/key.h"
#include "netstack/flow/table.h"
#include "netstack/flow/timeouts.h"
#include "netstack/names/name_lookups.h"
#include "netstack/udp/datagram_trains.h"
#include "netstack/wire/udp.h"

namespace cordon {

/// A published UDP port: the host's socket and where it leads.
struct PublishedUdp {
  SocketHandle socket;
  std::uint16_t guest_port = 0;
  std::vector<Prefix> sources;  // who may send to it; empty: everybody
};

class UdpFlows final : private LookupWaiters, private TrialFlows {
 public:
  UdpFlows(const FlowContext& context, NameLookups& lookups, std::vector<PublishedUdp> published);

  /// A datagram, or a train of `segment_size`, from the tap. Its payload stays where it is until
  /// send_gathered().
  void on_datagram(Instant now, const IpPacket& packet, const UdpDatagram& datagram,
                   std::uint16_t segment_size);
  /// The end of what the tap had waiting.
  void send_gathered(Instant now);
  /// kUdp and kPublished (its index is that of `published`). True where more may be waiting.
  bool on_socket(Instant now, const SocketOwner& owner, const Readiness& readiness);

  [[nodiscard]] Instant next_deadline() const;
  void on_deadline(Instant now);

  /// Judges up to `budget` flows again, as TcpFlows::rejudge().
  std::optional<std::uint32_t> rejudge(Instant now, std::uint32_t cursor, std::size_t budget);
  /// As TcpFlows::list().
  std::optional<std::uint32_t> list(std::uint32_t cursor, std::size_t budget);

  [[nodiscard]] std::size_t size() const { return flows_.size(); }
  [[nodiscard]] std::size_t mappings() const { return mappings_.size(); }

 private:
  enum List : std::uint8_t { kListNormal, kListWellKnown, kLists };
  static constexpr std::uint16_t kQuicPort = 443;
  static std::uint8_t list_for(std::uint16_t remote_port) {
    return remote_port < 1024 ? kListWellKnown : kListNormal;
  }
  struct Flow : DatagramFlow {
    FlowId mapping;                   // once there is a destination
    std::int32_t published = -1;      // index, or -1: an outbound flow with a mapping
    std::optional<HostEnd> host_end;  // of a published port, that the client wrote to
    std::uint8_t list = kListNormal;
    std::uint16_t refused_train = 0;  // not 0: the smallest segment of a train that was not taken
    std::uint32_t id = 0;
    std::uint64_t octets_up = 0;
    std::uint64_t octets_down = 0;
  };
  struct Mapping {
    SocketHandle socket;
    std::uint32_t flows = 0;
  };
  class Inbox;
  class Outbox;

  std::optional<FlowId> open(Instant now, const FlowKey& key, const IpPacket& packet);
  std::optional<FlowId> open_named(Instant now, const FlowKey& key, const IpPacket& packet);
  void on_lookup(Instant now, FlowId id, const LookupAnswer& answer) override;
  void begin_named(Instant now, FlowId id, const NamedOutcome& outcome,
                   std::span<const IpAddress> addresses);
  int turn_to(Instant now, FlowId id, const AllowedDestination& destination) override;
  [[nodiscard]] bool is_alive(FlowId id) const override { return flows_.get(id) != nullptr; }
  int send_held(Instant now, FlowId id, HeldDatagrams::Datagram& datagram) override;
  void give_up(Instant now, FlowId id, int error) override;
  void end_trial(FlowId id);
  /// The first datagram that is held, as an ICMP error quotes it.
  std::size_t quote_held(FlowId id, MutableBytes out);
  void send_or_hold(Instant now, FlowId id, const SendFields& fields, Bytes payload,
                    Bytes offending);
  IoResult<FlowId> mapping_for(Instant now, const MappingKey& key, Family family);
  IoResult<SocketHandle> open_socket(FlowId mapping, Family family);
  std::optional<FlowId> open_published(Instant now, const FlowKey& key,
                                       const ReceivedDatagram& datagram, std::size_t published);
  bool make_room(Instant now, bool needs_mapping);
  [[nodiscard]] std::optional<FlowId> idle_flow(Instant now) const;
  void send_up(Instant now, const DatagramTrain& train);
  /// 0, or the errno that this very datagram, or train, came to.
  int transmit(Instant now, const DatagramTrain& train);
  void send_one_by_one(Instant now, const DatagramTrain& train);
  IoStatus try_send(Instant now, const DatagramTrain& train);
  /// Cuts `payload` to what budgets let pass; false where that is nothing.
  bool measure_payload(Instant now, FlowId id, Way way, Bytes& payload, std::size_t segment,
                       Bytes offending);
  void answer_errno(Instant now, const Endpoint& guest, Bytes offending, int error);
  void deliver(const DatagramTrain& train);
  void deliver_error(Instant now, const FlowKey& key, const DatagramError& error);
  [[nodiscard]] SocketHandle socket_of(const Flow& flow);
  void end(FlowId id, FlowEnd how);
  [[nodiscard]] FlowReport describe(FlowId id);
  void report(FlowId id, std::optional<FlowEnd> how);

  FlowContext context_;
  NameLookups& lookups_;
  NamedTrials trials_;
  FlowTable<FlowKey, Flow, kLists> flows_;
  FlowTable<MappingKey, Mapping, 1> mappings_;
  std::vector<PublishedUdp> published_;
  DatagramTrains up_;
  DatagramTrains down_;
  std::uint32_t last_id_ = 0;
};

}  // namespace cordon
