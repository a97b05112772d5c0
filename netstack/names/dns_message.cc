#include "netstack/names/dns_message.h"

#include <algorithm>
#include <initializer_list>

#include "netstack/wire/endian.h"

namespace cordon {
namespace {

constexpr std::uint16_t kResponseBit = 0x8000;
constexpr std::uint16_t kAuthoritativeBit = 0x0400;
constexpr std::uint16_t kTruncatedBit = 0x0200;
constexpr std::uint16_t kRecursionDesiredBit = 0x0100;
constexpr std::uint16_t kRecursionAvailableBit = 0x0080;
constexpr std::uint16_t kCheckingDisabledBit = 0x0010;
constexpr std::uint32_t kDnssecOkBit = 0x8000;
constexpr std::uint16_t kExtendedErrorOption = 15;  // RFC 8914 section 2
constexpr std::uint16_t kOurUdpOctets = 1232;  // DNS flag day 2020: fits any IPv6 path unfragmented
constexpr std::uint16_t kPointerToQuestion = 0xc000 | kDnsHeaderOctets;

struct HeaderWire {
  Be16 id;
  Be16 flags;
  std::array<Be16, 4> counts;
};
static_assert(sizeof(HeaderWire) == kDnsHeaderOctets);

// The fixed part of a record, behind its name (RFC 1035 4.1.3).
struct RecordWire {
  Be16 type;
  Be16 record_class;
  Be32 ttl;
  Be16 data_octets;
};
static_assert(sizeof(RecordWire) == 10);

struct QuestionWire {
  Be16 type;
  Be16 question_class;
};
static_assert(sizeof(QuestionWire) == 4);

std::optional<DnsQuestion> read_question(Bytes message, std::size_t& offset) {
  std::size_t at = offset;
  const std::optional<DnsName> name = DnsName::read(message, at);
  if (!name) return std::nullopt;
  const auto fixed = load<QuestionWire>(message.subspan(at));
  if (!fixed) return std::nullopt;
  offset = at + sizeof(QuestionWire);
  return DnsQuestion{
      .name = *name, .type = fixed->type.get(), .question_class = fixed->question_class.get()};
}

// The options of an OPT record must fill it exactly (RFC 6891 section 6.1.2).
bool has_whole_options(Bytes data) {
  while (!data.empty()) {
    const auto head = load<std::array<Be16, 2>>(data);
    if (!head) return false;
    const std::size_t octets = sizeof(*head) + (*head)[1].get();
    if (data.size() < octets) return false;
    data = data.subspan(octets);
  }
  return true;
}

std::optional<DnsEdns> read_opt(const DnsRecord& record) {
  if (!record.name.is_root() || !has_whole_options(record.data)) return std::nullopt;
  return DnsEdns{.udp_octets = std::max(record.record_class, kDnsPlainUdpOctets),
                 .version = static_cast<std::uint8_t>(record.ttl >> 16),
                 .is_dnssec_ok = (record.ttl & kDnssecOkBit) != 0};
}

// Appends to a buffer; what does not fit is not written at all, and is_full() says so from then on.
class Writer {
 public:
  explicit Writer(MutableBytes out) : out_(out) {}

