// How a stream's octets and its ends pass from one socket to the other; the same for the streams
// that TcpFlows moves and for those of the relays:
//
//   source ended, all passed on   -> FIN to the sink; the other half goes on for as long as it
//                                    likes
//   both halves ended             -> both sockets close in good order (the kernel finishes)
//   either socket broken          -> what it still had to say is passed on first, then RST to the
//                                    other
//
// Both sockets' events are edges: a half is read when its source speaks, unless its sink is full,
// and then when the sink has room again. Who moves a stream takes turns with the others
// (kPumpBudget) and comes back to it by itself.
#pragma once

#include "netstack/seams/relays.h"

namespace cordon {

/// What one stream may move before the others have their turn: some 200 us of a fast one.
inline constexpr std::size_t kPumpBudget = std::size_t{1024} * 1024;
/// A half whose last turn was of less than this is copied, not spliced: requests and answers cost
/// fewer system calls that way, however long the stream lives.
inline constexpr std::uint64_t kSmallTurn = std::uint64_t{16} * 1024;

/// What an event says of the half whose source it is of.
inline void take_notice(HalfStream& half, const Readiness& readiness) {
  half.has_ended |= readiness.has_ended;
  half.has_urgent |= readiness.has_urgent;
}

/// Whether the half whose source has had an event moves now.
[[nodiscard]] inline bool moves_by_source(const HalfStream& half, const Readiness& readiness) {
  return (readiness.is_readable || readiness.has_error) && !half.is_done && !half.is_blocked;
}

/// Whether the half whose sink has had an event moves now.
[[nodiscard]] inline bool moves_by_sink(const HalfStream& half, const Readiness& readiness) {
  return readiness.is_writable && half.is_blocked;
}

[[nodiscard]] inline SocketHandle source_of(const Stream& stream, bool is_up) {
  return is_up ? stream.guest : stream.host;
}

/// Moves at most `most` octets.
inline Transfer move_half(Streams& streams, Stream& stream, bool is_up, std::size_t most) {
  HalfStream& half = stream.half(is_up);
  const SourceState source{
      .is_small = half.is_small, .has_ended = half.has_ended, .has_urgent = half.has_urgent};
  const Transfer transfer =
      streams.move(source_of(stream, is_up), source_of(stream, !is_up), half.hold, source, most);
  half.octets += transfer.octets;
  half.is_small = transfer.taken < kSmallTurn;
  half.is_blocked = transfer.stop == Transfer::Stop::kSinkFull;
  return transfer;
}

/// The half's FIN was reached, and passes on. True where that was the second: both sockets are
/// closed in good order.
bool finish_half(Streams& streams, Stream& stream, bool is_up);
/// RST both ways; what holds have is lost.
void reset_stream(Streams& streams, Stream& stream);

}  // namespace cordon
