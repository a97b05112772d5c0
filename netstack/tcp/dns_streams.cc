#include "netstack/tcp/dns_streams.h"

#include <algorithm>
#include <cerrno>

#include "netstack/wire/endian.h"

namespace cordon {

DnsStreams::DnsStreams(const FlowContext& context, Resolver& resolver)
    : context_(context),
      resolver_(resolver),
      // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): it is calloc() that gives pages unwritten
      streams_(static_cast<Stream*>(std::calloc(kMaxDnsStreams, sizeof(Stream)))) {
  if (streams_ == nullptr) std::abort();  // At start only; there is nothing to go on with.
  free_.reserve(kMaxDnsStreams);
  for (std::size_t i = kMaxDnsStreams; i > 0; --i) {
    free_.push_back(static_cast<std::int16_t>(i - 1));
  }
}

std::int16_t DnsStreams::take() {
  if (free_.empty()) return -1;
  const std::int16_t place = free_.back();
  free_.pop_back();
  Stream& stream = streams_[static_cast<std::size_t>(place)];
  stream.in_size = 0;
  stream.out_size = 0;
  stream.awaited = 0;
  stream.is_finished = false;
  stream.is_broken = false;
  stream.is_pumping = false;
  return place;
}

void DnsStreams::give(std::int16_t place) { free_.push_back(place); }

DnsStreams::State DnsStreams::state_of(const Stream& stream) {
  if (stream.is_broken) return State::kBroken;
  const bool is_done = stream.is_finished && stream.awaited == 0 && stream.out_size == 0;
  return is_done ? State::kDone : State::kOpen;
}

DnsStreams::State DnsStreams::pump(Instant now, std::int16_t place, FlowId flow, const FlowKey& key,
                                   SocketHandle socket) {
  Stream& stream = streams_[static_cast<std::size_t>(place)];
  stream.is_pumping = true;
  read(now, stream, flow, key, socket);
  stream.is_pumping = false;
  flush(stream, socket);
  return state_of(stream);
}

void DnsStreams::read(Instant now, Stream& stream, FlowId flow, const FlowKey& key,
                      SocketHandle socket) {
  while (!stream.is_broken && !stream.is_finished) {
    const MutableBytes room = MutableBytes(stream.in).subspan(stream.in_size);
    const IoResult<std::size_t> got = context_.streams.receive(socket, room);
    if (!got && got.error().value == EAGAIN) return;
    if (!got || room.empty()) {
      stream.is_broken = true;
    } else if (*got == 0) {
      stream.is_finished = true;
    } else {
      stream.in_size += *got;
      ask_whole(now, stream, flow, key);
      flush(stream, socket);
    }
  }
}

void DnsStreams::ask_whole(Instant now, Stream& stream, FlowId flow, const FlowKey& key) {
  std::size_t at = 0;
  while (!stream.is_broken) {
    const Bytes rest = Bytes(stream.in).first(stream.in_size).subspan(at);
    const auto length = load<Be16>(rest);
    if (!length) break;
    if (length->get() < kDnsHeaderOctets || length->get() > kMaxQuestion) {
      stream.is_broken = true;
      return;
    }
    if (rest.size() < kPrefix + length->get()) break;
    const Bytes message = rest.subspan(kPrefix, length->get());
    if (resolver_.on_stream_query(now, flow, key.guest, key.remote, message)) ++stream.awaited;
    at += kPrefix + length->get();
  }
  std::copy(stream.in.begin() + static_cast<std::ptrdiff_t>(at),
            stream.in.begin() + static_cast<std::ptrdiff_t>(stream.in_size), stream.in.begin());
  stream.in_size -= at;
}

DnsStreams::State DnsStreams::on_answer(std::int16_t place, SocketHandle socket, Bytes message) {
  Stream& stream = streams_[static_cast<std::size_t>(place)];
  const MutableBytes room = MutableBytes(stream.out).subspan(stream.out_size);
  if (room.size() < kPrefix + message.size()) {
    stream.is_broken = true;
    return state_of(stream);
  }
  (void)store(room, Be16(static_cast<std::uint16_t>(message.size())));  // Room is there.
  std::ranges::copy(message, room.subspan(kPrefix).begin());
  stream.out_size += kPrefix + message.size();
  // What is answered from within pump() was never awaited, and is sent there.
  if (stream.is_pumping) return State::kOpen;
  if (stream.awaited > 0) --stream.awaited;
  flush(stream, socket);
  return state_of(stream);
}

void DnsStreams::flush(Stream& stream, SocketHandle socket) {
  std::size_t sent = 0;
  while (sent < stream.out_size) {
    const Bytes rest = Bytes(stream.out).first(stream.out_size).subspan(sent);
    const IoResult<std::size_t> went = context_.streams.send(socket, rest);
    if (!went && went.error().value != EAGAIN) stream.is_broken = true;
    if (!went) break;
    sent += *went;
  }
  std::copy(stream.out.begin() + static_cast<std::ptrdiff_t>(sent),
            stream.out.begin() + static_cast<std::ptrdiff_t>(stream.out_size), stream.out.begin());
  stream.out_size -= sent;
}

}  // namespace cordon
