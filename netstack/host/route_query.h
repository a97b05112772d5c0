// The host's FIB, asked live: one RTM_GETROUTE on a netlink socket that was opened before the seal
// (rtnetlink(7), net/ipv4/route.c inet_rtm_getroute, net/ipv6/route.c inet6_rtm_getroute).
//
// RTM_F_FIB_MATCH makes the kernel answer with the route that matched instead of the resolved one,
// so the prefix length and the absence of a gateway are those of the table. The message is built by
// hand, not by libnl: it is on the way of every connection, where nothing allocates.
#pragma once

#include <cstdint>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"
#include "netstack/seams/host_sockets.h"

namespace cordon {

class FibQuery final : public RouteQuery {
 public:
  [[nodiscard]] static Result<FibQuery> open();

  /// Where the kernel gives no answer that can be trusted the type is kLocal, the worst there is: a
  /// broken query must never open anything.
  RouteFacts lookup(const IpAddress& address) override;

 private:
  explicit FibQuery(UniqueFd socket);
  [[nodiscard]] bool is_tunnel(std::uint32_t interface_index);
  [[nodiscard]] std::uint16_t hardware_type(std::uint32_t interface_index);

  UniqueFd socket_;
  std::vector<std::uint8_t> reply_;
  std::uint32_t sequence_ = 0;
};

}  // namespace cordon
