// Published TCP ports: the host's listeners, and what becomes of their connections. Judging and
// dialling the guest is TcpFlows' work; here is the patience with the host. When no descriptor is
// left for a connection the listener is switched off for a while instead of spinning on an event
// that cannot be served: the connection waits in the backlog.
#pragma once

#include <vector>

#include "netstack/flow/context.h"
#include "netstack/tcp/tcp_flows.h"

namespace cordon {

struct PublishedTcp {
  SocketHandle listener;
  std::uint16_t guest_port = 0;
  std::vector<Prefix> sources;  // who may connect; empty: everybody
};

/// How long a listener without descriptors rests.
inline constexpr Duration kListenerRest = std::chrono::milliseconds(100);

class PublishedPorts {
 public:
  PublishedPorts(const FlowContext& context, TcpFlows& tcp, std::vector<PublishedTcp> ports)
      : context_(context), tcp_(tcp), ports_(std::move(ports)) {}

  /// kListener: its index is that of `ports`.
  void on_socket(Instant now, const SocketOwner& owner);

  [[nodiscard]] Instant next_deadline() const { return resume_at_; }
  void on_deadline(Instant now);

 private:
  void rest(Instant now);

  FlowContext context_;
  TcpFlows& tcp_;
  std::vector<PublishedTcp> ports_;
  Instant resume_at_ = kNever;
};

}  // namespace cordon
