// GuestSockets on the kernel: adoption by TCP_REPAIR, and dialling the guest from a client's
// address.
//
// Repair mode (tcp(7) does not tell; net/ipv4/tcp.c, Documentation of CRIU's TCP connection page)
// lets a socket be put into ESTABLISHED with chosen sequence numbers, options and windows and not
// one packet sent. The permission is CAP_NET_ADMIN in the user namespace that owns the socket's
// network namespace: the guest's, so nothing on the host. IP_TRANSPARENT under the same permission
// lets it be bound to the remote's address. What is the same for every flow is preset by the pool;
// here is the rest.
//
// Repair mode implies address reuse, so any number of adopted sockets share one remote address and
// port.
#pragma once

#include "netstack/host/event_loop.h"
#include "netstack/host/guest_socket_pool.h"
#include "netstack/seams/guest_sockets.h"

namespace cordon {

class KernelGuestSockets final : public GuestSockets {
 public:
  /// `link_index`: of the tap in the guest's namespace, the zone of link-local addresses there.
  KernelGuestSockets(EventLoop& loop, GuestSocketPool& pool, std::uint32_t link_index)
      : loop_(loop), pool_(pool), link_index_(link_index) {}

  IoResult<SocketHandle> adopt(const Adoption& adoption) override;
  IoStatus own(SocketHandle socket, SocketOwner owner) override;
  IoResult<SocketHandle> dial(const Endpoint& client, const Endpoint& guest,
                              SocketOwner owner) override;
  IoStatus dial_result(SocketHandle socket, const Readiness& readiness) override;
  void restore_steering() override { pool_.ask_for_steering(); }
  std::uint32_t timestamp_now() override;

 private:
  EventLoop& loop_;
  GuestSocketPool& pool_;
  std::uint32_t link_index_;
};

}  // namespace cordon
