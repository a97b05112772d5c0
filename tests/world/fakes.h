// The translator's surroundings, played: sockets that are numbers, a FIB that is a table, a tap
// that remembers. Every socket is known from its opening to its end, so that a test can say that
// none was used after it was closed, and none was forgotten.
#pragma once

#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "netstack/seams/events.h"
#include "netstack/seams/guest_sockets.h"
#include "netstack/seams/host_sockets.h"
#include "netstack/seams/relays.h"
#include "netstack/seams/tap.h"
#include "tests/world/packets.h"

namespace cordon::world {

/// The calls that can be made to fail.
enum class Call {
  kDial,
  kDialResult,
  kAccept,
  kOwn,
  kOpenUdp,
  kOpenPing,
  kSend,
  kAdopt,
  kGuestDial,
  kGuestDialResult,
};
inline constexpr int kCalls = 10;

/// Which calls fail, and with what: so many times with an errno, then as usual.
class Script {
 public:
  void fails(Call call, int error, int times = 1) { planned_[call].assign(times, error); }
  /// Asked where nothing is planned; 0 lets the call be.
  void set_chaos(std::function<int(Call)> chaos) { chaos_ = std::move(chaos); }
  /// The errno for this call, 0 for none.
  int next(Call call);

 private:
  std::map<Call, std::deque<int>> planned_;
  std::function<int(Call)> chaos_;
};

struct SentDatagram {
  Endpoint destination;
  SendFields fields;
  Octets payload;
  std::size_t parts = 1;  // of a train
};

struct WaitingDatagram {
  Endpoint peer;
  Octets payload;
  std::uint16_t segment_size = 0;
  std::uint8_t traffic_class = 0;
  std::optional<HostEnd> to;
};

struct WaitingError {
  DatagramError error;
  Octets payload;
};

enum class End { kOpen, kClosed, kReset };

struct FakeSocket {
  SocketHandle handle;
  OwnerKind kind = OwnerKind::kTcpHost;
  SocketOwner owner;
  bool is_owned = true;    // false: accepted, and nobody hears of it yet
  bool is_stream = false;  // dialled
  Family family = Family::kIpv4;
  Endpoint remote;
  End end = End::kOpen;
  int dial_result = 0;  // EINPROGRESS while it is not decided
  std::optional<Endpoint> local;
  // A stream: what came from the peer and was not read, and what the peer was sent.
  std::uint64_t unread = 0;
  // The octets at the front of `unread` that the test cares for; those behind are any.
  std::string text;
  std::string piped;  // of the text, what was read and waits in a pipe
  std::string heard;  // of the text, what the peer was sent
  bool has_fin_come = false;
  int error = 0;  // the peer's reset, or another end of the connection
  std::uint64_t written = 0;
  std::uint64_t room = std::numeric_limits<std::uint64_t>::max();
  bool has_fin_gone = false;
  Duration keep_alive{};  // 0: none
  // Datagrams.
  std::vector<SentDatagram> sent;
  std::deque<WaitingDatagram> waiting;
  std::deque<WaitingError> errors;
};

/// All descriptors of one world. Numbers are never used twice, so a use after the close shows.
class Sockets {
 public:
  FakeSocket& open(OwnerKind kind, const SocketOwner& owner);
  /// Its events go to `owner` from now on, and it counts as opened for that purpose.
  void give(FakeSocket& socket, const SocketOwner& owner);
  /// The socket, which is open: anything else fails the test.
  FakeSocket& at(SocketHandle handle, std::string_view doing);
  /// The socket, open or not.
  const FakeSocket& was(SocketHandle handle) const { return all_.at(handle.descriptor); }
  void end(SocketHandle handle, End how);

