#include "netstack/tcp/stream_rules.h"

namespace cordon {

bool finish_half(Streams& streams, Stream& stream, bool is_up) {
  stream.half(is_up).is_done = true;
  if (!stream.up.is_done || !stream.down.is_done) {
    streams.shutdown_write(is_up ? stream.host : stream.guest);
    return false;
  }
  // close() sends the last FIN, on the side that has not had one.
  streams.close(stream.guest);
  streams.close(stream.host);
  stream.guest = {};
  stream.host = {};
  return true;
}

void reset_stream(Streams& streams, Stream& stream) {
  for (HalfStream* const half : {&stream.up, &stream.down}) streams.drop_hold(half->hold);
  for (SocketHandle* const socket : {&stream.guest, &stream.host}) {
    if (socket->is_open()) streams.reset(*socket);
    *socket = {};
  }
}

}  // namespace cordon
