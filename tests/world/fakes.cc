#include "tests/world/fakes.h"

#include <algorithm>
#include <cerrno>

#include <gtest/gtest.h>

namespace cordon::world {
namespace {

// Takes up to `octets` characters off the front.
std::string cut(std::string& text, std::uint64_t octets) {
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(octets, text.size()));
  std::string front = text.substr(0, size);
  text.erase(0, size);
  return front;
}

}  // namespace

int Script::next(Call call) {
  std::deque<int>& planned = planned_[call];
  if (!planned.empty()) {
    const int error = planned.front();
    planned.pop_front();
    return error;
  }
  return chaos_ ? chaos_(call) : 0;
}

FakeSocket& Sockets::open(OwnerKind kind, const SocketOwner& owner) {
  const int descriptor = next_++;
  open_.insert(descriptor);
  ++opened_[kind];
  last_[kind] = descriptor;
  FakeSocket& socket = all_[descriptor];
  socket.handle = SocketHandle{descriptor};
  socket.kind = kind;
  socket.owner = owner;
  return socket;
}

void Sockets::give(FakeSocket& socket, const SocketOwner& owner) {
  socket.owner = owner;
  socket.is_owned = true;
  if (socket.kind == owner.kind) return;
  socket.kind = owner.kind;
  ++opened_[owner.kind];
  last_[owner.kind] = socket.handle.descriptor;
}

FakeSocket& Sockets::at(SocketHandle handle, std::string_view doing) {
  EXPECT_TRUE(is_open(handle)) << doing << " on descriptor " << handle.descriptor
                               << ", which is not open";
  return all_[handle.descriptor];
}

void Sockets::end(SocketHandle handle, End how) {
  at(handle, how == End::kReset ? "reset" : "close").end = how;
  open_.erase(handle.descriptor);
  if (forgets_ended_) all_.erase(handle.descriptor);
}

std::size_t Sockets::open_count(OwnerKind kind) const {
  return static_cast<std::size_t>(std::ranges::count_if(
      open_, [&](int descriptor) { return all_.at(descriptor).kind == kind; }));
}

FakeSocket& Sockets::last(OwnerKind kind) {
  const auto found = last_.find(kind);
  EXPECT_NE(found, last_.end()) << "no socket of that kind was ever opened";
  return found == last_.end() ? all_[-1] : all_[found->second];
}

std::size_t Sockets::opened(OwnerKind kind) const {
  const auto found = opened_.find(kind);
  return found == opened_.end() ? 0 : found->second;
}

IoResult<SocketHandle> FakeHost::dial(const AllowedDestination& destination, SocketOwner owner) {
  dialled.push_back(destination.endpoint());
  if (const int error = script_.next(Call::kDial)) return std::unexpected(Errno{error});
  EXPECT_EQ(destination.protocol(), Protocol::kTcp);
  FakeSocket& socket = sockets_.open(owner.kind, owner);
  socket.remote = destination.endpoint();
  socket.dial_result = EINPROGRESS;
  socket.is_stream = true;
  return socket.handle;
}

IoStatus FakeHost::dial_result(SocketHandle handle, const Readiness& /*readiness*/) {
  const FakeSocket& socket = sockets_.at(handle, "dial_result");
  if (const int error = script_.next(Call::kDialResult)) return std::unexpected(Errno{error});
  if (socket.dial_result == 0) return {};
  return std::unexpected(Errno{socket.dial_result});
}

std::optional<Endpoint> FakeHost::local_endpoint(SocketHandle handle) {
  return sockets_.at(handle, "local_endpoint").local;
}

IoResult<AcceptedStream> FakeHost::accept(SocketHandle listener) {
  if (!backlog.empty()) {
    if (const int error = script_.next(Call::kAccept)) return std::unexpected(Errno{error});
  }
  if (backlog.empty()) return std::unexpected(Errno{EAGAIN});
  FakeSocket& socket = sockets_.open(OwnerKind::kTcpHost, {});
  socket.is_owned = false;
  socket.remote = backlog.front();
  (void)sockets_.at(listener, "accept");
  const bool is_link_local = socket.remote.address.is_link_local();
  const IpAddress usual = address(is_link_local ? "fe80::77" : "198.51.100.2");
  socket.local = Endpoint{.address = clients_come_to.value_or(usual), .port = 8080};
  backlog.pop_front();
  return AcceptedStream{.socket = socket.handle, .client = socket.remote, .local = *socket.local};
}

