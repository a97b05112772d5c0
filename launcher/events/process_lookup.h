// Which process of the guest a denied flow belongs to.
//
// Two steps: the flow's socket by its inode, over a NETLINK_SOCK_DIAG socket that was born in the
// guest's network namespace (ping sockets, which sock_diag does not know, by /proc/PID/net/icmp);
// then the process that holds a descriptor of that inode, by /proc/PID/fd of those processes whose
// network namespace is the guest's. While this runs the guest's connect() waits, so it is bounded:
// 20 ms, 4,096 processes. The answer is nothing rather than wrong: where two sockets fit
// (SO_REUSEPORT), or the process has exited, or does not belong to this user, there is none.
//
// The guest chooses what stands in these tables. Numbers are parsed with bounds; the program's name
// is raw text here and is escaped where it is printed (event_log.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

#include "netstack/policy/request.h"

namespace cordon {

struct GuestProcess {
  pid_t pid = 0;        // as the host numbers it
  std::string program;  // /proc/PID/comm, unescaped
};

/// A socket of the guest as the kernel lists it.
struct SocketRow {
  Endpoint local;
  Endpoint remote;             // port 0: not connected
  bool is_connection = false;  // TCP: it dialled, and has not ended both ways
  std::uint64_t inode = 0;
};

/// The inode of the one row that `request` (outbound) can have come from; nullopt where none or
/// more than one fits.
[[nodiscard]] std::optional<std::uint64_t> choose_socket(std::span<const SocketRow> rows,
                                                         const Request& request);

/// The rows of /proc/net/icmp or icmp6 (the ping sockets); lines that are not understood are left
/// out.
[[nodiscard]] std::vector<SocketRow> parse_ping_sockets(std::string_view text);

class ProcessLookup {
 public:
  /// The descriptors stay the caller's and outlive this. -1 and 0: every answer is nullopt.
  ProcessLookup(int sock_diag, int network_namespace, pid_t guest_init);

  [[nodiscard]] std::optional<GuestProcess> find(const Request& request);

 private:
  [[nodiscard]] std::vector<SocketRow> list_sockets(const Request& request);
  [[nodiscard]] bool is_in_guest(pid_t pid) const;
  void list_processes(std::int64_t deadline);

  int sock_diag_;
  pid_t guest_init_;
  std::uint64_t namespace_device_ = 0;
  std::uint64_t namespace_inode_ = 0;
  std::vector<pid_t> processes_;  // of the guest, as seen by the last scan; the last hit first
};

}  // namespace cordon
