// Descriptors that travel with a packet from one descriptor table to another (unix(7),
// SCM_RIGHTS): between processes, and between threads that do not share theirs. While they are
// under way they belong to the packet; the sender's own stay open until it closes them.
#pragma once

#include <cstddef>
#include <span>

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

/// In one packet.
inline constexpr std::size_t kMaxPassedDescriptors = 6;

/// One packet, not empty, by a SOCK_SEQPACKET socket. At most kMaxPassedDescriptors. `flags` as
/// for sendmsg(2), besides MSG_NOSIGNAL. ETOOMANYREFS: this user has too many under way already.
[[nodiscard]] IoStatus pass_descriptors(int socket, std::span<const std::byte> packet,
                                        std::span<const int> descriptors, int flags = 0);

struct PassedPacket {
  std::size_t octets = 0;       // 0: the other side has closed
  std::size_t descriptors = 0;  // of them; fewer than were sent where the table had no room
};
/// The next packet. What comes with it, close-on-exec, is put into `descriptors`, and closed where
/// there is no place for it. `flags` as for recvmsg(2).
[[nodiscard]] IoResult<PassedPacket> take_descriptors(int socket, std::span<std::byte> packet,
                                                      std::span<UniqueFd> descriptors,
                                                      int flags = 0);

}  // namespace cordon
