#include "netstack/names/upstream_queries.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "netstack/flow/context.h"
#include "netstack/flow/limits.h"
#include "netstack/flow/timeouts.h"
#include "netstack/wire/endian.h"

namespace cordon {
namespace {

// What we let upstreams send: fits every path without fragments (DNS flag day 2020).
constexpr std::uint16_t kUpstreamUdpOctets = 1232;
constexpr std::size_t kReceiveBudget = 4;
// Of upstreams that all refuse at once.
constexpr std::uint16_t kRounds = 2;
constexpr std::size_t kKeyOctets = 10;

bool is_failure(Bytes response) {
  const std::optional<DnsHeader> header = read_dns_header(response);
  return header && (header->rcode == static_cast<std::uint8_t>(DnsRcode::kServFail) ||
                    header->rcode == static_cast<std::uint8_t>(DnsRcode::kRefused));
}

bool is_truncated(Bytes response) {
  const std::optional<DnsHeader> header = read_dns_header(response);
  return header && header->is_truncated;
}

}  // namespace

std::uint64_t QueryKey::hash(const SipKey& key) const {
  std::array<std::uint8_t, kKeyOctets> packed{static_cast<std::uint8_t>(asker), part};
  (void)store(MutableBytes(packed).subspan(2), Be32(of.index));       // They fit: kKeyOctets is
  (void)store(MutableBytes(packed).subspan(6), Be32(of.generation));  // their sum.
  return siphash(key, packed);
}

class UpstreamQueries::Inbox final : public DatagramSink {
 public:
  Inbox(UpstreamQueries& queries, Instant now, FlowId id) : queries_(queries), now_(now), id_(id) {}

  void on_datagram(const ReceivedDatagram& datagram) override {
    queries_.on_datagram(now_, id_, datagram);
  }
  void on_error(const DatagramError& error) override {
    const Query* const query = queries_.queries_.get(id_);
    if (query == nullptr || queries_.upstreams_.empty()) return;
    // An error for an upstream that was given up already says nothing about the one being asked.
    if (error.destination == queries_.upstreams_[query->upstream]) has_failed_ = true;
  }
  [[nodiscard]] bool has_failed() const { return has_failed_; }

