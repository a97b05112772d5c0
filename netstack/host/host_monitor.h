// Changes of the host's network: a netlink socket in the groups of addresses, routes and links
// (rtnetlink(7)), opened before the seal. What changed is not read in detail: any change is a
// reason to judge the living flows again, and a removed address is one to look for sockets that
// stall.
#pragma once

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

struct HostChange {
  bool has_changed = false;
  bool is_address_lost = false;
};

class HostMonitor {
 public:
  [[nodiscard]] static Result<HostMonitor> open();
  [[nodiscard]] int descriptor() const { return socket_.get(); }
  /// Everything that waits, summed up. Messages that were lost (ENOBUFS) count as a change of
  /// everything.
  [[nodiscard]] HostChange read();

 private:
  explicit HostMonitor(UniqueFd socket) : socket_(std::move(socket)) {}
  UniqueFd socket_;
};

}  // namespace cordon
