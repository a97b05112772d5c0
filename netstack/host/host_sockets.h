// HostSockets on the kernel: sockets in the host's network namespace.
//
// UDP sockets are unconnected, so that one socket is one mapping whatever it talks to; their errors
// come with the error queue (IP_RECVERR), which says whose datagram it was. Trains go out by
// UDP_SEGMENT and come in by UDP_GRO (udp(7), Linux 4.18 and 5.0); what waits comes by recvmmsg(),
// as much as one turn takes.
#pragma once

#include <array>
#include <cstdlib>
#include <memory>
#include <span>
#include <sys/socket.h>
#include <sys/uio.h>
#include <vector>

#include "netstack/host/event_loop.h"
#include "netstack/host/ready_sockets.h"
#include "netstack/host/socket_address.h"
#include "netstack/host/socket_options.h"
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
  IoResult<SocketHandle> ask(const AllowedDestination& whom, Bytes question,
                             SocketOwner owner) override;
  IoResult<SocketHandle> open_ping(Family family, SocketOwner owner) override;
  IoStatus send(SocketHandle socket, const AllowedDestination& destination,
                const SendFields& fields, std::span<const Bytes> parts) override;
  bool receive(SocketHandle socket, std::size_t budget, DatagramSink& sink) override;
  void receive_errors(SocketHandle socket, DatagramSink& sink) override;
  void close(SocketHandle socket) override;

  /// For the moments without anything else to do.
  [[nodiscard]] bool wants_ready_sockets() const { return ready_.wants_one(); }
  void make_ready_socket() { ready_.make_one(); }
  /// Before the loop waits: makes the socket of the next question while this one's answer is on its
  /// way.
  void prepare();

 private:
  // What IP_MTU_DISCOVER of a socket was last set to.
  enum class Fragmenting : std::uint8_t { kUnset, kMay, kMayNot };

  // Datagrams of one recvmmsg(), each with room for the longest, or for a train. The rooms do not
  // begin at the same place of a page: the cache lines of their first octets would be the same few.
  static constexpr std::size_t kBatch = 32;
  static constexpr std::size_t kRoom = 65536 + 1024 + 256;
  static constexpr std::size_t kReceiveControl = 64;
  struct Inbound {
    SocketAddress peer;
    iovec part{};
    alignas(cmsghdr) std::array<std::uint8_t, kReceiveControl> control{};
  };
  struct Free {
    // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): it is calloc() that gives pages unwritten
    void operator()(void* memory) const { std::free(memory); }
  };

  IoResult<SocketHandle> open_datagram(Family family, int protocol, SocketOwner owner,
                                       DatagramUse use);
  UniqueFd take_spare(Family family);
  void set_may_fragment(int descriptor, Family family, bool may_fragment);
  std::optional<ReceivedDatagram> received(std::size_t index);

  EventLoop& loop_;
  ReadySockets ready_;
  std::unique_ptr<std::uint8_t[], Free> rooms_;
  std::array<mmsghdr, kBatch> messages_{};
  std::array<Inbound, kBatch> inbound_;
  std::vector<Fragmenting> fragmenting_;  // by descriptor
  // For the next question of each family: never bound, never sent from.
  struct Spare {
    UniqueFd socket;
    bool is_wanted = true;
  };
  std::array<Spare, 2> spares_;
};

}  // namespace cordon
