#include "netstack/names/upstream_queries.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "netstack/wire/endian.h"

namespace cordon {
namespace {

// What we let upstreams send: fits every path without fragments (DNS flag day 2020).
constexpr std::uint16_t kUpstreamUdpOctets = 1232;
constexpr std::size_t kReceiveBudget = 4;
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
    const std::span<const Endpoint> upstreams = queries_.upstreams_;
    if (query == nullptr || query->upstream >= upstreams.size()) return;
    // An error for an upstream that was given up already says nothing about the one being asked.
    if (error.destination == upstreams[query->upstream]) has_failed_ = true;
  }
  [[nodiscard]] bool has_failed() const { return has_failed_; }

 private:
  UpstreamQueries& queries_;
  Instant now_;
  FlowId id_;
  bool has_failed_ = false;
};

UpstreamQueries::UpstreamQueries(const FlowContext& context)
    : context_(context),
      queries_(kMaxUpstreamQueries, SipKey{context.entropy.next(), context.entropy.next()}),
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

void UpstreamQueries::set_upstreams(std::span<const Endpoint> upstreams) {
  upstreams_ = upstreams;
  preferred_ = 0;
}

bool UpstreamQueries::ask(Instant now, const QueryKey& key, const DnsQuery& query,
                          bool needs_whole) {
  if (upstreams_.empty()) return false;
  const std::optional<FlowId> id = queries_.insert(key, kListDatagram, now);
  if (!id) return false;
  Query& fresh = *queries_.get(*id);
  fresh.upstream = preferred_;
  fresh.needs_whole = needs_whole;
  fresh.began = now;
  const auto own_id = static_cast<std::uint16_t>(context_.entropy.next());
  fresh.size = static_cast<std::uint16_t>(write_dns_query(
      own_id, query, kUpstreamUdpOctets, MutableBytes(fresh.octets).subspan(kStreamPrefix)));
  if (!send_datagram(*id)) queries_.touch(*id, kListFailed, now);
  return true;
}

void UpstreamQueries::cancel(const QueryKey& key) {
  const std::optional<FlowId> id = queries_.find(key);
  if (!id) return;
  Query& query = *queries_.get(*id);
  close_socket(query);
  give_buffer(query);
  queries_.erase(*id);
}

bool UpstreamQueries::send_datagram(FlowId id) {
  Query& query = *queries_.get(id);
  const Endpoint& upstream = upstreams_[query.upstream];
  close_socket(query);
  query.transport = Transport::kDatagram;
  ++query.tries;
  const IoResult<SocketHandle> socket = context_.host.ask(
      Policy::upstream(upstream, Protocol::kUdp), message(query), owner_of(OwnerKind::kDns, id));
  if (!socket) return false;
  query.socket = *socket;
  return true;
}

void UpstreamQueries::try_next(Instant now, FlowId id) {
  Query& query = *queries_.get(id);
  give_buffer(query);
  while (query.tries < kRounds * upstreams_.size() && now - query.began < kDnsQuery) {
    query.upstream = static_cast<std::uint16_t>((query.upstream + 1U) % upstreams_.size());
    queries_.touch(id, kListDatagram, now);
    if (send_datagram(id)) return;
  }
  context_.events.notice(Notice::kUpstreamSilent, 0);
  deliver(now, id, {});
}

bool UpstreamQueries::on_socket(Instant now, const SocketOwner& owner, const Readiness& readiness) {
  const FlowId id{.index = owner.index, .generation = owner.generation};
  const Query* const query = queries_.get(id);
  if (query == nullptr || !query->socket.is_open()) return false;
  if (query->transport != Transport::kDatagram) {
    on_stream(now, id);
    return false;
  }
  const SocketHandle socket = query->socket;
  Inbox inbox(*this, now, id);
  // Errors first: an answer that is waiting may be to what was asked after one.
  if (readiness.has_error) context_.host.receive_errors(socket, inbox);
  const bool has_more = context_.host.receive(socket, kReceiveBudget, inbox);
  // The answer may have ended the query, or moved it to another socket.
  const Query* const still = queries_.get(id);
  if (still == nullptr || still->socket != socket) return false;
  if (inbox.has_failed()) {
    try_next(now, id);
    return false;
  }
  return has_more;
}