IoStatus FakeHost::own(SocketHandle handle, SocketOwner owner) {
  FakeSocket& socket = sockets_.at(handle, "own");
  if (const int error = script_.next(Call::kOwn)) return std::unexpected(Errno{error});
  sockets_.give(socket, owner);
  return {};
}

void FakeHost::set_listening(SocketHandle listener, SocketOwner /*owner*/, bool is_on) {
  (void)sockets_.at(listener, "set_listening");
  is_listening = is_on;
}

IoResult<SocketHandle> FakeHost::open_udp(Family family, SocketOwner owner) {
  if (const int error = script_.next(Call::kOpenUdp)) return std::unexpected(Errno{error});
  FakeSocket& socket = sockets_.open(owner.kind, owner);
  socket.family = family;
  return socket.handle;
}

IoResult<SocketHandle> FakeHost::ask(const AllowedDestination& whom, Bytes question,
                                     SocketOwner owner) {
  const IoResult<SocketHandle> socket = open_udp(whom.endpoint().address.family(), owner);
  if (!socket) return socket;
  const IoStatus sent = send(*socket, whom, SendFields{}, std::span(&question, 1));
  if (sent) return socket;
  sockets_.end(*socket, End::kClosed);
  return std::unexpected(sent.error());
}

IoResult<SocketHandle> FakeHost::open_ping(Family family, SocketOwner owner) {
  if (const int error = script_.next(Call::kOpenPing)) return std::unexpected(Errno{error});
  FakeSocket& socket = sockets_.open(OwnerKind::kEcho, owner);
  socket.family = family;
  return socket.handle;
}

IoStatus FakeHost::send(SocketHandle handle, const AllowedDestination& destination,
                        const SendFields& fields, std::span<const Bytes> parts) {
  FakeSocket& socket = sockets_.at(handle, "send");
  if (const int error = script_.next(Call::kSend)) return std::unexpected(Errno{error});
  if (socket.kind == OwnerKind::kUdp || socket.kind == OwnerKind::kDns) {
    EXPECT_EQ(socket.family, destination.endpoint().address.family());
  }
  SentDatagram sent{.destination = destination.endpoint(),
                    .fields = fields,
                    .payload = {},
                    .parts = parts.size()};
  for (const Bytes part : parts) sent.payload.insert(sent.payload.end(), part.begin(), part.end());
  const bool is_train = fields.segment_size != 0;
  EXPECT_TRUE(is_train || parts.size() == 1) << "a datagram in parts";
  const std::size_t size = is_train ? fields.segment_size : sent.payload.size();
  if (size > largest_datagram && is_train) return std::unexpected(Errno{EINVAL});
  if (size > largest_datagram && !fields.may_fragment) return std::unexpected(Errno{EMSGSIZE});
  socket.sent.push_back(std::move(sent));
  return {};
}

bool FakeHost::receive(SocketHandle handle, std::size_t budget, DatagramSink& sink) {
  // Taken at once, as recvmmsg() does: the owner may close the socket over what it gets.
  FakeSocket& socket = sockets_.at(handle, "receive");
  received_.clear();
  for (; budget > 0 && !socket.waiting.empty(); --budget) {
    received_.push_back(std::move(socket.waiting.front()));
    socket.waiting.pop_front();
  }
  for (const WaitingDatagram& waiting : received_) {
    sink.on_datagram(ReceivedDatagram{.peer = waiting.peer,
                                      .payload = waiting.payload,
                                      .segment_size = waiting.segment_size,
                                      .traffic_class = waiting.traffic_class,
                                      .to = waiting.to});
  }
  return budget == 0;
}

void FakeHost::receive_errors(SocketHandle handle, DatagramSink& sink) {
  while (sockets_.is_open(handle)) {
    FakeSocket& socket = sockets_.at(handle, "receive_errors");
    if (socket.errors.empty()) return;
    WaitingError waiting = std::move(socket.errors.front());
    socket.errors.pop_front();
    waiting.error.payload = waiting.payload;
    sink.on_error(waiting.error);
  }
}

IoResult<SocketHandle> FakeGuest::adopt(const Adoption& adoption) {
  if (const int error = script_.next(Call::kAdopt)) return std::unexpected(Errno{error});
  adoptions.push_back(adoption);
  FakeSocket& socket = sockets_.open(OwnerKind::kTcpGuest, {});
  socket.is_owned = false;
  socket.remote = adoption.guest;
  socket.local = adoption.remote;
  return socket.handle;
}

IoStatus FakeGuest::own(SocketHandle handle, SocketOwner owner) {
  FakeSocket& socket = sockets_.at(handle, "own");
  if (const int error = script_.next(Call::kOwn)) return std::unexpected(Errno{error});
  sockets_.give(socket, owner);
  return {};
}

