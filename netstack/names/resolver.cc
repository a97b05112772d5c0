#include "netstack/names/resolver.h"

#include <algorithm>
#include <utility>

#include "netstack/names/dns_answers.h"

namespace cordon {
namespace {

// What a datagram to the guest may hold at most, whatever its EDNS says.
constexpr std::size_t kMaxDatagramReply = 4096;
// An address of the pool stays its name's, but whether the name still exists is asked again.
constexpr std::uint32_t kPoolTtlSeconds = 60;
// The same refusal again within this time is the client's repetition.
constexpr Duration kToldAgain = std::chrono::seconds(10);
// A C library goes on with its search list at once; glibc's longest pause is `timeout` (5 s) twice.
constexpr Duration kCompletedWithin = std::chrono::seconds(10);

// The question's name as the guest wrote it: a client may check the case of its letters (draft
// dns0x20).
void restore_case(MutableBytes response, const DnsName& name) {
  const Bytes wire = name.wire();
  if (response.size() < kDnsHeaderOctets + wire.size()) return;
  std::ranges::copy(wire, response.subspan(kDnsHeaderOctets).begin());
}

bool asks_for_address(const DnsQuery& query) {
  return query.question.type == dns_type::kA || query.question.type == dns_type::kAaaa;
}

QueryKey upstream_key(FlowId id) { return QueryKey{.asker = Asker::kResolver, .of = id}; }

constexpr DnsReply kFiltered{.rcode = DnsRcode::kNxDomain,
                             .extended_error = DnsExtendedError::kFiltered};
constexpr DnsReply kNobodyAnswered{.rcode = DnsRcode::kServFail,
                                   .extended_error = DnsExtendedError::kNoReachableAuthority};

// More names under one wildcard than may be asked for in a minute.
Verdict past_budget(const Verdict& verdict) {
  return Verdict{.reason = Reason::kLimit, .rule = verdict.rule, .limit = Limit::kNames};
}

// Addresses that no answer may lead a guest to, because inside they mean something else or nothing.
bool is_for_nobody(const IpAddress& address) {
  return address.is_loopback() || address.is_unspecified() || address.is_link_local() ||
         address.is_multicast_or_broadcast();
}

}  // namespace

std::uint64_t Resolver::Key::hash(const SipKey& key) const {
  // The id takes the place of a remote port.
  return FlowKey{.guest = guest, .remote = {.port = id}}.hash(key);
}

Resolver::Resolver(const FlowContext& context, UpstreamQueries& upstream)
    : context_(context),
      upstream_(upstream),
      local_(std::array{context.config.v4, context.config.v6}),
      budgets_(SipKey{context.entropy.next(), context.entropy.next()}),
      queries_(kMaxDnsQueries, SipKey{context.entropy.next(), context.entropy.next()}),
      scratch_(kLongestDnsMessage),
      name_key_{context.entropy.next(), context.entropy.next()} {
  upstream_.answers_go_to(Asker::kResolver, *this);
}

void Resolver::on_query(Instant now, const IpPacket& packet, const UdpDatagram& datagram) {
  if (context_.admission.name_mode() == NameSettings::Mode::kOff) {
    return context_.link.send_icmp_error(now,
                                         IcmpErrorFields{.source = packet.destination,
                                                         .destination = packet.source,
                                                         .error = IcmpError::kPortUnreachable},
                                         packet.packet);
  }
  const Client client{
      .guest = {.address = packet.source, .port = datagram.source_port},
      .resolver = {.address = packet.destination, .port = datagram.destination_port},
      .stream = std::nullopt};
  on_message(now, client, datagram.payload);
}

bool Resolver::on_stream_query(Instant now, FlowId stream, const Endpoint& guest,
                               const Endpoint& resolver, Bytes message) {
  const std::uint64_t asked = asked_;
  on_message(now, Client{.guest = guest, .resolver = resolver, .stream = stream}, message);
  return asked_ != asked;
}

void Resolver::on_message(Instant now, const Client& client, Bytes message) {
  const auto query = parse_dns_query(message);
  if (!query) {
    std::array<std::uint8_t, kDnsHeaderOctets> out{};
    const std::size_t size = write_dns_fault(message, query.error(), out);
    return reply(now, client, Bytes(out).first(size));
  }
  if (const std::optional<DnsRcode> refused = refuse_dns_query(*query)) {
    return answer(now, client, *query, DnsReply{.rcode = *refused});
  }
  if (const std::optional<LocalAnswer> local = local_.answer(query->question)) {
    return answer(now, client, *query, local->reply());
  }
  resolve(now, client, *query);
}

void Resolver::resolve(Instant now, const Client& client, const DnsQuery& query) {
  const Policy& policy = context_.config.policy;
  if (const DnsName* const target = pointer_target(query.question.name)) {
    return answer(now, client, query, DnsReply{.pointer = target, .ttl = kPoolTtlSeconds});
  }
  const Verdict verdict = policy.judge_name(query.question.name);
  const Rule* const rule = policy.rule_of(verdict);
  const bool is_meant = verdict.action != Action::kDeny && rule != nullptr &&
                        rule->to.kind == Destination::Kind::kName;
  if (!is_meant && completes_refused(now, query.question.name)) {
    return answer(now, client, query, kFiltered);
  }
  if (verdict.action == Action::kDeny) {
    if (policy.mode() != PolicyMode::kReport) return refuse(now, client, query, verdict);
    if (is_to_be_told(now, query.question.name)) report(client, query, verdict);
  }
  if (context_.admission.are_names_enforced()) {
    return resolve_enforced(now, client, query, verdict);
  }
  ask_upstream(now, client, query, Purpose::kPass);
}

const DnsName* Resolver::pointer_target(const DnsName& name) const {
  const std::optional<IpAddress> address = name.to_address();
  if (!address) return nullptr;
  if (const DnsName* const pooled = context_.pool.name_at(*address)) return pooled;
  const std::span<const NamePins::Pin> pins = context_.pins.at(*address);
  return pins.empty() ? nullptr : pins.front().name;
}

void Resolver::resolve_enforced(Instant now, const Client& client, const DnsQuery& query,
                                const Verdict& verdict) {
  if (asks_for_address(query)) return resolve_addresses(now, client, query, verdict);
  const DnsQuestion& question = query.question;
  const bool is_listed = verdict.action != Action::kAsk &&
                         context_.config.policy.is_dns_type_allowed(question.name, question.type);
  if (!is_listed && !passes_unlisted(now, client, query)) return;
  if (!has_budget(now, question.name, verdict)) {
    return refuse(now, client, query, past_budget(verdict));
  }
  ask_upstream(now, client, query, Purpose::kRecords);
}

void Resolver::resolve_addresses(Instant now, const Client& client, const DnsQuery& query,
                                 const Verdict& verdict) {
  if (verdict.action == Action::kAsk) return answer_from_pool(now, client, query);
  if (!has_budget(now, query.question.name, verdict)) {
    return refuse(now, client, query, past_budget(verdict));
  }
  const bool is_mapped = context_.admission.name_mode() == NameSettings::Mode::kMap;
  ask_upstream(now, client, query, is_mapped ? Purpose::kMap : Purpose::kPin);
}

// Clients ask for HTTPS records by themselves and do without; where they ask for TXT or SRV,
// somebody waits for it. False where the question has been answered.
bool Resolver::passes_unlisted(Instant now, const Client& client, const DnsQuery& query) {
  const DnsQuestion& question = query.question;
  const Verdict verdict{.action = Action::kDeny, .reason = Reason::kType};
  if (std::ranges::find(dns_type::kListable, question.type) == dns_type::kListable.end()) {
    answer(now, client, query, DnsReply{});
    return false;
  }
  const bool is_told = is_to_be_told(now, question.name, question.type);
  if (context_.config.policy.mode() == PolicyMode::kReport) {
    if (is_told) report(client, query, verdict);
    return true;
  }
  refuse_with(now, client, query, verdict, DnsReply{}, is_told);
  return false;
}

bool Resolver::has_budget(Instant now, const DnsName& name, const Verdict& verdict) {
  const Rule* const rule = context_.config.policy.rule_of(verdict);
  if (rule == nullptr || rule->to.kind != Destination::Kind::kName) return true;
  const NamePattern& pattern = rule->to.pattern;
  if (pattern.kind == NamePattern::Kind::kExact || pattern.name == name) return true;
  return budgets_.take(now, pattern, name, context_.config.names.wildcard_names_per_minute);
}

// The answer waits until the asking process was looked up: it closes its socket over a no.
void Resolver::refuse(Instant now, const Client& client, const DnsQuery& query,
                      const Verdict& verdict) {
  refuse_with(now, client, query, verdict, kFiltered, is_to_be_told(now, query.question.name));
}

void Resolver::refuse_with(Instant now, const Client& client, const DnsQuery& query,
                           const Verdict& verdict, const DnsReply& reply, bool is_told) {
  if (!is_told) return answer(now, client, query, reply);
  const DnsName asked = query.question.name.lower_case();
  const Judgement judgement = judgement_of(client, asked, verdict);
  std::array<std::uint8_t, Refusals::kMaxReply> packet{};
  std::size_t size = 0;
  if (!client.stream) {
    const MutableBytes room = room_for(client, query);
    size = write_udp_packet(packet, reply_header(client), client.resolver.port, client.guest.port,
                            room.first(write_dns_reply(query, reply, room)));
  }
  context_.refusals.refuse_query(now, judgement, query.question.type, Bytes(packet).first(size));
  if (size == 0) answer(now, client, query, reply);
}

std::uint64_t Resolver::key_of(const DnsName& name, std::uint16_t type) const {
  const DnsName whole = name.lower_case();
  std::array<std::uint8_t, kLongestDnsName + 2> what{};
  std::ranges::copy(whole.wire(), what.begin());
  std::size_t size = whole.wire().size();
  if (type != 0) {
    what.at(size++) = static_cast<std::uint8_t>(type >> 8);
    what.at(size++) = static_cast<std::uint8_t>(type);
  }
  return siphash(name_key_, Bytes(what).first(size));
}

bool Resolver::is_to_be_told(Instant now, const DnsName& name, std::uint16_t type) {
  const std::uint64_t key = key_of(name, type);
  const auto known = std::ranges::find(refused_, key, &Refused::name);
  Refused& refused = known == refused_.end() ? refused_[next_refused_++ % refused_.size()] : *known;
  const bool is_repetition = known != refused_.end() && now < refused.told_until;
  refused.name = key;
  refused.last = now;
  if (!is_repetition) refused.told_until = now + kToldAgain;
  return !is_repetition;
}

bool Resolver::completes_refused(Instant now, const DnsName& name) const {
  const DnsName whole = name.lower_case();
  for (const DnsName& domain : context_.config.search) {
    if (domain.is_root() || !whole.ends_with(domain) || whole == domain) continue;
    std::array<std::uint8_t, kLongestDnsName> begin{};
    const std::size_t size = whole.wire().size() - domain.wire().size();
    // A single label is no name of the public DNS: what it is completed to is meant.
    if (size == std::size_t{1} + whole.wire()[0]) continue;
    std::ranges::copy(whole.wire().first(size), begin.begin());  // and the root label
    const std::uint64_t key = siphash(name_key_, Bytes(begin).first(size + 1));
    const bool was_refused = std::ranges::any_of(refused_, [&](const Refused& refused) {
      return refused.name == key && now < refused.last + kCompletedWithin;
    });
    if (was_refused) return true;
  }
  return false;
}

Judgement Resolver::judgement_of(const Client& client, const DnsName& name,
                                 const Verdict& verdict) {
  Judgement judgement{.verdict = verdict};
  judgement.request.protocol = client.stream ? Protocol::kTcp : Protocol::kUdp;
  judgement.request.guest = client.guest;
  judgement.request.dialled = client.resolver;
  judgement.request.name = &name;
  return judgement;
}

void Resolver::report(const Client& client, const DnsQuery& query, const Verdict& verdict) {
  const DnsName asked = query.question.name.lower_case();
  context_.refusals.report_query(judgement_of(client, asked, verdict), query.question.type);
}

void Resolver::ask_upstream(Instant now, const Client& client, const DnsQuery& query,
                            Purpose purpose) {
  const Key key{
      .guest = client.guest, .id = query.header.id, .is_stream = client.stream.has_value()};
  // The guest's own repetition of a query that is under way.
  if (queries_.find(key)) return;
  if (queries_.size() == queries_.capacity()) end(*queries_.oldest(0));
  const std::optional<FlowId> id = queries_.insert(key, 0, now);
  if (!id) return;
  Query& fresh = *queries_.get(*id);
  fresh.client = client;
  fresh.asked = query;
  fresh.purpose = purpose;
  const bool is_v6_first = purpose == Purpose::kPin && query.question.type == dns_type::kAaaa;
  fresh.family = is_v6_first ? Family::kIpv6 : Family::kIpv4;
  if (send(now, *id)) {
    ++asked_;
    return;
  }
  queries_.erase(*id);
  answer(now, client, query, kNobodyAnswered);
}

bool Resolver::send(Instant now, FlowId id) {
  const Query& query = *queries_.get(id);
  if (query.purpose == Purpose::kPass) {
    return upstream_.ask(now, upstream_key(id), query.asked, query.client.stream.has_value());
  }
  DnsQuery plain;
  plain.question = query.asked.question;
  if (query.purpose != Purpose::kRecords) {
    plain.question.type = query.family == Family::kIpv4 ? dns_type::kA : dns_type::kAaaa;
  }
  return upstream_.ask(now, upstream_key(id), plain, true);
}

void Resolver::on_upstream_answer(Instant now, const QueryKey& key, Bytes response) {
  const Query* const found = queries_.get(key.of);
  if (!CORDON_INVARIANT(found != nullptr)) return;
  if (!response.empty() && found->purpose == Purpose::kMap) {
    return on_mapped(now, key.of, response);
  }
  const Query query = *found;
  queries_.erase(key.of);
  if (response.empty()) return answer(now, query.client, query.asked, kNobodyAnswered);
  if (query.purpose == Purpose::kPin) return on_pinned(now, query, response);
  if (query.purpose == Purpose::kRecords) return on_records(now, query, response);
  pass_back(now, query, response);
}

void Resolver::on_mapped(Instant now, FlowId id, Bytes response) {
  Query& query = *queries_.get(id);
  const DnsAddresses found = read_dns_addresses(response, query.asked.question.name, query.family);
  const bool is_first = query.family == Family::kIpv4;
  if (found.outcome == DnsAddresses::Outcome::kNoData && is_first) {
    // A name with an address of either family is reached by both: the other one is asked for too.
    query.family = Family::kIpv6;
    if (send(now, id)) return;
  }
  const Client client = query.client;
  const DnsQuery asked = query.asked;
  queries_.erase(id);
  switch (found.outcome) {
    case DnsAddresses::Outcome::kFound:
      return answer_from_pool(now, client, asked);
    case DnsAddresses::Outcome::kNoName:
      return answer(now, client, asked, DnsReply{.rcode = DnsRcode::kNxDomain});
    case DnsAddresses::Outcome::kNoData:
      if (!is_first) return answer(now, client, asked, DnsReply{});
      [[fallthrough]];
    case DnsAddresses::Outcome::kFailed:
      return answer(now, client, asked, DnsReply{.rcode = DnsRcode::kServFail});
  }
}

std::optional<PooledName> Resolver::give_name(const Client& client, const DnsQuery& query) {
  const std::size_t known = context_.pool.size();
  const std::optional<PooledName> pooled = context_.pool.give(query.question.name);
  if (context_.config.reports_flows && pooled && context_.pool.size() != known) {
    context_.events.resolved(
        {.request = {.protocol = Protocol::kUdp, .guest = client.guest, .name = pooled->name}});
  }
  return pooled;
}

void Resolver::answer_from_pool(Instant now, const Client& client, const DnsQuery& query) {
  const std::optional<PooledName> pooled = give_name(client, query);
  if (!pooled) {
    context_.events.notice(Notice::kFlowLimit, 0);
    return answer(now, client, query, DnsReply{.rcode = DnsRcode::kServFail});
  }
  const std::array addresses{pooled->v4, pooled->v6};
  answer(now, client, query, DnsReply{.addresses = addresses, .ttl = kPoolTtlSeconds});
}

void Resolver::on_pinned(Instant now, const Query& query, Bytes response) {
  DnsAddresses found = read_dns_addresses(response, query.asked.question.name, query.family);
  if (found.outcome == DnsAddresses::Outcome::kNoName) {
    return answer(now, query.client, query.asked, DnsReply{.rcode = DnsRcode::kNxDomain});
  }
  // The pool keeps the name; its addresses there are not told.
  const std::optional<PooledName> pooled = give_name(query.client, query.asked);
  if (found.outcome == DnsAddresses::Outcome::kFailed || !pooled) {
    return answer(now, query.client, query.asked, DnsReply{.rcode = DnsRcode::kServFail});
  }
  const auto begin = found.addresses.begin();
  const auto end = begin + static_cast<std::ptrdiff_t>(found.count);
  found.count = static_cast<std::size_t>(std::remove_if(begin, end, is_for_nobody) - begin);
  for (const IpAddress& address : found.all()) {
    context_.pins.pin(now, address, *pooled->name, std::chrono::seconds(found.ttl));
  }
  answer(now, query.client, query.asked, DnsReply{.addresses = found.all(), .ttl = found.ttl});
}

void Resolver::on_records(Instant now, const Query& query, Bytes response) {
  const MutableBytes room = room_for(query.client, query.asked);
  const Bytes message = room.first(copy_dns_answers(query.asked, response, room));
  const std::optional<DnsHeader> header = read_dns_header(message);
  const bool has_data = header && (header->answer_count > 0 || header->is_truncated);
  if (context_.config.reports_flows) tell_records(query, has_data);
  reply(now, query.client, message);
}

void Resolver::tell_records(const Query& query, bool has_data) {
  const DnsQuestion& question = query.asked.question;
  const DnsName asked = question.name.lower_case();
  const std::uint64_t key = key_of(asked, question.type) ^ static_cast<std::uint64_t>(has_data);
  std::uint64_t& told = told_records_.at(key / 2 % told_records_.size());
  if (std::exchange(told, key) == key) return;
  context_.events.resolved(
      {.request = {.protocol = Protocol::kUdp, .guest = query.client.guest, .name = &asked},
       .type = question.type,
       .has_data = has_data});
}

void Resolver::pass_back(Instant now, const Query& query, Bytes response) {
  const MutableBytes room = room_for(query.client, query.asked);
  std::size_t size = response.size();
  if (size <= room.size()) {
    std::ranges::copy(response, room.begin());
  } else {
    size = truncate_dns_response(response, room);
  }
  const MutableBytes message = room.first(size);
  set_dns_id(message, query.asked.header.id);
  restore_case(message, query.asked.question.name);
  reply(now, query.client, message);
}

IpHeaderFields Resolver::reply_header(const Client& client) {
  return IpHeaderFields{.source = client.resolver.address,
                        .destination = client.guest.address,
                        .protocol = IpProtocol::kUdp,
                        .has_dont_fragment = false};
}

MutableBytes Resolver::room_for(const Client& client, const DnsQuery& query) {
  const std::size_t most =
      client.stream ? kLongestDnsMessage : std::min(kMaxDatagramReply, query.udp_limit());
  return MutableBytes(scratch_).first(most);
}

void Resolver::answer(Instant now, const Client& client, const DnsQuery& query,
                      const DnsReply& answer) {
  const MutableBytes room = room_for(client, query);
  reply(now, client, room.first(write_dns_reply(query, answer, room)));
}

void Resolver::reply(Instant now, const Client& client, Bytes message) {
  if (message.empty()) return;
  if (client.stream) {
    if (streams_ != nullptr) streams_->on_dns_answer(now, *client.stream, message);
    return;
  }
  replies_.add(client.resolver, client.guest, message, context_.link);
}

void Resolver::end(FlowId id) {
  upstream_.cancel(upstream_key(id));
  queries_.erase(id);
}

}  // namespace cordon
