// HostSockets on the kernel: sockets in the host's network namespace.
//
// UDP sockets are unconnected, so that one socket is one mapping whatever it talks to; their errors
// come with the error queue (IP_RECVERR), which says whose datagram it was. Trains go out by
// UDP_SEGMENT and come in by UDP_GRO (udp(7), Linux 4.18 and 5.0).
#pragma once

#include <vector>

#include "netstack/host/event_loop.h"
#include "netstack/seams/host_sockets.h"

namespace cordon {

class KernelHostSockets final : public HostSockets {
 public:
  explicit KernelHostSockets(EventLoop& loop);

  IoResult<SocketHandle> dial(const AllowedDestination& destination, SocketOwner owner) override;
  IoStatus dial_result(SocketHandle socket, const Readiness& readiness) override;
  std::optional<Endpoint> local_endpoint(SocketHandle socket) override;
  IoResult<AcceptedStream> accept(SocketHandle listener) override;
  IoStatus own(SocketHandle socket, SocketOwner owner) override;
  void set_listening(SocketHandle listener, SocketOwner owner, bool is_on) override;
  IoResult<SocketHandle> open_udp(Family family, SocketOwner owner) override;
  IoResult<SocketHandle> open_ping(Family family, SocketOwner owner) override;
  IoStatus send(SocketHandle socket, const AllowedDestination& destination,
                const SendFields& fields, Bytes payload) override;
  bool receive(SocketHandle socket, std::size_t budget, DatagramSink& sink) override;
  void close(SocketHandle socket) override;

 private:
  // What IP_MTU_DISCOVER of a socket was last set to.
  enum class Fragmenting : std::uint8_t { kUnset, kMay, kMayNot };

  IoResult<SocketHandle> open_datagram(Family family, int protocol, SocketOwner owner);
  void set_may_fragment(int descriptor, Family family, bool may_fragment);
  bool receive_one(int descriptor, DatagramSink& sink);
  static void drain_errors(int descriptor, DatagramSink& sink);

  EventLoop& loop_;
  std::vector<std::uint8_t> buffer_;
  std::vector<Fragmenting> fragmenting_;  // by descriptor
};

}  // namespace cordon