  [[nodiscard]] std::size_t open_count() const { return open_.size(); }
  [[nodiscard]] std::size_t open_count(OwnerKind kind) const;
  [[nodiscard]] const std::set<int>& open_descriptors() const { return open_; }
  [[nodiscard]] bool is_open(SocketHandle handle) const {
    return open_.contains(handle.descriptor);
  }
  /// The socket of that kind that was opened last; none yet fails the test.
  FakeSocket& last(OwnerKind kind);
  [[nodiscard]] std::size_t opened(OwnerKind kind) const;
  /// Sockets that ended are not kept: for long runs.
  void forget_ended() { forgets_ended_ = true; }

 private:
  std::map<int, FakeSocket> all_;
  std::set<int> open_;
  std::map<OwnerKind, std::size_t> opened_;
  std::map<OwnerKind, int> last_;
  int next_ = 100;
  bool forgets_ended_ = false;
};

class FakeHost final : public HostSockets {
 public:
  FakeHost(Sockets& sockets, Script& script) : sockets_(sockets), script_(script) {}

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
  void close(SocketHandle socket) override { sockets_.end(socket, End::kClosed); }

  /// Connections that wait to be accepted.
  std::deque<Endpoint> backlog;
  /// Where they came to; else an address of the client's scope.
  std::optional<IpAddress> clients_come_to;
  bool is_listening = true;
  std::vector<Endpoint> dialled;
  /// The path's MTU: a train of larger datagrams is not taken (udp(7)), and one of them alone is
  /// too big where it may not be cut.
  std::size_t largest_datagram = 65507;

 private:
  Sockets& sockets_;
  Script& script_;
  // What was handed on last: payloads stay until the next receive().
  std::vector<WaitingDatagram> received_;
};

class FakeGuest final : public GuestSockets {
 public:
  FakeGuest(Sockets& sockets, Script& script) : sockets_(sockets), script_(script) {}

  IoResult<SocketHandle> adopt(const Adoption& adoption) override;
  IoStatus own(SocketHandle socket, SocketOwner owner) override;
  IoResult<SocketHandle> dial(const Endpoint& client, const Endpoint& guest,
                              SocketOwner owner) override;
  IoStatus dial_result(SocketHandle socket, const Readiness& readiness) override;
  void restore_steering() override { ++steering_restored; }
  std::uint32_t timestamp_now() override { return timestamp; }

  int steering_restored = 0;
  std::vector<Adoption> adoptions;
  std::vector<Endpoint> clients;  // of dials, as the guest sees them
  std::uint32_t timestamp = 123456;

 private:
  Sockets& sockets_;
  Script& script_;
};

class FakeStreams final : public Streams {
 public:
  explicit FakeStreams(Sockets& sockets) : sockets_(sockets) {}

  Transfer move(SocketHandle from, SocketHandle to, PipeHold& hold, const SourceState& source,
                std::size_t budget) override;
  IoResult<std::size_t> peek(SocketHandle socket, MutableBytes out) override;
  IoResult<std::size_t> receive(SocketHandle socket, MutableBytes out) override;
  IoResult<std::size_t> send(SocketHandle socket, Bytes octets) override;
  void keep_alive(SocketHandle socket, Duration silence) override;
  void shutdown_write(SocketHandle socket) override;
  void close(SocketHandle socket) override { sockets_.end(socket, End::kClosed); }
  void reset(SocketHandle socket) override { sockets_.end(socket, End::kReset); }
  void drop_hold(PipeHold& hold) override;

  std::size_t holds = 0;  // pipes that flows hold
  std::size_t moves = 0;
  std::size_t small_moves = 0;  // of which little was expected
  std::size_t peeks = 0;

 private:
  Sockets& sockets_;
};

/// Relays that do as the test says: nothing of what they have moves by itself.
class FakeRelays final : public Relays {
 public:
  FakeRelays(Sockets& sockets, const Instant& now) : sockets_(sockets), now_(now) {}

