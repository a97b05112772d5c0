// Kernel sockets inside the guest's network namespace, each standing for one remote end, and the
// streams between them and the host's sockets.
#pragma once

#include <cstddef>
#include <cstdint>

#include "netstack/base/result.h"
#include "netstack/base/time.h"
#include "netstack/seams/sockets.h"
#include "netstack/wire/tcp.h"

namespace cordon {

/// A connection as if its handshake had been made by the kernel: what TCP_REPAIR sets.
struct Adoption {
  Endpoint remote;  // the socket's own address: what the guest dialled
  Endpoint guest;
  Seq iss;                            // ours, as in the SYN-ACK
  Seq irs;                            // the guest's, as in its SYN
  std::uint16_t send_window = 0;      // the SYN's window, never scaled (RFC 7323 section 2.2)
  std::uint16_t receive_window = 0;   // the SYN-ACK's window
  SynOptions offered;                 // the SYN's options, reduced to what the SYN-ACK answered
  std::uint16_t mss = 536;            // what the guest can take
  std::uint8_t our_window_scale = 0;  // meant only where offered.window_scale is set
};

class GuestSockets {
 public:
  virtual ~GuestSockets() = default;
  /// A socket in ESTABLISHED, without a packet sent. ENOBUFS: none is at hand this moment. Its
  /// events go to nobody until own() names somebody, who is then told what is there already.
  virtual IoResult<SocketHandle> adopt(const Adoption& adoption) = 0;
  virtual IoStatus own(SocketHandle socket, SocketOwner owner) = 0;
  /// An ordinary connect() to the guest from `client`'s address and port (IP_TRANSPARENT).
  /// EADDRNOTAVAIL where that four-tuple is taken.
  virtual IoResult<SocketHandle> dial(const Endpoint& client, const Endpoint& guest,
                                      SocketOwner owner) = 0;
  /// After the owner was told `readiness`: nothing once connected, EINPROGRESS where it is not
  /// decided yet.
  virtual IoStatus dial_result(SocketHandle socket, const Readiness& readiness) = 0;
  /// Puts the steering back that keeps established streams off the tap; somebody flushed it.
  virtual void restore_steering() = 0;
  /// The TSval that a segment of an adopted socket would carry now.
  virtual std::uint32_t timestamp_now() = 0;
};

/// Octets between two sockets that are in neither: in a pipe that the flow holds only while it is
/// full.
struct PipeHold {
  std::int32_t slot = -1;
  std::uint32_t octets = 0;
};

struct Transfer {
  enum class Stop : std::uint8_t {
    kSourceEmpty,  // the source has nothing; its next event goes on
    kSinkFull,     // the sink takes nothing; its next event goes on
    kBudget,       // all that was asked for was taken and is with the sink; there may be more
    kEnd,          // the source's FIN was reached and all before it is with the sink
    kSourceError,  // the source is broken (`error`)
    kSinkError,    // the sink is broken (`error`)
  };
  Stop stop = Stop::kSourceEmpty;
  std::uint64_t octets = 0;  // that the sink took
  std::uint64_t taken = 0;   // that left the source; what is more than `octets` is in the hold
  int error = 0;
};

/// What is known of a source before it is read.
struct SourceState {
  bool is_small = false;    // little is to be expected: copying beats splicing
  bool has_ended = false;   // its FIN is there: what waits is all that there will be
  bool has_urgent = false;  // reads stop short at the urgent mark, so a short one tells nothing
};

class Streams {
 public:
  virtual ~Streams() = default;
  /// Empties the hold, then takes at most `budget` octets from the source; not one more, so that a
  /// limit or the end of a message can be told by it. After kEnd the caller passes the FIN on, or
  /// closes the sink: the last octets may have been kept back to go with it.
  virtual Transfer move(SocketHandle from, SocketHandle to, PipeHold& hold,
                        const SourceState& source, std::size_t budget) = 0;
  /// Copies what waits at the front of a stream and leaves it there. 0: the peer's FIN is next.
  /// EAGAIN: nothing waits.
  virtual IoResult<std::size_t> peek(SocketHandle socket, MutableBytes out) = 0;
  /// The same, and takes it.
  virtual IoResult<std::size_t> receive(SocketHandle socket, MutableBytes out) = 0;
  /// Sends as much as there is room for. EAGAIN: none.
  virtual IoResult<std::size_t> send(SocketHandle socket, Bytes octets) = 0;
  /// Probes the peer after this long without a word from it (RFC 9293 section 3.8.4).
  virtual void keep_alive(SocketHandle socket, Duration silence) = 0;
  /// FIN to the sink.
  virtual void shutdown_write(SocketHandle socket) = 0;
  /// Both halves are done: the kernel finishes what is under way.
  virtual void close(SocketHandle socket) = 0;
  /// RST, at once.
  virtual void reset(SocketHandle socket) = 0;
  /// Gives back what a hold has, its octets included.
  virtual void drop_hold(PipeHold& hold) = 0;
};

}  // namespace cordon
