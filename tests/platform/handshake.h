// The handshake that the translator makes, as small as it can be: a SYN is read from the tap, a
// socket is made that is the remote end (TCP_REPAIR), and the SYN-ACK is written to the tap.
// performance.md calls this adoption.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "netstack/host/descriptor/unique_fd.h"
#include "tests/platform/support.h"

namespace cordon::platform {

/// The addresses of the guest's link in one family, and the remote that it talks to.
struct Link {
  std::string option;  // for `ip`: -4 or -6
  std::string guest;
  std::string guest_with_length;
  std::string gateway;
  std::string remote;
};

inline const Link kLink4{"-4", "10.0.2.15", "10.0.2.15/24", "10.0.2.2", "198.51.100.17"};
inline const Link kLink6{"-6", "fd00:2::15", "fd00:2::15/64", "fd00:2::2", "2001:db8:1::17"};

struct Syn {
  Address guest;
  Address remote;
  std::uint32_t sequence = 0;
  std::uint16_t window = 0;
  std::uint32_t timestamp = 0;
};

constexpr std::uint32_t kInitialSequence = 0x12345678;

/// The tap "eth0" with addresses, default routes and the gateway as a known neighbour.
UniqueFd make_guest_link();
/// Rules, routes, sysctls and nftables rules that hand every TCP packet but a bare SYN that would
/// leave by eth0 to this namespace's own stack.
void steer();
/// The next TCP SYN that the tap gives; other frames are passed over. None within two seconds:
/// nullopt.
std::optional<Syn> next_syn(int tap);
/// How many TCP frames the tap gives within `milliseconds`.
int tcp_frames(int tap, int milliseconds);
/// A socket that is the remote end of the SYN's connection, out of repair mode.
UniqueFd adopt(const Syn& syn);
void write_syn_ack(int tap, const Syn& syn);

}  // namespace cordon::platform