  bool has_room() override { return living < room; }
  std::optional<RelayPlace> hand_over(SocketOwner owner, const Stream& stream) override;
  void end(RelayPlace place) override;
  void take_back(RelayPlace place) override { streams.at(place.index).is_asked_back = true; }
  RelayCounts counts(RelayPlace place) override { return streams.at(place.index).counts; }

  struct Relayed {
    SocketOwner owner;
    Stream stream;
    RelayCounts counts;
    bool is_asked_back = false;
    bool is_on_its_way_back = false;  // its owner has not heard of it yet
    bool is_ended = false;            // by end()
  };
  /// Of the stream that was handed over last.
  [[nodiscard]] std::uint16_t last_index() const {
    return static_cast<std::uint16_t>(handed_over - 1);
  }
  Relayed& last() { return streams.at(last_index()); }
  /// What becomes of a stream, as its owner is told, with the counts as they are.
  RelayNews finish(std::uint16_t index, RelayNews::Kind kind);

  std::map<std::uint16_t, Relayed> streams;  // that the owner may ask about
  std::size_t room = 0;
  bool is_way_full = false;  // hand_over() is not possible at this moment
  std::size_t living = 0;
  std::size_t handed_over = 0;

 private:
  Sockets& sockets_;
  const Instant& now_;
};

class FakeRoutes final : public RouteQuery {
 public:
  RouteFacts lookup(const IpAddress& address) override;

  /// An address of the host's own.
  void add_self(std::string_view text) { facts_[address(text)] = {RouteFacts::Type::kLocal}; }
  void set(std::string_view text, const RouteFacts& facts) { facts_[address(text)] = facts; }
  void remove(std::string_view text) { facts_.erase(address(text)); }

 private:
  std::map<IpAddress, RouteFacts> facts_;
};

class FakeEntropy final : public Entropy {
 public:
  explicit FakeEntropy(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() override;

 private:
  std::uint64_t state_;
};

class FakeEvents final : public Events {
 public:
  bool denied(const Denial& denial) override;
  void flow(const FlowReport& report) override { flows.push_back(report); }
  bool introduced(std::uint32_t id, const Request& request) override;
  void resolved(const Resolution& resolution) override {
    const std::string name = resolution.request.name->to_string();
    if (resolution.type == 0) {
      resolved_names.push_back(name);
    } else {
      records.push_back({.name = name, .type = resolution.type, .has_data = resolution.has_data});
    }
  }
  bool asked(const Question& question) override;
  bool listed(const FlowReport& report) override;
  void notice(Notice notice, int code) override { notices.emplace_back(notice, code); }

  [[nodiscard]] std::size_t count(Notice notice) const;

  std::vector<Denial> denials;
  std::vector<FlowReport> flows;
  std::vector<std::string> resolved_names;
  struct Records {
    std::string name;
    std::uint16_t type = 0;
    bool has_data = false;
    friend bool operator==(const Records&, const Records&) = default;
  };
  std::vector<Records> records;
  std::vector<Question> questions;
  std::vector<FlowReport> list;
  std::vector<std::pair<Notice, int>> notices;
  std::vector<std::pair<std::uint32_t, Request>> introductions;  // without their names
  bool hears_introductions = true;                               // the channel has room for them
  bool tells_back = false;            // the supervisor will say when it has looked the process up
  bool can_ask = true;                // there is somebody to ask
  std::size_t list_room = 1'000'000;  // flows that can still be listed

 private:
  std::deque<DnsName> names_;  // of denials: a request's own is valid during the call only
};

class FakeTap final : public Tap {
 public:
  TapSend send(const FrameOut& frame) override;
  [[nodiscard]] bool has_udp_trains() const override { return takes_trains; }

  struct Frame {
    Octets octets;
    Unfinished unfinished;
  };
  std::deque<Frame> frames;
  TapSend answer = TapSend::kSent;
  bool takes_trains = true;
  bool keeps_frames = true;
  std::size_t sent = 0;
};

}  // namespace cordon::world