void UpstreamQueries::on_datagram(Instant now, FlowId id, const ReceivedDatagram& datagram) {
  const Query* const query = queries_.get(id);
  if (query == nullptr) return;
  const bool is_answer = query->transport == Transport::kDatagram &&
                         query->upstream < upstreams_.size() &&
                         datagram.peer == upstreams_[query->upstream] &&
                         datagram.payload.size() <= kLongestDnsMessage &&
                         answers_dns_query(message(*query), datagram.payload) &&
                         is_whole_dns_message(datagram.payload);
  if (!is_answer) return context_.drops.add(Drop::kUnknownPeer);
  if (is_failure(datagram.payload) && query->tries < upstreams_.size()) return try_next(now, id);
  preferred_ = query->upstream;
  if (query->needs_whole && is_truncated(datagram.payload) && !free_buffers_.empty()) {
    return begin_stream(now, id);
  }
  deliver(now, id, datagram.payload);
}

void UpstreamQueries::begin_stream(Instant now, FlowId id) {
  Query& query = *queries_.get(id);
  close_socket(query);
  query.buffer = free_buffers_.back();
  free_buffers_.pop_back();
  buffers_[static_cast<std::size_t>(query.buffer)].size = 0;
  query.transport = Transport::kStreamDialling;
  queries_.touch(id, kListStream, now);
  const IoResult<SocketHandle> socket = context_.host.dial(
      Policy::upstream(upstreams_[query.upstream], Protocol::kTcp), owner_of(OwnerKind::kDns, id));
  if (!socket) return stream_failed(now, id);
  query.socket = *socket;
}

void UpstreamQueries::on_stream(Instant now, FlowId id) {
  Query& query = *queries_.get(id);
  if (query.transport == Transport::kStream) return read_stream(now, id);
  const IoStatus connected = context_.host.dial_result(query.socket, {});
  if (!connected) {
    if (connected.error().value != EINPROGRESS) stream_failed(now, id);
    return;
  }
  query.transport = Transport::kStream;
  (void)store(MutableBytes(query.octets), Be16(query.size));  // The room is there for it.
  const Bytes octets = Bytes(query.octets).first(kStreamPrefix + query.size);
  // A fresh connection has room for a few hundred octets; one that has not is of no use.
  const IoResult<std::size_t> sent = context_.streams.send(query.socket, octets);
  if (!sent || *sent != octets.size()) return stream_failed(now, id);
  read_stream(now, id);
}

void UpstreamQueries::read_stream(Instant now, FlowId id) {
  const Query& query = *queries_.get(id);
  StreamBuffer& buffer = buffers_[static_cast<std::size_t>(query.buffer)];
  while (true) {
    const MutableBytes room = MutableBytes(buffer.octets).subspan(buffer.size);
    if (room.empty()) return stream_failed(now, id);
    const IoResult<std::size_t> got = context_.streams.receive(query.socket, room);
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
  close_socket(query);
  give_buffer(query);
  queries_.touch(id, kListDatagram, now);
  const bool is_sent = query.upstream < upstreams_.size() && send_datagram(id);
  if (!is_sent) queries_.touch(id, kListFailed, now);
}

void UpstreamQueries::deliver(Instant now, FlowId id, Bytes response) {
  const QueryKey key = queries_.key_of(id);
  Query query = *queries_.get(id);
  queries_.erase(id);
  UpstreamAnswers* const asker = askers_[static_cast<std::size_t>(key.asker)];
  if (CORDON_INVARIANT(asker != nullptr)) asker->on_upstream_answer(now, key, response);
  // Last: the response may lie in the buffer, and nobody waits for the socket's end.
  close_socket(query);
  give_buffer(query);
}

void UpstreamQueries::close_socket(Query& query) {
  if (!query.socket.is_open()) return;
  if (query.transport == Transport::kStream) {
    context_.streams.reset(query.socket);
  } else {
    context_.host.close(query.socket);
  }
  query.socket = {};
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
  each_due(kListFailed, Duration{}, [&](FlowId id) { try_next(now, id); });
  each_due(kListDatagram, kDnsFailover, [&](FlowId id) { try_next(now, id); });
  each_due(kListStream, kDnsStream, [&](FlowId id) { stream_failed(now, id); });
}

}  // namespace cordon
