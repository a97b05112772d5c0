// Owners for libnl's objects, and its errors in our words.
#pragma once

#include <memory>
#include <string>

#include <netlink/addr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/route.h>
#include <netlink/socket.h>

#include "netstack/base/result.h"

namespace cordon {

template <class T, void (*release)(T*)>
struct NetlinkRelease {
  void operator()(T* object) const { release(object); }
};
template <class T, void (*release)(T*)>
using NetlinkOwner = std::unique_ptr<T, NetlinkRelease<T, release>>;

using NetlinkSocket = NetlinkOwner<nl_sock, nl_socket_free>;
using NetlinkMessage = NetlinkOwner<nl_msg, nlmsg_free>;
using NetlinkAddress = NetlinkOwner<nl_addr, nl_addr_put>;
using NetlinkLink = NetlinkOwner<rtnl_link, rtnl_link_put>;
using NetlinkLinkAddress = NetlinkOwner<rtnl_addr, rtnl_addr_put>;
using NetlinkRoute = NetlinkOwner<rtnl_route, rtnl_route_put>;
using NetlinkNeighbour = NetlinkOwner<rtnl_neigh, rtnl_neigh_put>;

/// A status from what a libnl function returned (negative: failure).
[[nodiscard]] inline Status netlink_status(int outcome, const std::string& what) {
  if (outcome >= 0) return {};
  return plain_error(what + ": " + nl_geterror(outcome));
}

/// A connected socket of that protocol, in the calling thread's network namespace.
[[nodiscard]] inline Result<NetlinkSocket> open_netlink(int protocol) {
  NetlinkSocket socket(nl_socket_alloc());
  if (!socket) return errno_error(ENOMEM, "netlink socket");
  CORDON_TRY_STATUS(netlink_status(nl_connect(socket.get(), protocol), "netlink socket"));
  return socket;
}

}  // namespace cordon
