#include "netstack/names/dns_answers.h"

#include <algorithm>

#include "netstack/flow/limits.h"

namespace cordon {
namespace {

// Records of the answer section that are looked at: what a hostile response of 64 KiB may cost.
constexpr std::size_t kMostRecords = 512;
// Records of one answer to the guest. A service with more has a problem of its own.
constexpr std::size_t kMostCopied = 64;

// Types whose data has names in it, which may be compressed (RFC 3597 section 4): the octets in
// front of them, how many there are, and the octets behind them.
struct NamedData {
  std::uint16_t type;
  std::size_t prefix;
  std::size_t names = 1;
  std::size_t tail = 0;
};
constexpr NamedData kNamedData[] = {
    {.type = dns_type::kNs, .prefix = 0},
    {.type = dns_type::kCname, .prefix = 0},
    {.type = dns_type::kSoa, .prefix = 0, .names = 2, .tail = 20},  // serial and four times
    {.type = dns_type::kPtr, .prefix = 0},
    {.type = dns_type::kMinfo, .prefix = 0, .names = 2},
    {.type = dns_type::kMx, .prefix = 2},  // preference
    {.type = dns_type::kRp, .prefix = 0, .names = 2},
    {.type = dns_type::kAfsdb, .prefix = 2},
    {.type = dns_type::kRt, .prefix = 2},
    {.type = dns_type::kPx, .prefix = 2, .names = 2},
    {.type = dns_type::kSrv, .prefix = 6},  // priority, weight, port
    {.type = dns_type::kKx, .prefix = 2},
    {.type = dns_type::kDname, .prefix = 0}};

std::size_t answers_of(Bytes response) {
  const std::optional<DnsHeader> header = read_dns_header(response);
  return header ? std::min<std::size_t>(header->answer_count, kMostRecords) : 0;
}

template <class Visit>
void each_answer(Bytes response, Visit&& visit) {
  DnsRecords records(response);
  for (std::size_t left = answers_of(response); left > 0; --left) {
    const std::optional<DnsRecord> record = records.next();
    if (!record) return;
    if (record->record_class == kDnsClassIn) visit(*record);
  }
}

std::optional<DnsName> name_in(Bytes response, std::size_t offset, std::size_t end) {
  const std::optional<DnsName> name = DnsName::read(response.first(end), offset);
  return offset == end ? name : std::nullopt;
}

struct Canonical {
  DnsName name;
  std::uint32_t ttl = ~std::uint32_t{0};
};

// Where the aliases lead; nullopt: too far, or in a circle.
std::optional<Canonical> follow_aliases(Bytes response, const DnsName& name) {
  Canonical current{.name = name};
  for (std::size_t followed = 0; followed <= kMaxAliases; ++followed) {
    std::optional<DnsName> target;
    each_answer(response, [&](const DnsRecord& record) {
      if (target || record.type != dns_type::kCname || record.name != current.name) return;
      target = name_in(response, record.data_offset, record.data_offset + record.data.size());
      if (target) current.ttl = std::min(current.ttl, record.ttl);
    });
    if (!target) return current;
    current.name = *target;
  }
  return std::nullopt;
}

// The record as it is told to the guest, its names written out; nullopt where the data is not what
// the type says.
std::optional<DnsReplyRecord> rewrite(Bytes response, const DnsRecord& record) {
  DnsReplyRecord copy{.type = record.type, .ttl = record.ttl, .data = record.data};
  const auto* const named = std::ranges::find(kNamedData, record.type, &NamedData::type);
  if (named == std::end(kNamedData)) return copy;
  if (record.data.size() <= named->prefix) return std::nullopt;
  const std::size_t end = record.data_offset + record.data.size();
  std::size_t offset = record.data_offset + named->prefix;
  copy.data = record.data.first(named->prefix);
  for (std::size_t i = 0; i < named->names; ++i) {
    copy.names.at(i) = DnsName::read(response.first(end), offset);
    if (!copy.names.at(i)) return std::nullopt;
  }
  if (end - offset != named->tail) return std::nullopt;
  copy.tail = record.data.last(named->tail);
  return copy;
}

}  // namespace

DnsAddresses read_dns_addresses(Bytes response, const DnsName& name, Family family) {
  DnsAddresses found;
  const std::optional<DnsHeader> header = read_dns_header(response);
  if (!header) return found;
  if (header->rcode == static_cast<std::uint8_t>(DnsRcode::kNxDomain)) {
    found.outcome = DnsAddresses::Outcome::kNoName;
    return found;
  }
  if (header->rcode != static_cast<std::uint8_t>(DnsRcode::kNoError)) return found;
  const std::optional<Canonical> canonical = follow_aliases(response, name);
  if (!canonical) return found;
  const bool is_v4 = family == Family::kIpv4;
  found.ttl = canonical->ttl;
  each_answer(response, [&](const DnsRecord& record) {
    if (record.type != (is_v4 ? dns_type::kA : dns_type::kAaaa)) return;
    if (record.data.size() != (is_v4 ? std::size_t{4} : std::size_t{16})) return;
    if (record.name != canonical->name || found.count == DnsAddresses::kMost) return;
    const IpAddress address = IpAddress::from_octets(record.data);
    found.ttl = std::min(found.ttl, record.ttl);
    if (std::ranges::find(found.all(), address) == found.all().end()) {
      found.addresses[found.count++] = address;
    }
  });
  found.outcome = found.count > 0 ? DnsAddresses::Outcome::kFound : DnsAddresses::Outcome::kNoData;
  return found;
}

std::size_t copy_dns_answers(const DnsQuery& query, Bytes response, MutableBytes out) {
  const std::optional<DnsHeader> header = read_dns_header(response);
  // An alias that is asked for as such is not followed.
  const bool is_alias_asked = query.question.type == dns_type::kCname;
  const std::optional<Canonical> canonical = is_alias_asked
                                                 ? Canonical{.name = query.question.name}
                                                 : follow_aliases(response, query.question.name);
  if (!header || !canonical || header->rcode > static_cast<std::uint8_t>(DnsRcode::kRefused)) {
    return write_dns_reply(query, DnsReply{.rcode = DnsRcode::kServFail}, out);
  }
  std::array<DnsReplyRecord, kMostCopied> records;
  std::size_t count = 0;
  each_answer(response, [&](const DnsRecord& record) {
    if (record.type != query.question.type || record.name != canonical->name) return;
    std::optional<DnsReplyRecord> copy = rewrite(response, record);
    if (!copy || count == records.size()) return;
    copy->ttl = std::min(copy->ttl, canonical->ttl);
    records[count++] = *copy;
  });
  return write_dns_reply(query,
                         DnsReply{.rcode = static_cast<DnsRcode>(header->rcode),
                                  .records = std::span(records).first(count)},
                         out);
}

}  // namespace cordon
