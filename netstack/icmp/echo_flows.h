// ICMP and ICMPv6 echo (RFC 792, RFC 4443 section 4, NAT behaviour by RFC 5508): a ping of the
// guest leaves by a ping socket of the host (icmp(7)), so no privilege is needed where the host's
// net.ipv4.ping_group_range lets the user in; where not, that is said once and the ping gets
// "prohibited".
//
// A flow is (guest address, identifier, remote address), with a socket of its own: the host's
// kernel chooses the identifier outside, and the guest's is put back on the way in. Echo to our own
// addresses (the gateway, say) is answered here. Time-exceeded and other errors come from the
// socket's error queue, so traceroute with ICMP works. Timer: kEchoIdle. All other ICMP of the
// guest is dropped.
#pragma once

#include "netstack/flow/context.h"
#include "netstack/flow/key.h"
#include "netstack/flow/table.h"
#include "netstack/flow/timeouts.h"
#include "netstack/wire/icmp.h"

namespace cordon {

class EchoFlows {
 public:
  explicit EchoFlows(const FlowContext& context);

  /// An echo message from the tap; replies of the guest go nowhere.
  void on_echo(Instant now, const IpPacket& packet, const EchoMessage& message);
  /// True where more may be waiting.
  bool on_socket(Instant now, const SocketOwner& owner);

  [[nodiscard]] Instant next_deadline() const { return table_.deadline(0, kEchoIdle); }
  void on_deadline(Instant now);

  /// Judges up to `budget` flows again, as TcpFlows::rejudge().
  std::optional<std::uint32_t> rejudge(Instant now, std::uint32_t cursor, std::size_t budget);

  [[nodiscard]] std::size_t size() const { return table_.size(); }

 private:
  struct Flow {
    std::optional<AllowedDestination> destination;
    SocketHandle socket;
    std::uint16_t last_sequence = 0;
  };
  class Inbox;

  void answer_for_ours(const IpPacket& packet, const EchoMessage& message);
  std::optional<FlowId> open(Instant now, const FlowKey& key, const IpPacket& packet);
  void open_failed(Instant now, const IpPacket& packet, int error);
  void send_up(Instant now, FlowId id, const IpPacket& packet, const EchoMessage& message);
  void deliver(Instant now, FlowId id, Bytes message);
  void deliver_error(Instant now, FlowId id, const DatagramError& error);
  void end(FlowId id);

  FlowContext context_;
  FlowTable<FlowKey, Flow, 1> table_;
};

}  // namespace cordon