IoResult<SocketHandle> FakeGuest::dial(const Endpoint& client, const Endpoint& guest,
                                       SocketOwner owner) {
  if (const int error = script_.next(Call::kGuestDial)) return std::unexpected(Errno{error});
  clients.push_back(client);
  FakeSocket& socket = sockets_.open(OwnerKind::kTcpGuest, owner);
  socket.remote = guest;
  socket.local = client;
  socket.dial_result = EINPROGRESS;
  return socket.handle;
}

IoStatus FakeGuest::dial_result(SocketHandle handle, const Readiness& /*readiness*/) {
  const FakeSocket& socket = sockets_.at(handle, "dial_result");
  if (const int error = script_.next(Call::kGuestDialResult)) return std::unexpected(Errno{error});
  if (socket.dial_result == 0) return {};
  return std::unexpected(Errno{socket.dial_result});
}

Transfer FakeStreams::move(SocketHandle from, SocketHandle to, PipeHold& hold,
                           const SourceState& state, std::size_t budget) {
  ++moves;
  small_moves += state.is_small ? 1 : 0;
  FakeSocket& source = sockets_.at(from, "move from");
  FakeSocket& sink = sockets_.at(to, "move to");
  Transfer transfer;
  // Octets in the pipe first; a full sink leaves what was read there, as splice(2) does.
  const auto pour = [&](std::uint64_t octets) {
    const std::uint64_t poured = std::min(octets, sink.room);
    sink.written += poured;
    sink.room -= poured;
    sink.heard += cut(source.piped, poured);
    transfer.octets += poured;
    return octets - poured;
  };
  const auto stop = [&](Transfer::Stop how, int error = 0) {
    transfer.stop = how;
    transfer.error = error;
    if (hold.octets == 0) drop_hold(hold);
    return transfer;
  };
  constexpr std::uint64_t kPipe = 1024 * 1024;
  while (true) {
    if (hold.octets > 0) {
      if (sink.error != 0) return stop(Transfer::Stop::kSinkError, sink.error);
      hold.octets = static_cast<std::uint32_t>(pour(hold.octets));
      if (hold.octets > 0) return stop(Transfer::Stop::kSinkFull);
    }
    if (transfer.taken >= budget) return stop(Transfer::Stop::kBudget);
    if (source.unread == 0) break;
    const std::uint64_t taken = std::min({source.unread, kPipe, budget - transfer.taken});
    source.unread -= taken;
    source.piped = cut(source.text, taken);
    transfer.taken += taken;
    if (hold.slot < 0) ++holds;
    hold.slot = 1;
    hold.octets = static_cast<std::uint32_t>(taken);
  }
  if (source.error != 0) return stop(Transfer::Stop::kSourceError, source.error);
  return stop(source.has_fin_come ? Transfer::Stop::kEnd : Transfer::Stop::kSourceEmpty);
}

IoResult<std::size_t> FakeStreams::peek(SocketHandle handle, MutableBytes out) {
  ++peeks;
  const FakeSocket& socket = sockets_.at(handle, "peek");
  if (socket.unread > 0) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(socket.unread, out.size()));
    std::ranges::fill(out.first(size), std::uint8_t{0});
    std::copy_n(socket.text.begin(), std::min(size, socket.text.size()), out.begin());
    return size;
  }
  if (socket.error != 0) return std::unexpected(Errno{socket.error});
  if (!socket.has_fin_come) return std::unexpected(Errno{EAGAIN});
  return 0;
}

IoResult<std::size_t> FakeStreams::receive(SocketHandle handle, MutableBytes out) {
  const IoResult<std::size_t> size = peek(handle, out);
  if (!size) return size;
  FakeSocket& socket = sockets_.at(handle, "receive");
  socket.unread -= *size;
  (void)cut(socket.text, *size);
  return size;
}

IoResult<std::size_t> FakeStreams::send(SocketHandle handle, Bytes octets) {
  FakeSocket& socket = sockets_.at(handle, "send");
  EXPECT_FALSE(socket.has_fin_gone) << "octets behind a FIN";
  if (socket.error != 0) return std::unexpected(Errno{socket.error});
  if (socket.room == 0) return std::unexpected(Errno{EAGAIN});
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(socket.room, octets.size()));
  socket.room -= size;
  socket.written += size;
  socket.heard.append(octets.begin(), octets.begin() + static_cast<std::ptrdiff_t>(size));
  return size;
}