 private:
  UpstreamQueries& queries_;
  Instant now_;
  FlowId id_;
  bool has_failed_ = false;
};

UpstreamQueries::UpstreamQueries(const UpstreamSeams& seams)
    : seams_(seams),
      queries_(kMaxUpstreamQueries, SipKey{seams.entropy.next(), seams.entropy.next()}),
      // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): it is calloc() that gives pages unwritten
      buffers_(static_cast<StreamBuffer*>(std::calloc(kMaxUpstreamStreams, sizeof(StreamBuffer)))) {
  if (buffers_ == nullptr) std::abort();  // At start only; there is nothing to go on with.
  free_buffers_.reserve(kMaxUpstreamStreams);
  for (std::size_t i = kMaxUpstreamStreams; i > 0; --i) {
    free_buffers_.push_back(static_cast<std::int16_t>(i - 1));
  }
}

void UpstreamQueries::answers_go_to(Asker asker, UpstreamAnswers& who) {
  askers_[static_cast<std::size_t>(asker)] = &who;
}

void UpstreamQueries::set_upstreams(Instant now, std::span<const Endpoint> upstreams) {
  if (std::ranges::equal(upstreams_, upstreams)) return;
  upstreams_.assign(upstreams.begin(), upstreams.end());
  preferred_ = 0;
  std::optional<FlowId> id = queries_.next_from(0);
  for (; id; id = queries_.next_from(id->index + 1)) {
    Query& query = *queries_.get(*id);
    close_sockets(query);
    give_buffer(query);
    begin(now, *id);
  }
}

bool UpstreamQueries::ask(Instant now, const QueryKey& key, const DnsQuery& query,
                          bool needs_whole) {
  if (upstreams_.empty()) return false;
  const std::optional<FlowId> id = queries_.insert(key, kListDatagram, now);
  if (!id) return false;
  Query& fresh = *queries_.get(*id);
  fresh.needs_whole = needs_whole;
  fresh.began = now;
  const auto own_id = static_cast<std::uint16_t>(seams_.entropy.next());
  fresh.size = static_cast<std::uint16_t>(write_dns_query(
      own_id, query, kUpstreamUdpOctets, MutableBytes(fresh.octets).subspan(kStreamPrefix)));
  begin(now, *id);
  return true;
}

void UpstreamQueries::begin(Instant now, FlowId id) {
  Query& query = *queries_.get(id);
  query.upstream = preferred_;
  query.tries = 0;
  query.refusals = 0;
  const bool is_sent = !upstreams_.empty() && send_datagram(id);
  queries_.touch(id, is_sent ? kListDatagram : kListFailed, now);
}

void UpstreamQueries::cancel(const QueryKey& key) {
  const std::optional<FlowId> id = queries_.find(key);
  if (!id) return;
  Query& query = *queries_.get(*id);
  close_sockets(query);
  give_buffer(query);
  queries_.erase(*id);
}

bool UpstreamQueries::send_datagram(FlowId id) {
  Query& query = *queries_.get(id);
  const Endpoint& upstream = upstreams_[query.upstream];
  const AllowedDestination whom = Policy::upstream(upstream, Protocol::kUdp);
  SocketHandle& socket = query.datagrams[upstream.address.is_v4() ? 0 : 1];
  query.transport = Transport::kDatagram;
  ++query.tries;
  const Bytes question = message(query);
  if (socket.is_open()) {
    if (seams_.host.send(socket, whom, {}, std::span(&question, 1))) return true;
    seams_.host.close(std::exchange(socket, {}));
  }
  const IoResult<SocketHandle> fresh =
      seams_.host.ask(whom, question, owner_of(OwnerKind::kDns, id));
  if (!fresh) return false;
  socket = *fresh;
  return true;
}

void UpstreamQueries::try_next(Instant now, FlowId id) {
  Query& query = *queries_.get(id);
  give_buffer(query);
  while (query.refusals < kRounds * upstreams_.size() &&
         now - query.began + kDnsFailover <= kDnsQuery) {
    query.upstream = static_cast<std::uint16_t>((query.upstream + 1U) % upstreams_.size());
    queries_.touch(id, kListDatagram, now);
    if (send_datagram(id)) return;
    ++query.refusals;
  }
  seams_.events.notice(Notice::kUpstreamSilent, 0);
  deliver(now, id, {});
}

bool UpstreamQueries::on_socket(Instant now, const SocketOwner& owner, const Readiness& readiness) {
  const FlowId id{.index = owner.index, .generation = owner.generation};
  const Query* const query = queries_.get(id);
  if (query == nullptr) return false;
  if (query->transport != Transport::kDatagram) {
    if (query->stream.is_open()) on_stream(now, id);
    return false;
  }
  bool has_more = false;
  // Which of them it is about, nobody says; mostly there is one.
  for (const SocketHandle socket : std::array(query->datagrams)) {
    if (!socket.is_open()) continue;
    has_more = read_datagrams(now, id, socket, readiness.has_error) || has_more;
    if (queries_.get(id) == nullptr) return false;
  }
  return has_more;
}

// True where more may be waiting for the question.
bool UpstreamQueries::read_datagrams(Instant now, FlowId id, SocketHandle socket, bool has_error) {
  const auto is_still_open = [&] {
    const Query* const query = queries_.get(id);
    return query != nullptr &&
           std::ranges::find(query->datagrams, socket) != query->datagrams.end();
  };
  // What came for the other family's socket may have moved the query.
  if (!is_still_open()) return false;
  Inbox inbox(*this, now, id);
  // Errors first: an answer that is waiting may be to what was asked after one.
  if (has_error) seams_.host.receive_errors(socket, inbox);
  const bool has_more = seams_.host.receive(socket, kReceiveBudget, inbox);
  if (!is_still_open()) return false;
  if (inbox.has_failed()) {
    ++queries_.get(id)->refusals;
    try_next(now, id);
    return false;
  }
  return has_more;
}

// One of those that were asked: `tries` of the list, the last of them `upstream`.
std::optional<std::uint16_t> UpstreamQueries::asked_upstream(const Query& query,
                                                             const Endpoint& peer) const {
  const std::size_t count = upstreams_.size();
  for (std::size_t back = 0; back < std::min<std::size_t>(query.tries, count); ++back) {
    const std::size_t index = (query.upstream + count - back) % count;
    if (upstreams_[index] == peer) return static_cast<std::uint16_t>(index);
  }
  return std::nullopt;
}

void UpstreamQueries::on_datagram(Instant now, FlowId id, const ReceivedDatagram& datagram) {
  Query* const query = queries_.get(id);
  if (query == nullptr) return;
  const auto upstream = asked_upstream(*query, datagram.peer);
  const bool is_answer = query->transport == Transport::kDatagram && upstream &&
                         datagram.payload.size() <= kLongestDnsMessage &&
                         answers_dns_query(message(*query), datagram.payload) &&
                         is_whole_dns_message(datagram.payload);
  if (!is_answer) return seams_.drops.add(Drop::kUnknownPeer);
  if (is_failure(datagram.payload)) return on_failure(now, id, *upstream, datagram.payload);
  preferred_ = *upstream;
  if (query->needs_whole && is_truncated(datagram.payload) && !free_buffers_.empty()) {
    query->upstream = *upstream;
    return begin_stream(now, id);
  }
  deliver(now, id, datagram.payload);
}

// It is the asker's answer once everybody has had the time to give a better one.
void UpstreamQueries::on_failure(Instant now, FlowId id, std::uint16_t upstream, Bytes response) {
  const Query& query = *queries_.get(id);
  const bool is_last = upstream == query.upstream;
  if (query.tries > upstreams_.size() || (is_last && query.tries == upstreams_.size())) {
    return deliver(now, id, response);
  }
  if (is_last) try_next(now, id);
}

void UpstreamQueries::begin_stream(Instant now, FlowId id) {
  Query& query = *queries_.get(id);
  close_sockets(query);
  query.buffer = free_buffers_.back();
  free_buffers_.pop_back();
  buffers_[static_cast<std::size_t>(query.buffer)].size = 0;
  query.transport = Transport::kStreamDialling;
  queries_.touch(id, kListStream, now);
  const IoResult<SocketHandle> socket = seams_.host.dial(
      Policy::upstream(upstreams_[query.upstream], Protocol::kTcp), owner_of(OwnerKind::kDns, id));
  if (!socket) return stream_failed(now, id);
  query.stream = *socket;
}

void UpstreamQueries::on_stream(Instant now, FlowId id) {
  Query& query = *queries_.get(id);
  if (query.transport == Transport::kStream) return read_stream(now, id);
  const IoStatus connected = seams_.host.dial_result(query.stream, {});
  if (!connected) {
    if (connected.error().value != EINPROGRESS) stream_failed(now, id);
    return;
  }
  query.transport = Transport::kStream;
  (void)store(MutableBytes(query.octets), Be16(query.size));  // The room is there for it.
  const Bytes octets = Bytes(query.octets).first(kStreamPrefix + query.size);
  // A fresh connection has room for a few hundred octets; one that has not is of no use.
  const IoResult<std::size_t> sent = seams_.streams.send(query.stream, octets);
  if (!sent || *sent != octets.size()) return stream_failed(now, id);
  read_stream(now, id);
}

void UpstreamQueries::read_stream(Instant now, FlowId id) {
  const Query& query = *queries_.get(id);
  StreamBuffer& buffer = buffers_[static_cast<std::size_t>(query.buffer)];
  while (true) {
    const MutableBytes room = MutableBytes(buffer.octets).subspan(buffer.size);
    if (room.empty()) return stream_failed(now, id);
    const IoResult<std::size_t> got = seams_.streams.receive(query.stream, room);
    if (!got && got.error().value == EAGAIN) return;
    if (!got || *got == 0) return stream_failed(now, id);
    buffer.size += *got;
    const auto length = load<Be16>(Bytes(buffer.octets).first(buffer.size));
    if (!length || buffer.size < kStreamPrefix + length->get()) continue;
    const Bytes response = Bytes(buffer.octets).subspan(kStreamPrefix, length->get());
    const bool is_answer =
        answers_dns_query(message(query), response) && is_whole_dns_message(response);
    if (!is_answer) return stream_failed(now, id);
    return deliver(now, id, response);
  }
}

// Somebody on the way does not let DNS over TCP pass: what fits a datagram has to do.
void UpstreamQueries::stream_failed(Instant now, FlowId id) {
  Query& query = *queries_.get(id);
  query.needs_whole = false;
  close_sockets(query);
  give_buffer(query);
  queries_.touch(id, kListDatagram, now);
  if (!send_datagram(id)) queries_.touch(id, kListFailed, now);
}

void UpstreamQueries::deliver(Instant now, FlowId id, Bytes response) {
  const QueryKey key = queries_.key_of(id);
  Query query = *queries_.get(id);
  queries_.erase(id);
  UpstreamAnswers* const asker = askers_[static_cast<std::size_t>(key.asker)];
  if (CORDON_INVARIANT(asker != nullptr)) asker->on_upstream_answer(now, key, response);
  // Last: the response may lie in the buffer, and nobody waits for the socket's end.
  close_sockets(query);
  give_buffer(query);
}

void UpstreamQueries::close_sockets(Query& query) {
  for (SocketHandle& socket : query.datagrams) {
    if (socket.is_open()) seams_.host.close(std::exchange(socket, {}));
  }
  if (!query.stream.is_open()) return;
  const SocketHandle stream = std::exchange(query.stream, {});
  if (query.transport == Transport::kStream) {
    seams_.streams.reset(stream);
  } else {
    seams_.host.close(stream);
  }
}

void UpstreamQueries::give_buffer(Query& query) {
  if (query.buffer >= 0) free_buffers_.push_back(query.buffer);
  query.buffer = -1;
}

Instant UpstreamQueries::next_deadline() const {
  return std::min({queries_.deadline(kListDatagram, kDnsFailover),
                   queries_.deadline(kListStream, kDnsStream),
                   queries_.deadline(kListFailed, Duration{})});
}

void UpstreamQueries::on_deadline(Instant now) {
  const auto each_due = [&](List list, Duration timeout, auto&& act) {
    for (std::size_t i = 0; i < kMaxUpstreamQueries && queries_.deadline(list, timeout) <= now;
         ++i) {
      act(*queries_.oldest(list));
    }
  };
  each_due(kListFailed, Duration{}, [&](FlowId id) {
    ++queries_.get(id)->refusals;
    try_next(now, id);
  });
  each_due(kListDatagram, kDnsFailover, [&](FlowId id) {
    queries_.get(id)->refusals = 0;
    try_next(now, id);
  });
  each_due(kListStream, kDnsStream, [&](FlowId id) { stream_failed(now, id); });
}

}  // namespace cordon
