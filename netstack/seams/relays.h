// Streams that other threads move. Once nothing is left to judge or to count, a stream costs
// processor time and descriptors and nothing else, and a relay takes it over, sockets and all: what
// a relay has is read and written by nobody else, and in no table of descriptors but its own. It
// tells when the stream has ended, or hands it back when asked.
#pragma once

#include <cstdint>
#include <optional>

#include "netstack/base/time.h"
#include "netstack/seams/guest_sockets.h"

namespace cordon {

/// One way of a stream.
struct HalfStream {
  PipeHold hold;
  std::uint64_t octets = 0;  // that the sink took
  std::uint64_t judged = 0;  // may go on unseen, where the first flight is still looked at
  bool has_news = false;     // the source spoke, or broke, before the flow was a stream
  bool has_ended = false;    // the source's FIN is there, perhaps behind octets
  bool has_urgent = false;   // an urgent mark is among them, or was
  bool is_blocked = false;   // the sink was full; its next event goes on
  bool is_done = false;      // FIN reached and passed on
  bool is_small = true;      // its last turn was, and the next one is taken to be
};

/// A connection's two sockets, and what moves between them.
struct Stream {
  SocketHandle guest;
  SocketHandle host;
  HalfStream up;    // guest to remote
  HalfStream down;  // remote to guest

  [[nodiscard]] HalfStream& half(bool is_up) { return is_up ? up : down; }
  [[nodiscard]] const HalfStream& half(bool is_up) const { return is_up ? up : down; }
  [[nodiscard]] bool is_half_closed() const { return up.is_done || down.is_done; }
  [[nodiscard]] std::uint64_t octets() const { return up.octets + down.octets; }
};

/// Which relay has a stream, and where.
struct RelayPlace {
  std::uint16_t relay = 0;
  std::uint16_t index = 0;
};

/// What has moved until now, or a moment ago.
struct RelayCounts {
  std::uint64_t up = 0;  // octets, since the stream began
  std::uint64_t down = 0;
  Instant moved{};  // the last time that something did
  bool is_half_closed = false;
};

/// How a relay comes to be done with a stream.
struct RelayNews {
  enum class Kind : std::uint8_t {
    kClosed,    // both halves ended, and both sockets were closed in good order
    kReset,     // one end broke, and both sockets were reset
    kReturned,  // after take_back(): as it is, sockets and holds included
  };
  Kind kind = Kind::kClosed;
  SocketOwner owner;
  Stream stream;  // with the final counts; open sockets where it was returned only
};

class Relays {
 public:
  virtual ~Relays() = default;
  /// Whether one more stream may be handed over.
  [[nodiscard]] virtual bool has_room() = 0;
  /// There is room, and both holds are empty. From here on the sockets are the relay's; the owner
  /// is told by RelayNews, once, unless end() comes first. Nothing where the way to the relay is
  /// full at this moment: all is as before.
  virtual std::optional<RelayPlace> hand_over(SocketOwner owner, const Stream& stream) = 0;
  /// Both sockets are reset, within one turn of the relay. The place is nobody's any more; news of
  /// it may still be under way.
  virtual void end(RelayPlace place) = 0;
  /// The stream comes back (kReturned), unless it has ended.
  virtual void take_back(RelayPlace place) = 0;
  [[nodiscard]] virtual RelayCounts counts(RelayPlace place) = 0;
};

}  // namespace cordon
