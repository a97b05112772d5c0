// The host's network: what the translator may do there. Everything returns at once. A destination
// can only be dialled or sent to with the witness that the policy gave.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "netstack/address/classes.h"
#include "netstack/base/bytes.h"
#include "netstack/base/result.h"
#include "netstack/policy/policy.h"
#include "netstack/seams/sockets.h"

namespace cordon {

/// This host's end of a datagram on a published port.
struct HostEnd {
  IpAddress address;       // that the client wrote to, and that answers leave from
  std::uint32_t zone = 0;  // the link that a link-local client is on (RFC 4007 section 6)

  friend bool operator==(const HostEnd&, const HostEnd&) = default;
};

/// How a datagram goes out.
struct SendFields {
  std::uint8_t ttl = 64;
  std::uint8_t traffic_class = 0;
  bool may_fragment = false;       // the guest left DF clear, or had fragmented it itself
  std::uint16_t segment_size = 0;  // not 0: the payload is a train of datagrams of that size
  std::optional<HostEnd> from{};   // none: as the host's routes say
};

inline constexpr std::size_t kMaxSendParts = 64;

struct ReceivedDatagram {
  Endpoint peer;
  Bytes payload;
  std::uint16_t segment_size = 0;  // not 0: several datagrams of that size, the last may be shorter
  std::uint8_t traffic_class = 0;
  std::optional<HostEnd> to{};  // where the socket tells it: on published ports
};

/// An ICMP error that the host got for a datagram of ours (IP_RECVERR, ip(7)), or one of its own
/// making.
struct DatagramError {
  Endpoint destination;               // whom the datagram was for
  int error = 0;                      // the errno it stands for
  std::optional<IpAddress> offender;  // who reported it; none: the host itself
  bool is_ttl_exceeded = false;
  std::uint32_t mtu = 0;  // EMSGSIZE
  Bytes payload;          // the start of the datagram, as far as it is known
};

class DatagramSink {
 public:
  virtual ~DatagramSink() = default;
  virtual void on_datagram(const ReceivedDatagram& datagram) = 0;
  virtual void on_error(const DatagramError& error) = 0;
};

struct AcceptedStream {
  SocketHandle socket;
  Endpoint client;
  Endpoint local;  // the address of the host that the client used
};

class HostSockets {
 public:
  virtual ~HostSockets() = default;

  /// A TCP socket on its way to `destination`; the owner hears of it when the outcome is known.
  virtual IoResult<SocketHandle> dial(const AllowedDestination& destination, SocketOwner owner) = 0;
  /// After the owner was told `readiness`: nothing once connected, EINPROGRESS where it is not
  /// decided yet.
  virtual IoStatus dial_result(SocketHandle socket, const Readiness& readiness) = 0;
  /// The address of the host that a connected socket uses.
  virtual std::optional<Endpoint> local_endpoint(SocketHandle socket) = 0;

  /// The next connection of a published port, or EAGAIN. Its events go to nobody until own() names
  /// somebody; a dialled socket's go to its new owner from then on.
  virtual IoResult<AcceptedStream> accept(SocketHandle listener) = 0;
  virtual IoStatus own(SocketHandle socket, SocketOwner owner) = 0;
  /// Switches a published port's events off while no descriptor is left for its connections.
  virtual void set_listening(SocketHandle listener, SocketOwner owner, bool is_on) = 0;

  /// An unconnected UDP socket with an ephemeral port.
  virtual IoResult<SocketHandle> open_udp(Family family, SocketOwner owner) = 0;
  /// Sends one question from an UDP socket, and a port, that nothing was sent from before; the
  /// socket hears the answer.
  virtual IoResult<SocketHandle> ask(const AllowedDestination& whom, Bytes question,
                                     SocketOwner owner) = 0;
  /// A ping socket (icmp(7)); EACCES where the host's ping_group_range shuts the user out.
  virtual IoResult<SocketHandle> open_ping(Family family, SocketOwner owner) = 0;
  /// `parts` (at most kMaxSendParts), one behind the other, are one datagram, or a train of
  /// `segment_size`; a train is sent whole or, with an error, not at all. For a ping socket they
  /// are an ICMP message from its type on; the kernel sets identifier and checksum.
  virtual IoStatus send(SocketHandle socket, const AllowedDestination& destination,
                        const SendFields& fields, std::span<const Bytes> parts) = 0;
  /// Hands what waits to `sink`: at most `budget` datagrams or trains, whose payloads stay where
  /// they are until the next receive() of any socket. True where more may be waiting.
  virtual bool receive(SocketHandle socket, std::size_t budget, DatagramSink& sink) = 0;
  /// Hands the socket's error queue to `sink`. Its readiness says when there is one (has_error).
  virtual void receive_errors(SocketHandle socket, DatagramSink& sink) = 0;

  /// Closes an UDP, ping or not yet connected TCP socket.
  virtual void close(SocketHandle socket) = 0;
};

/// The host's FIB, asked live (RTM_GETROUTE). No cache: an address that the host got a moment ago
/// counts.
class RouteQuery {
 public:
  virtual ~RouteQuery() = default;
  virtual RouteFacts lookup(const IpAddress& address) = 0;
};

class Entropy {
 public:
  virtual ~Entropy() = default;
  virtual std::uint64_t next() = 0;
};

}  // namespace cordon
