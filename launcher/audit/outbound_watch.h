// What leaves the host for addresses where no server of ours is: seen on the way out.
//
// Two ways, by what this process may do. With CAP_NET_RAW every packet that leaves by an interface
// other than lo is looked at: its destination (the targets that the prober was given), or a token,
// a made-up name or the made-up address anywhere in it; ARP and neighbour solicitations for an
// unused neighbour count too, since they are what a SYN to it looks like. Without it the
// host's socket tables (/proc/net/tcp, udp and their sixes) are read again and again: a user-space
// network of a sandbox has to make a host socket for what it lets out. A socket that lives shorter
// than the pause between two looks is missed, and so is a datagram of an unconnected socket; the
// report says which way was used.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/audit/evidence.h"
#include "launcher/audit/plan.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon::audit {

/// What a packet is for, as far as the watch cares.
struct SeenPacket {
  IpAddress destination;
  std::optional<Transport> transport;  // TCP and UDP only
  std::uint16_t port = 0;
  bool asks_for_neighbour = false;  // ARP or neighbour solicitation for `destination`
};

/// From the first octet behind the Ethernet header. nullopt for anything that cannot be read.
[[nodiscard]] std::optional<SeenPacket> look_at_packet(std::uint16_t ethertype, Bytes packet);

/// The remote ends in a text of /proc/net/tcp and the like; unconnected ones left out.
[[nodiscard]] std::vector<Endpoint> parse_remote_ends(std::string_view table);

class OutboundWatch {
 public:
  /// `targets` without a server of ours. `unused`: those of their addresses that nobody but the
  /// prober has a reason to look for.
  OutboundWatch(Waiter& waiter, Evidence& evidence, std::string nonce, std::vector<Target> targets,
                std::vector<IpAddress> unused);
  OutboundWatch(const OutboundWatch&) = delete;
  OutboundWatch& operator=(const OutboundWatch&) = delete;
  ~OutboundWatch();

  [[nodiscard]] bool sees_packets() const { return packets_.is_open(); }
  /// To be called every kLookEvery: reads the socket tables, where packets are not seen.
  void look();
  static constexpr int kLookEveryMilliseconds = 15;

 private:
  void on_packet();
  void note(Leak leak, std::string words);
  void judge(std::string_view interface, const SeenPacket& seen);
  [[nodiscard]] std::vector<Target> matching(const SeenPacket& seen) const;

  Waiter& waiter_;
  Evidence& evidence_;
  std::string nonce_;
  std::string reverse_pattern_;  // the made-up half of the PTR name, as it stands in a message
  std::vector<Target> targets_;
  std::vector<IpAddress> unused_;
  std::vector<Target> known_before_;  // remote ends that somebody had before the prober began
  UniqueFd packets_;
  bool has_looked_ = false;
};

}  // namespace cordon::audit