  void put(Bytes octets) {
    is_full_ = is_full_ || out_.size() - size_ < octets.size();
    if (is_full_) return;
    std::ranges::copy(octets, out_.begin() + static_cast<std::ptrdiff_t>(size_));
    size_ += octets.size();
  }
  template <class T>
  void put_wire(const T& value) {
    is_full_ = is_full_ || !store(out_.subspan(size_), value);
    if (!is_full_) size_ += sizeof(T);
  }
  // Back to an earlier size, and room again.
  void cut(std::size_t size) {
    size_ = size;
    is_full_ = false;
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool is_full() const { return is_full_; }

 private:
  MutableBytes out_;
  std::size_t size_ = 0;
  bool is_full_ = false;
};

std::uint16_t reply_flags(const DnsHeader& query, DnsRcode rcode) {
  auto flags = static_cast<std::uint16_t>(kResponseBit | kRecursionAvailableBit);
  flags = static_cast<std::uint16_t>(flags | (query.opcode << 11));
  if (query.is_recursion_desired) flags |= kRecursionDesiredBit;
  if (query.is_checking_disabled) flags |= kCheckingDisabledBit;
  return static_cast<std::uint16_t>(flags | (static_cast<unsigned>(rcode) & 0xf));
}

void put_question(Writer& writer, const DnsName& name, const DnsQuestion& question) {
  writer.put(name.wire());
  writer.put_wire(
      QuestionWire{.type = Be16(question.type), .question_class = Be16(question.question_class)});
}

void put_opt(Writer& writer, std::uint16_t udp_octets, bool is_dnssec_ok, unsigned rcode,
             const std::optional<DnsExtendedError>& error) {
  const std::uint32_t upper_rcode = std::uint32_t{rcode >> 4} << 24;
  const std::uint16_t option_octets = error ? 6 : 0;
  writer.put(DnsName().wire());
  writer.put_wire(RecordWire{.type = Be16(dns_type::kOpt),
                             .record_class = Be16(udp_octets),
                             .ttl = Be32(upper_rcode | (is_dnssec_ok ? kDnssecOkBit : 0)),
                             .data_octets = Be16(option_octets)});
  if (!error) return;
  writer.put_wire(Be16(kExtendedErrorOption));
  writer.put_wire(Be16(2));
  writer.put_wire(Be16(static_cast<std::uint16_t>(*error)));
}

void put_record(Writer& writer, std::uint16_t type, std::uint32_t ttl,
                std::initializer_list<Bytes> data) {
  std::size_t octets = 0;
  for (const Bytes piece : data) octets += piece.size();
  writer.put_wire(Be16(kPointerToQuestion));
  writer.put_wire(RecordWire{.type = Be16(type),
                             .record_class = Be16(kDnsClassIn),
                             .ttl = Be32(ttl),
                             .data_octets = Be16(static_cast<std::uint16_t>(octets))});
  for (const Bytes piece : data) writer.put(piece);
}

// Returns how many records were written.
std::uint16_t put_answers(Writer& writer, const DnsQuery& query, const DnsReply& reply) {
  std::uint16_t count = 0;
  for (const IpAddress& address : reply.addresses) {
    const std::uint16_t type = address.is_v4() ? dns_type::kA : dns_type::kAaaa;
    if (query.question.type != type) continue;
    put_record(writer, type, reply.ttl, {address.octets()});
    ++count;
  }
  if (reply.pointer != nullptr && query.question.type == dns_type::kPtr) {
    put_record(writer, dns_type::kPtr, reply.ttl, {reply.pointer->wire()});
    ++count;
  }
  for (const DnsReplyRecord& record : reply.records) {
    const auto wire_of = [](const std::optional<DnsName>& name) {
      return name ? name->wire() : Bytes();
    };
    put_record(writer, record.type, record.ttl,
               {record.data, wire_of(record.names[0]), wire_of(record.names[1]), record.tail});
    ++count;
  }
  return count;
}

}  // namespace

std::optional<DnsHeader> read_dns_header(Bytes message) {
  const auto wire = load<HeaderWire>(message);
  if (!wire) return std::nullopt;
  const std::uint16_t flags = wire->flags.get();
  return DnsHeader{.id = wire->id.get(),
                   .is_response = (flags & kResponseBit) != 0,
                   .opcode = static_cast<std::uint8_t>((flags >> 11) & 0xf),
                   .is_authoritative = (flags & kAuthoritativeBit) != 0,
                   .is_truncated = (flags & kTruncatedBit) != 0,
                   .is_recursion_desired = (flags & kRecursionDesiredBit) != 0,
                   .is_recursion_available = (flags & kRecursionAvailableBit) != 0,
                   .is_checking_disabled = (flags & kCheckingDisabledBit) != 0,
                   .rcode = static_cast<std::uint8_t>(flags & 0xf),
                   .question_count = wire->counts[0].get(),
                   .answer_count = wire->counts[1].get(),
                   .authority_count = wire->counts[2].get(),
                   .additional_count = wire->counts[3].get()};
}

std::expected<DnsQuery, DnsFault> parse_dns_query(Bytes message) {
  const std::optional<DnsHeader> header = read_dns_header(message);
  if (!header || header->is_response) return std::unexpected(DnsFault::kIgnored);
  if (header->opcode != 0) return std::unexpected(DnsFault::kNotImp);
  // RFC 9619: a query has one question. Its other sections are empty but for the additional one.
  const bool has_form = header->question_count == 1 && header->answer_count == 0 &&
                        header->authority_count == 0 && !header->is_truncated &&
                        message.size() <= kLongestDnsMessage;
  if (!has_form) return std::unexpected(DnsFault::kFormErr);
  DnsQuery query{.header = *header};
  std::size_t offset = kDnsHeaderOctets;
  const std::optional<DnsQuestion> question = read_question(message, offset);
  if (!question) return std::unexpected(DnsFault::kFormErr);
  query.question = *question;
  DnsRecords records(message);
  while (const std::optional<DnsRecord> record = records.next()) {
    if (record->type != dns_type::kOpt) continue;
    // RFC 6891 section 6.1.1: more than one is a format error.
    if (query.edns) return std::unexpected(DnsFault::kFormErr);
    query.edns = read_opt(*record);
    if (!query.edns) return std::unexpected(DnsFault::kFormErr);
  }
  if (!records.is_at_end()) return std::unexpected(DnsFault::kFormErr);
  return query;
}

std::optional<DnsRcode> refuse_dns_query(const DnsQuery& query) {
  if (query.edns && query.edns->version != 0) return DnsRcode::kBadVers;
  const std::uint16_t type = query.question.type;
  const bool is_plain = query.question.question_class == kDnsClassIn && type != dns_type::kAny &&
                        type != dns_type::kAxfr && type != dns_type::kIxfr &&
                        type != dns_type::kOpt;
  if (!is_plain) return DnsRcode::kNotImp;
  return std::nullopt;
}

DnsRecords::DnsRecords(Bytes message) : message_(message) {
  const std::optional<DnsHeader> header = read_dns_header(message);
  is_broken_ = !header;
  if (!header) return;
  offset_ = kDnsHeaderOctets;
  for (std::uint16_t i = 0; i < header->question_count && !is_broken_; ++i) {
    is_broken_ = !read_question(message_, offset_);
  }
  left_ = std::uint32_t{header->answer_count} + header->authority_count + header->additional_count;
}

std::optional<DnsRecord> DnsRecords::next() {
  if (is_broken_ || left_ == 0) return std::nullopt;
  is_broken_ = true;
  std::size_t at = offset_;
  const std::optional<DnsName> name = DnsName::read(message_, at);
  if (!name) return std::nullopt;
  const auto fixed = load<RecordWire>(message_.subspan(at));
  if (!fixed) return std::nullopt;
  at += sizeof(RecordWire);
  const std::size_t data_octets = fixed->data_octets.get();
  if (message_.size() - at < data_octets) return std::nullopt;
  is_broken_ = false;
  --left_;
  offset_ = at + data_octets;
  return DnsRecord{.name = *name,
                   .type = fixed->type.get(),
                   .record_class = fixed->record_class.get(),
                   .ttl = fixed->ttl.get(),
                   .data = message_.subspan(at, data_octets),
                   .data_offset = at};
}

bool answers_dns_query(Bytes query, Bytes response) {
  const std::optional<DnsHeader> asked = read_dns_header(query);
  const std::optional<DnsHeader> answered = read_dns_header(response);
  if (!asked || !answered || asked->is_response || !answered->is_response) return false;
  if (asked->id != answered->id || asked->opcode != answered->opcode) return false;
  if (asked->question_count != 1 || answered->question_count != 1) return false;
  std::size_t query_offset = kDnsHeaderOctets;
  std::size_t response_offset = kDnsHeaderOctets;
  const std::optional<DnsQuestion> question = read_question(query, query_offset);
  return question && question == read_question(response, response_offset);
}

bool is_whole_dns_message(Bytes message) {
  DnsRecords records(message);
  while (records.next()) {
  }
  return records.is_at_end();
}

std::size_t write_dns_reply(const DnsQuery& query, const DnsReply& reply, MutableBytes out) {
  Writer writer(out.first(std::min(out.size(), kLongestDnsMessage)));
  HeaderWire header{.id = Be16(query.header.id)};
  std::uint16_t flags = reply_flags(query.header, reply.rcode);
  writer.put_wire(header);
  put_question(writer, query.question.name, query.question);
  if (writer.is_full()) return 0;
  const std::size_t question_end = writer.size();
  std::uint16_t answers = put_answers(writer, query, reply);
  const auto put_edns = [&] {
    if (query.edns) {
      put_opt(writer, kOurUdpOctets, query.edns->is_dnssec_ok, static_cast<unsigned>(reply.rcode),
              reply.extended_error);
    }
  };
  put_edns();
  bool has_opt = query.edns.has_value();
  if (writer.is_full()) {
    answers = 0;
    flags |= kTruncatedBit;
    writer.cut(question_end);
    put_edns();
    if (writer.is_full()) {
      has_opt = false;
      writer.cut(question_end);
    }
  }
  header.flags = Be16(flags);
  header.counts = {Be16(1), Be16(answers), Be16(0), Be16(has_opt ? 1 : 0)};
  (void)store(out, header);  // It has been written there before: it fits.
  return writer.size();
}

std::size_t write_dns_fault(Bytes query, DnsFault fault, MutableBytes out) {
  const std::optional<DnsHeader> header = read_dns_header(query);
  if (!header || header->is_response || fault == DnsFault::kIgnored) return 0;
  const DnsRcode rcode = fault == DnsFault::kNotImp ? DnsRcode::kNotImp : DnsRcode::kFormErr;
  const HeaderWire wire{.id = Be16(header->id), .flags = Be16(reply_flags(*header, rcode))};
  return store(out, wire) ? sizeof(wire) : 0;
}

std::size_t write_dns_query(std::uint16_t id, const DnsQuery& query, std::uint16_t udp_octets,
                            MutableBytes out) {
  std::uint16_t flags = kRecursionDesiredBit;
  if (query.header.is_checking_disabled) flags |= kCheckingDisabledBit;
  Writer writer(out);
  writer.put_wire(HeaderWire{
      .id = Be16(id), .flags = Be16(flags), .counts = {Be16(1), Be16(0), Be16(0), Be16(1)}});
  put_question(writer, query.question.name.lower_case(), query.question);
  const bool is_dnssec_ok = query.edns && query.edns->is_dnssec_ok;
  put_opt(writer, udp_octets, is_dnssec_ok, 0, std::nullopt);
  return writer.is_full() ? 0 : writer.size();
}

std::size_t truncate_dns_response(Bytes response, MutableBytes out) {
  const auto wire = load<HeaderWire>(response);
  if (!wire || (wire->flags.get() & kResponseBit) == 0 || wire->counts[0].get() != 1) return 0;
  std::size_t offset = kDnsHeaderOctets;
  if (!read_question(response, offset) || out.size() < offset) return 0;
  const HeaderWire header{
      .id = wire->id,
      .flags = Be16(static_cast<std::uint16_t>(wire->flags.get() | kTruncatedBit)),
      .counts = {Be16(1), Be16(0), Be16(0), Be16(0)}};
  std::ranges::copy(response.first(offset), out.begin());
  (void)store(out, header);  // Shorter than what has just been copied.
  return offset;
}

void set_dns_id(MutableBytes message, std::uint16_t id) {
  (void)store(message, Be16(id));  // Too short for an id: nothing to write.
}

}  // namespace cordon
