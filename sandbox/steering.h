// Steering: what makes a TCP stream run in the guest's kernel instead of over the tap.
//
// A bare SYN leaves by the tap and is the translator's to decide. Every other TCP packet that would
// leave by the tap gets a mark bit, and the mark leads it, by a rule and a local route, to N's own
// stack: there sits the socket that the translator adopted (TCP_REPAIR) as the remote end.
//
//     ip rule add pref 32000 fwmark 0x10000000/0x10000000 lookup main suppress_ifgroup 7
//     ip rule add pref 32001 fwmark 0x10000000/0x10000000 lookup 100
//     ip route add local default dev TAP table 100
//     table inet cordon {
//       chain out { type route hook output priority 2000
//         oifname != "lo" tcp flags & (syn|ack) != syn meta mark set meta mark | 0x10000000 } }
//
// The first rule leaves alone what really goes out by another device: a guest may have more of
// them. The route names the tap, not lo, so that sockets bound to the device find it. The chain
// stands behind the guest's own (priority 2000). A bit of the mark, because guests use marks too.
// No conntrack: where the guest uses it, it stays right.
//
// What the guest forwards for namespaces of its own needs a second chain (prerouting); a guest of
// `run` has no power to forward, so it is not made here.
#pragma once

#include <cstdint>
#include <memory>

#include "netstack/base/result.h"

namespace cordon {

inline constexpr std::uint32_t kSteeringMark = 0x10000000;
inline constexpr std::uint32_t kSteeringTable = 100;
inline constexpr std::uint32_t kSteeringLinkGroup = 7;

struct SteeringPlan {
  int link_index = 0;
  bool has_v6 = true;
};

/// Holds the netlink sockets that it works by, so that a thread which may open none any more can
/// put back what somebody flushed.
class Steering {
 public:
  /// In the network namespace that is steered.
  [[nodiscard]] static Result<Steering> open(const SteeringPlan& plan);
  Steering();
  Steering(Steering&&) noexcept;
  Steering& operator=(Steering&&) noexcept;
  ~Steering();

  /// Rules, routes and the nftables table. May be called again: what is there is replaced. One
  /// nftables batch, every acknowledgement read.
  [[nodiscard]] Status install();

 private:
  struct Sockets;
  SteeringPlan plan_;
  std::unique_ptr<Sockets> sockets_;
};

}  // namespace cordon
