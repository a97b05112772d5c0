// ICMP and ICMPv6 echo (RFC 792, RFC 4443 section 4, NAT behaviour by RFC 5508): a ping of the
// guest leaves by a ping socket of the host (icmp(7)), so no privilege is needed where the host's
// net.ipv4.ping_group_range lets the user in; where not, that is said once and the ping gets
// "prohibited".
//
// A flow by name is looked up first, and its first requests wait (flow/held_datagrams.h); where the
// name leads to the other family, request and reply change their types and nothing else. Until
// somebody answers it may turn to another address of its name (flow/named_trials.h).
//
// A flow is (guest address, identifier, remote address), with a socket of its own: the host's
// kernel chooses the identifier outside, and the guest's is put back on the way in. Echo to our own
// addresses (the gateway, say) is answered here. Time-exceeded and other errors come from the
// socket's error queue, so traceroute with ICMP works. Timer: kEchoIdle. All other ICMP of the
// guest is dropped. Budgets count whole messages, from their type on, and what is past them is lost
// (flow/meter.h).
#pragma once

#include "netstack/flow/context.h"
#include "netstack/flow/datagram_flow.h"
#include "netstack/flow/key.h"
#include "netstack/flow/table.h"
#include "netstack/flow/timeouts.h"
#include "netstack/names/name_lookups.h"
#include "netstack/wire/icmp.h"

namespace cordon {

class EchoFlows final : private LookupWaiters, private TrialFlows {
 public:
  EchoFlows(const FlowContext& context, NameLookups& lookups);

  /// An echo message from the tap; replies of the guest go nowhere.
  void on_echo(Instant now, const IpPacket& packet, const EchoMessage& message);
  /// True where more may be waiting.
  bool on_socket(Instant now, const SocketOwner& owner, const Readiness& readiness);

  [[nodiscard]] Instant next_deadline() const { return table_.deadline(0, kEchoIdle); }
  void on_deadline(Instant now);

  /// Judges up to `budget` flows again, as TcpFlows::rejudge().
  std::optional<std::uint32_t> rejudge(Instant now, std::uint32_t cursor, std::size_t budget);
  /// As TcpFlows::list().
  std::optional<std::uint32_t> list(std::uint32_t cursor, std::size_t budget);

  [[nodiscard]] std::size_t size() const { return table_.size(); }

 private:
  struct Flow : DatagramFlow {
    SocketHandle socket;
    std::uint32_t id = 0;  // in reports
    std::uint16_t last_sequence = 0;
    std::uint64_t octets_up = 0;  // whole messages, as budgets count them
    std::uint64_t octets_down = 0;
  };
  class Inbox;

  void answer_for_ours(const IpPacket& packet, const EchoMessage& message);
  std::optional<FlowId> open(Instant now, const FlowKey& key, const IpPacket& packet);
  std::optional<FlowId> open_named(Instant now, const FlowKey& key, const IpPacket& packet);
  std::optional<FlowId> insert(Instant now, const FlowKey& key);
  void on_lookup(Instant now, FlowId id, const LookupAnswer& answer) override;
  void begin_named(Instant now, FlowId id, const NamedOutcome& outcome,
                   std::span<const IpAddress> addresses);
  int turn_to(Instant now, FlowId id, const AllowedDestination& destination) override;
  [[nodiscard]] bool is_alive(FlowId id) const override { return table_.get(id) != nullptr; }
  int send_held(Instant now, FlowId id, HeldDatagrams::Datagram& datagram) override;
  void give_up(Instant now, FlowId id, int error) override;
  void end_trial(FlowId id);
  [[nodiscard]] bool hold(FlowId id, const SendFields& fields, const EchoMessage& message);
  void send_or_hold(Instant now, FlowId id, const SendFields& fields, const EchoMessage& message,
                    Bytes offending);
  /// Whether budgets let the message pass.
  bool measure_message(Instant now, FlowId id, Way way, std::size_t octets, Bytes offending);
  void open_failed(Instant now, const IpAddress& guest, Bytes offending, int error);
  void send_up(Instant now, FlowId id, const SendFields& fields, const EchoMessage& message,
               Bytes offending);
  /// 0, or the errno that this very message came to.
  int transmit(Instant now, FlowId id, const SendFields& fields, const EchoMessage& message);
  void deliver(Instant now, FlowId id, Bytes message);
  void deliver_error(Instant now, FlowId id, const DatagramError& error);
  void end(FlowId id, FlowEnd how);
  /// Of a flow that has a destination.
  [[nodiscard]] FlowReport describe(FlowId id);
  void report(FlowId id, std::optional<FlowEnd> how);

  FlowContext context_;
  NameLookups& lookups_;
  NamedTrials trials_;
  FlowTable<FlowKey, Flow, 1> table_;
  std::uint32_t last_id_ = 0;
};

}  // namespace cordon
