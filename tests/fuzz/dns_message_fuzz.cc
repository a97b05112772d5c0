// DNS messages from a guest and from an upstream. The first two octets say how much room an answer
// has; the rest is the message.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include "netstack/names/dns_answers.h"
#include "netstack/names/dns_message.h"
#include "netstack/names/local_names.h"

namespace {

using namespace cordon;

void require(bool claim) {
  if (!claim) std::abort();
}

void check_name(const DnsName& name) {
  require(!name.wire().empty() && name.wire().size() <= kLongestDnsName);
  require(name.wire().back() == 0);
  const std::string text = name.to_string();
  require(!text.empty() && text.size() <= 1003);
  for (const char character : text) require(character > ' ' && character < 0x7f);
  require(name.lower_case() == name && name.ends_with(name) && name.ends_with(DnsName()));
  std::size_t offset = 0;
  // What was read reads again from its uncompressed form.
  const std::optional<DnsName> again = DnsName::read(name.wire(), offset);
  require(again == name && offset == name.wire().size());
  if (text.find('\\') == std::string::npos) require(DnsName::parse(text) == name);
  const std::optional<IpAddress> address = name.to_address();
  if (address) require(DnsName::of_address(*address) == name);
}

void check_records(Bytes message) {
  DnsRecords records(message);
  std::size_t count = 0;
  std::size_t last = records.offset();
  while (const std::optional<DnsRecord> record = records.next()) {
    check_name(record->name);
    require(records.offset() > last && records.offset() <= message.size());
    require(record->data_offset + record->data.size() == records.offset());
    last = records.offset();
    ++count;
  }
  const std::optional<DnsHeader> header = read_dns_header(message);
  if (!records.is_at_end()) return;
  require(is_whole_dns_message(message));
  require(header && count == std::size_t{header->answer_count} + header->authority_count +
                                 header->additional_count);
}

// An answer that was written is whole, fits, and answers the query.
void check_answer(Bytes query, Bytes answer, std::size_t room) {
  if (answer.empty()) return;
  require(answer.size() <= room);
  require(is_whole_dns_message(answer));
  require(answers_dns_query(query, answer));
}

void check_query(Bytes message, const DnsQuery& query, std::size_t room) {
  check_name(query.question.name);
  require(query.udp_limit() >= 512);
  require(is_whole_dns_message(message));
  std::vector<std::uint8_t> out(room);
  const std::array addresses{IpAddress::v4({198, 51, 100, 7}), IpAddress::v6({0x20, 0x01, 0x0d})};
  const DnsName pointer = DnsName::parse("host.cordon.internal").value_or(DnsName());
  const std::array replies{
      DnsReply{.rcode = DnsRcode::kNxDomain, .extended_error = DnsExtendedError::kFiltered},
      DnsReply{.rcode = DnsRcode::kServFail},
      DnsReply{.rcode = refuse_dns_query(query).value_or(DnsRcode::kNoError)},
      DnsReply{.addresses = addresses, .pointer = &pointer, .ttl = 60},
  };
  for (const DnsReply& reply : replies) {
    const std::size_t octets = write_dns_reply(query, reply, out);
    check_answer(message, Bytes(out).first(octets), room);
    require(octets > 0 || room < 12 + query.question.name.wire().size() + 4);
  }
  const LinkFamily link{.subnet = Prefix(IpAddress::v4({10, 0, 2, 0}), 24),
                        .guest = IpAddress::v4({10, 0, 2, 15}),
                        .gateway = IpAddress::v4({10, 0, 2, 2}),
                        .resolver = IpAddress::v4({10, 0, 2, 3}),
                        .host_door = IpAddress::v4({10, 0, 2, 4})};
  const LocalNames names(std::span(&link, 1));
  if (const std::optional<LocalAnswer> local = names.answer(query.question)) {
    const std::size_t octets = write_dns_reply(query, local->reply(), out);
    check_answer(message, Bytes(out).first(octets), room);
  }
  // The query that goes upstream asks the same and carries nothing else of the guest's.
  std::array<std::uint8_t, 512> upstream{};
  const std::size_t octets = write_dns_query(query.header.id, query, 1232, upstream);
  require(octets == 12 + query.question.name.wire().size() + 4 + 11);
  const auto rebuilt = parse_dns_query(Bytes(upstream).first(octets));
  require(rebuilt && rebuilt->question == query.question && rebuilt->edns);
  require(
      std::ranges::equal(rebuilt->question.name.wire(), query.question.name.lower_case().wire()));
}

void check_response(Bytes message, std::size_t room) {
  std::vector<std::uint8_t> out(room);
  const std::size_t octets = truncate_dns_response(message, out);
  if (octets == 0) return;
  const Bytes cut = Bytes(out).first(octets);
  require(octets <= message.size() && is_whole_dns_message(cut));
  require(read_dns_header(cut)->is_truncated);
}

// An upstream's response, read for the name and rewritten for a guest who asked for what it is
// about.
void check_upstream_response(Bytes message, std::size_t room) {
  const std::optional<DnsHeader> header = read_dns_header(message);
  if (!header || header->question_count != 1 || !is_whole_dns_message(message)) return;
  std::size_t offset = kDnsHeaderOctets;
  const std::optional<DnsName> name = DnsName::read(message, offset);
  if (!name) return;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const DnsAddresses found = read_dns_addresses(message, *name, family);
    require(found.count <= DnsAddresses::kMost);
    require((found.outcome == DnsAddresses::Outcome::kFound) == (found.count > 0));
    for (const IpAddress& address : found.all()) require(address.family() == family);
  }
  std::vector<std::uint8_t> out(room);
  for (const std::uint16_t type :
       {dns_type::kMx, dns_type::kSrv, dns_type::kTxt, dns_type::kNs, dns_type::kPtr}) {
    DnsQuery query;
    query.header.id = header->id;
    query.question = {.name = *name, .type = type};
    if (room % 2 == 0) query.edns = DnsEdns{};
    const std::size_t octets = copy_dns_answers(query, message, out);
    require(octets <= room);
    if (octets == 0) continue;
    const Bytes copy = Bytes(out).first(octets);
    require(is_whole_dns_message(copy));
    DnsRecords records(copy);
    while (const std::optional<DnsRecord> record = records.next()) {
      require(record->type == type || record->type == dns_type::kOpt);
      require(record->type == dns_type::kOpt || record->name == *name);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t room = (std::size_t{data[0]} << 8 | data[1]) % 1500;
  const Bytes message(data + 2, size - 2);
  check_records(message);
  check_response(message, room);
  check_upstream_response(message, room);
  const auto query = parse_dns_query(message);
  if (query) {
    check_query(message, *query, room);
    return 0;
  }
  std::vector<std::uint8_t> out(room);
  const std::size_t octets = write_dns_fault(message, query.error(), out);
  require(octets == 0 || octets == kDnsHeaderOctets);
  if (query.error() == DnsFault::kIgnored) require(octets == 0);
  return 0;
}