void FakeStreams::keep_alive(SocketHandle handle, Duration silence) {
  sockets_.at(handle, "keep_alive").keep_alive = silence;
}

void FakeStreams::shutdown_write(SocketHandle handle) {
  FakeSocket& socket = sockets_.at(handle, "shutdown_write");
  EXPECT_FALSE(socket.has_fin_gone) << "a second FIN to one socket";
  socket.has_fin_gone = true;
}

void FakeStreams::drop_hold(PipeHold& hold) {
  if (hold.slot >= 0) --holds;
  hold = PipeHold{};
}

std::optional<RelayPlace> FakeRelays::hand_over(SocketOwner owner, const Stream& stream) {
  EXPECT_TRUE(has_room());
  if (is_way_full) return std::nullopt;
  EXPECT_EQ(stream.up.hold.octets + stream.down.hold.octets, 0U) << "pipes stay behind";
  for (const SocketHandle socket : {stream.host, stream.guest}) {
    sockets_.at(socket, "hand_over").is_owned = false;  // events are the relay's
  }
  const auto index = static_cast<std::uint16_t>(handed_over++);
  ++living;
  streams[index] = Relayed{.owner = owner,
                           .stream = stream,
                           .counts = {.up = stream.up.octets,
                                      .down = stream.down.octets,
                                      .moved = now_,
                                      .is_half_closed = stream.is_half_closed()}};
  return RelayPlace{.index = index};
}

void FakeRelays::end(RelayPlace place) {
  Relayed& relayed = streams.at(place.index);
  EXPECT_FALSE(relayed.is_ended) << "a second time";
  relayed.is_ended = true;
  --living;
  if (relayed.is_on_its_way_back) return;
  sockets_.end(relayed.stream.host, End::kReset);
  sockets_.end(relayed.stream.guest, End::kReset);
}

RelayNews FakeRelays::finish(std::uint16_t index, RelayNews::Kind kind) {
  Relayed relayed = streams.at(index);
  EXPECT_TRUE(!relayed.is_ended || relayed.is_on_its_way_back);
  streams.erase(index);
  if (!relayed.is_ended) --living;
  relayed.stream.up.octets = relayed.counts.up;
  relayed.stream.down.octets = relayed.counts.down;
  if (kind != RelayNews::Kind::kReturned) {
    const End how = kind == RelayNews::Kind::kClosed ? End::kClosed : End::kReset;
    sockets_.end(relayed.stream.host, how);
    sockets_.end(relayed.stream.guest, how);
    relayed.stream.host = relayed.stream.guest = {};
  }
  return RelayNews{.kind = kind, .owner = relayed.owner, .stream = relayed.stream};
}

RouteFacts FakeRoutes::lookup(const IpAddress& address) {
  if (const auto found = facts_.find(address); found != facts_.end()) return found->second;
  if (address.is_loopback() || address.is_unspecified()) return {RouteFacts::Type::kLocal};
  return {RouteFacts::Type::kUnicast};  // by the default route
}

std::uint64_t FakeEntropy::next() {
  // splitmix64
  state_ += 0x9e3779b97f4a7c15;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

bool FakeEvents::introduced(std::uint32_t id, const Request& request) {
  if (!hears_introductions) return false;
  introductions.emplace_back(id, request);
  introductions.back().second.name = nullptr;
  return true;
}

bool FakeEvents::denied(const Denial& denial) {
  denials.push_back(denial);
  if (denial.request.name != nullptr) {
    denials.back().request.name = &names_.emplace_back(*denial.request.name);
  }
  return tells_back;
}

bool FakeEvents::asked(const Question& question) {
  questions.push_back(question);
  return can_ask;
}

bool FakeEvents::listed(const FlowReport& report) {
  if (list_room == 0) return false;
  --list_room;
  list.push_back(report);
  return true;
}

std::size_t FakeEvents::count(Notice notice) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(notices, [&](const auto& told) { return told.first == notice; }));
}

TapSend FakeTap::send(const FrameOut& frame) {
  if (answer != TapSend::kSent) return answer;
  ++sent;
  if (!keeps_frames) return answer;
  Frame kept;
  kept.octets.assign(frame.headers.begin(), frame.headers.end());
  for (const Bytes part : frame.payload) {
    kept.octets.insert(kept.octets.end(), part.begin(), part.end());
  }
  kept.unfinished = Unfinished{.checksum_start = frame.checksum_start,
                               .checksum_offset = frame.checksum_offset,
                               .segment_size = frame.udp_segment_size};
  frames.push_back(std::move(kept));
  return answer;
}

}  // namespace cordon::world
