#include "netstack/names/resolver.h"

#include <algorithm>

namespace cordon {
namespace {

// What we let upstreams send: fits every path without fragments (DNS flag day 2020).
constexpr std::uint16_t kUpstreamUdpOctets = 1232;
constexpr std::size_t kReceiveBudget = 4;
constexpr std::uint16_t kRounds = 2;

// The question's name as the guest wrote it: a stub may check the case of its letters (draft
// dns0x20).
void restore_case(MutableBytes response, const DnsName& name) {
  const Bytes wire = name.wire();
  if (response.size() < kDnsHeaderOctets + wire.size()) return;
  std::ranges::copy(wire, response.subspan(kDnsHeaderOctets).begin());
}

bool is_failure(Bytes response) {
  const std::optional<DnsHeader> header = read_dns_header(response);
  return header && (header->rcode == static_cast<std::uint8_t>(DnsRcode::kServFail) ||
                    header->rcode == static_cast<std::uint8_t>(DnsRcode::kRefused));
}

}  // namespace

std::uint64_t Resolver::Key::hash(const SipKey& key) const {
  // The id takes the place of a remote port.
  return FlowKey{.guest = guest, .remote = {.port = id}}.hash(key);
}

class Resolver::Inbox final : public DatagramSink {
 public:
  Inbox(Resolver& resolver, Instant now, FlowId id) : resolver_(resolver), now_(now), id_(id) {}

  void on_datagram(const ReceivedDatagram& datagram) override {
    resolver_.on_response(now_, id_, datagram);
  }
  void on_error(const DatagramError& error) override {
    const Query* const query = resolver_.queries_.get(id_);
    const std::span<const Endpoint> upstreams = resolver_.upstreams_;
    if (query == nullptr || query->upstream >= upstreams.size()) return;
    // An error for an upstream that was given up already says nothing about the one being asked.
    if (error.destination == upstreams[query->upstream]) has_failed_ = true;
  }
  [[nodiscard]] bool has_failed() const { return has_failed_; }

