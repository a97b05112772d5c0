#include "netstack/names/name_lookups.h"

#include <algorithm>

#include "netstack/flow/timeouts.h"
#include "netstack/wire/endian.h"

namespace cordon {
namespace {

constexpr std::array kFamilies{Family::kIpv4, Family::kIpv6};

std::size_t index_of(Family family) { return family == Family::kIpv4 ? 0 : 1; }
Family other(Family family) { return family == Family::kIpv4 ? Family::kIpv6 : Family::kIpv4; }

QueryKey query_key(FlowId lookup, Family family) {
  return QueryKey{
      .asker = Asker::kLookup, .part = static_cast<std::uint8_t>(index_of(family)), .of = lookup};
}

DnsQuery query_for(const DnsName& name, Family family) {
  DnsQuery query;
  query.question.name = name;
  query.question.type = family == Family::kIpv4 ? dns_type::kA : dns_type::kAaaa;
  return query;
}

}  // namespace

std::uint64_t NameLookups::WaiterKey::hash(const SipKey& key) const {
  return QueryKey{.part = static_cast<std::uint8_t>(kind), .of = flow}.hash(key);
}

NameLookups::NameLookups(const FlowContext& context, UpstreamQueries& upstream)
    : upstream_(upstream),
      lookups_(kMaxNameLookups, SipKey{context.entropy.next(), context.entropy.next()}),
      waiters_(kMaxLookupWaiters, SipKey{context.entropy.next(), context.entropy.next()}) {
  upstream_.answers_go_to(Asker::kLookup, *this);
}

void NameLookups::serve(Waits kind, LookupWaiters& who) {
  served_[static_cast<std::size_t>(kind)] = &who;
}

bool NameLookups::begin(Instant now, Waits kind, FlowId flow, const DnsName& name,
                        Family preferred) {
  if (waiters_.size() == waiters_.capacity()) return false;
  const std::optional<FlowId> lookup = lookup_for(now, name);
  if (!lookup) return false;
  const std::optional<FlowId> id =
      waiters_.insert(WaiterKey{.kind = kind, .flow = flow}, kListWaiting, now);
  if (!id) return false;
  Lookup& shared = *lookups_.get(*lookup);
  Waiter& waiter = *waiters_.get(*id);
  waiter.lookup = *lookup;
  waiter.preferred = preferred;
  waiter.next = shared.first_waiter;
  if (shared.first_waiter.index != kNone) waiters_.get(shared.first_waiter)->previous = *id;
  shared.first_waiter = *id;
  arrange(now, *id);
  return true;
}

std::optional<FlowId> NameLookups::lookup_for(Instant now, const DnsName& name) {
  const LookupKey key{.name = &name};
  if (const std::optional<FlowId> known = lookups_.find(key)) return known;
  const std::optional<FlowId> id = lookups_.insert(key, 0, now);
  if (!id) return std::nullopt;
  bool is_asked = false;
  for (const Family family : kFamilies) {
    const bool is_sent = upstream_.ask(now, query_key(*id, family), query_for(name, family), true);
    // Where only one of the two had room, the other one counts as failed.
    lookups_.get(*id)->is_answered[index_of(family)] = !is_sent;
    is_asked = is_asked || is_sent;
  }
  if (is_asked) return id;
  lookups_.erase(*id);
  return std::nullopt;
}

void NameLookups::cancel(Waits kind, FlowId flow) {
  const std::optional<FlowId> id = waiters_.find(WaiterKey{.kind = kind, .flow = flow});
  if (id) remove(*id);
}

void NameLookups::remove(FlowId id) {
  const Waiter waiter = *waiters_.get(id);
  waiters_.erase(id);
  Lookup& lookup = *lookups_.get(waiter.lookup);
  if (waiter.previous.index == kNone) {
    lookup.first_waiter = waiter.next;
  } else {
    waiters_.get(waiter.previous)->next = waiter.next;
  }
  if (waiter.next.index != kNone) waiters_.get(waiter.next)->previous = waiter.previous;
  if (lookup.first_waiter.index != kNone) return;
  // Nobody waits any more; the next dial looks up afresh.
  for (const Family family : kFamilies) upstream_.cancel(query_key(waiter.lookup, family));
  lookups_.erase(waiter.lookup);
}

void NameLookups::on_upstream_answer(Instant now, const QueryKey& key, Bytes response) {
  Lookup* const lookup = lookups_.get(key.of);
  if (!CORDON_INVARIANT(lookup != nullptr)) return;
  const Family family = key.part == 0 ? Family::kIpv4 : Family::kIpv6;
  lookup->found[key.part] = read_dns_addresses(response, *lookups_.key_of(key.of).name, family);
  lookup->is_answered[key.part] = true;
  for (FlowId id = lookup->first_waiter; id.index != kNone; id = waiters_.get(id)->next) {
    arrange(now, id);
  }
}

// Puts a waiter where its next word comes from: now, after the delay, or the next answer.
void NameLookups::arrange(Instant now, FlowId id) {
  const Waiter& waiter = *waiters_.get(id);
  const Lookup& lookup = *lookups_.get(waiter.lookup);
  const std::size_t first = index_of(waiter.preferred);
  const std::size_t second = index_of(other(waiter.preferred));
  const auto has_news = [&](std::size_t family) {
    return lookup.is_answered[family] && !waiter.is_told[family];
  };
  if (has_news(first) || (has_news(second) && waiter.is_told[first])) {
    waiters_.touch(id, kListDue, now);
  } else if (has_news(second) && lookup.found[second].count > 0) {
    waiters_.touch(id, kListDelayed, now);
  } else {
    waiters_.touch(id, kListWaiting, now);
  }
}

void NameLookups::tell(Instant now, FlowId id, bool has_waited) {
  Waiter& waiter = *waiters_.get(id);
  const WaiterKey key = waiters_.key_of(id);
  const Lookup& lookup = *lookups_.get(waiter.lookup);
  const Family family = has_waited || waiter.is_told[index_of(waiter.preferred)]
                            ? other(waiter.preferred)
                            : waiter.preferred;
  waiter.is_told[index_of(family)] = true;
  const DnsAddresses found = lookup.found[index_of(family)];
  if (waiter.is_told[0] && waiter.is_told[1]) {
    remove(id);
  } else {
    arrange(now, id);
  }
  LookupWaiters* const who = served_[static_cast<std::size_t>(key.kind)];
  if (!CORDON_INVARIANT(who != nullptr)) return;
  who->on_lookup(now, key.flow, LookupAnswer{.family = family, .found = found});
}

Instant NameLookups::next_deadline() const {
  return std::min(waiters_.deadline(kListDelayed, kResolutionDelay),
                  waiters_.deadline(kListDue, Duration{}));
}

void NameLookups::on_deadline(Instant now) {
  for (std::size_t i = 0; i < kMaxLookupWaiters; ++i) {
    if (waiters_.deadline(kListDelayed, kResolutionDelay) <= now) {
      tell(now, *waiters_.oldest(kListDelayed), true);
    } else if (waiters_.deadline(kListDue, Duration{}) <= now) {
      tell(now, *waiters_.oldest(kListDue), false);
    } else {
      return;
    }
  }
}

}  // namespace cordon