 private:
  Resolver& resolver_;
  Instant now_;
  FlowId id_;
  bool has_failed_ = false;
};

Resolver::Resolver(const FlowContext& context)
    : context_(context),
      local_(std::array{context.config.v4, context.config.v6}),
      queries_(kMaxDnsQueries, SipKey{context.entropy.next(), context.entropy.next()}) {}

void Resolver::set_upstreams(std::span<const Endpoint> upstreams) {
  upstreams_ = upstreams;
  preferred_ = 0;
}

void Resolver::on_query(Instant now, const IpPacket& packet, const UdpDatagram& datagram) {
  const Endpoint guest{.address = packet.source, .port = datagram.source_port};
  const Endpoint resolver{.address = packet.destination, .port = datagram.destination_port};
  const auto query = parse_dns_query(datagram.payload);
  if (!query) {
    std::array<std::uint8_t, kDnsHeaderOctets> out{};
    const std::size_t size = write_dns_fault(datagram.payload, query.error(), out);
    return reply(guest, resolver, Bytes(out).first(size));
  }
  if (const std::optional<DnsRcode> refused = refuse_dns_query(*query)) {
    return answer(guest, resolver, *query, DnsReply{.rcode = *refused});
  }
  if (const std::optional<LocalAnswer> local = local_.answer(query->question)) {
    return answer(guest, resolver, *query, local->reply());
  }
  if (!context_.config.policy.may_resolve_names()) {
    return answer(
        guest, resolver, *query,
        DnsReply{.rcode = DnsRcode::kNxDomain, .extended_error = DnsExtendedError::kFiltered});
  }
  const Key key{.guest = guest, .id = query->header.id};
  // The guest's own repetition of a query that is under way.
  if (!queries_.find(key)) ask_upstream(now, key, resolver, *query);
}

void Resolver::reply(const Endpoint& guest, const Endpoint& resolver, Bytes message) {
  if (message.empty()) return;
  context_.link.send_udp(IpHeaderFields{.source = resolver.address,
                                        .destination = guest.address,
                                        .protocol = IpProtocol::kUdp,
                                        .has_dont_fragment = false},
                         resolver.port, guest.port, message, 0);
}

void Resolver::answer(const Endpoint& guest, const Endpoint& resolver, const DnsQuery& query,
                      const DnsReply& answer) {
  std::array<std::uint8_t, 1024> out{};
  const std::size_t room = std::min(out.size(), query.udp_limit());
  const std::size_t size = write_dns_reply(query, answer, MutableBytes(out).first(room));
  reply(guest, resolver, Bytes(out).first(size));
}

void Resolver::ask_upstream(Instant now, const Key& key, const Endpoint& resolver,
                            const DnsQuery& query) {
  const DnsReply failure{.rcode = DnsRcode::kServFail,
                         .extended_error = DnsExtendedError::kNoReachableAuthority};
  if (upstreams_.empty()) return answer(key.guest, resolver, query, failure);
  if (queries_.size() == queries_.capacity()) end(*queries_.oldest(0));
  const std::optional<FlowId> id = queries_.insert(key, 0, now);
  if (!id) return;
  Query& fresh = *queries_.get(*id);
  fresh.resolver = resolver;
  fresh.asked = query;
  fresh.upstream = preferred_;
  fresh.began = now;
  const auto own_id = static_cast<std::uint16_t>(context_.entropy.next());
  fresh.size =
      static_cast<std::uint16_t>(write_dns_query(own_id, query, kUpstreamUdpOctets, fresh.message));
  if (!send_to_upstream(*id)) try_next(now, *id);
}

bool Resolver::send_to_upstream(FlowId id) {
  Query& query = *queries_.get(id);
  const Endpoint& upstream = upstreams_[query.upstream];
  if (query.socket.is_open()) context_.host.close(query.socket);
  query.socket = {};
  ++query.tries;
  const IoResult<SocketHandle> socket = context_.host.open_udp(
      upstream.address.family(),
      SocketOwner{.kind = OwnerKind::kDns, .generation = id.generation, .index = id.index});
  if (!socket) return false;
  query.socket = *socket;
  return context_.host
      .send(query.socket, Policy::upstream(upstream, Protocol::kUdp),
            SendFields{.may_fragment = true}, Bytes(query.message).first(query.size))
      .has_value();
}

void Resolver::try_next(Instant now, FlowId id) {
  Query& query = *queries_.get(id);
  while (query.tries < kRounds * upstreams_.size() && now - query.began < kDnsQuery) {
    query.upstream = static_cast<std::uint16_t>((query.upstream + 1U) % upstreams_.size());
    queries_.touch(id, 0, now);
    if (send_to_upstream(id)) return;
  }
  fail(id);
}

void Resolver::fail(FlowId id) {
  context_.events.notice(Notice::kUpstreamSilent, 0);
  const Query& query = *queries_.get(id);
  answer(queries_.key_of(id).guest, query.resolver, query.asked,
         DnsReply{.rcode = DnsRcode::kServFail,
                  .extended_error = DnsExtendedError::kNoReachableAuthority});
  end(id);
}

bool Resolver::on_socket(Instant now, const SocketOwner& owner) {
  const FlowId id{.index = owner.index, .generation = owner.generation};
  const Query* const query = queries_.get(id);
  if (query == nullptr || !query->socket.is_open()) return false;
  Inbox inbox(*this, now, id);
  const bool has_more = context_.host.receive(query->socket, kReceiveBudget, inbox);
  if (queries_.get(id) == nullptr) return false;
  if (inbox.has_failed()) try_next(now, id);
  return has_more && queries_.get(id) != nullptr;
}

void Resolver::on_response(Instant now, FlowId id, const ReceivedDatagram& datagram) {
  const Query* const query = queries_.get(id);
  if (query == nullptr) return;
  const bool is_answer =
      query->upstream < upstreams_.size() && datagram.peer == upstreams_[query->upstream] &&
      datagram.payload.size() <= kLongestDnsMessage &&
      answers_dns_query(Bytes(query->message).first(query->size), datagram.payload) &&
      is_whole_dns_message(datagram.payload);
  if (!is_answer) return context_.drops.add(Drop::kUnknownPeer);
  if (is_failure(datagram.payload) && query->tries < upstreams_.size()) return try_next(now, id);
  preferred_ = query->upstream;
  pass_back(id, datagram.payload);
  end(id);
}

void Resolver::pass_back(FlowId id, Bytes response) {
  const Query& query = *queries_.get(id);
  const Key& key = queries_.key_of(id);
  std::array<std::uint8_t, 4096> out{};
  std::size_t size = response.size();
  if (size <= std::min(out.size(), query.asked.udp_limit())) {
    std::ranges::copy(response, out.begin());
  } else {
    const std::size_t room = std::min(out.size(), query.asked.udp_limit());
    size = truncate_dns_response(response, MutableBytes(out).first(room));
  }
  const MutableBytes message = MutableBytes(out).first(size);
  set_dns_id(message, key.id);
  restore_case(message, query.asked.question.name);
  reply(key.guest, query.resolver, message);
}

void Resolver::on_deadline(Instant now) {
  for (std::size_t i = 0; i < kMaxDnsQueries && next_deadline() <= now; ++i) {
    try_next(now, *queries_.oldest(0));
  }
}

void Resolver::end(FlowId id) {
  const Query& query = *queries_.get(id);
  if (query.socket.is_open()) context_.host.close(query.socket);
  queries_.erase(id);
}

}  // namespace cordon
