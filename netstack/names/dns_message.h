// DNS messages, as far as a resolver that answers some questions and relays the rest needs them
// (RFC 1035, 2181, 6891, 8914, 9619). Pure: octets in, values and octets out, nothing kept, nothing
// allocated.
//
// A guest's query is read strictly: one question, no records but those in the additional section,
// no octet behind the last record. An upstream's response is not taken apart; it is compared with
// the query it must answer and walked once, so that what reaches the guest has the form of a
// message.
//
// Not done here: deciding which names may be asked for, retrying, caching, DNSSEC.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>

#include "netstack/address/ip_address.h"
#include "netstack/base/bytes.h"
#include "netstack/wire/dns_name.h"

namespace cordon {

inline constexpr std::size_t kDnsHeaderOctets = 12;
inline constexpr std::uint16_t kDnsPlainUdpOctets = 512;  // RFC 1035 4.2.1, without EDNS
inline constexpr std::size_t kLongestDnsMessage = 65535;

/// Numbers from the wire are kept as they are: these are the ones with a meaning here.
namespace dns_type {
inline constexpr std::uint16_t kA = 1;
inline constexpr std::uint16_t kNs = 2;
inline constexpr std::uint16_t kCname = 5;
inline constexpr std::uint16_t kSoa = 6;
inline constexpr std::uint16_t kPtr = 12;
inline constexpr std::uint16_t kMinfo = 14;
inline constexpr std::uint16_t kMx = 15;
inline constexpr std::uint16_t kTxt = 16;
inline constexpr std::uint16_t kRp = 17;
inline constexpr std::uint16_t kAfsdb = 18;
inline constexpr std::uint16_t kRt = 21;
inline constexpr std::uint16_t kPx = 26;
inline constexpr std::uint16_t kAaaa = 28;
inline constexpr std::uint16_t kSrv = 33;
inline constexpr std::uint16_t kKx = 36;
inline constexpr std::uint16_t kDname = 39;
inline constexpr std::uint16_t kOpt = 41;
inline constexpr std::uint16_t kSvcb = 64;
inline constexpr std::uint16_t kHttps = 65;
inline constexpr std::uint16_t kIxfr = 251;
inline constexpr std::uint16_t kAxfr = 252;
inline constexpr std::uint16_t kAny = 255;

/// The types that a rule may list beside A and AAAA: NS, SOA, MX, TXT, SRV, NAPTR, DS, SSHFP, TLSA,
/// CAA.
inline constexpr std::array<std::uint16_t, 10> kListable{2, 6, 15, 16, 33, 35, 43, 44, 52, 257};
}  // namespace dns_type
inline constexpr std::uint16_t kDnsClassIn = 1;

enum class DnsRcode : std::uint8_t {
  kNoError = 0,
  kFormErr = 1,
  kServFail = 2,
  kNxDomain = 3,
  kNotImp = 4,
  kRefused = 5,
  kBadVers = 16,  // needs an OPT record for its upper bits, RFC 6891 6.1.3
};

/// Extended DNS errors (RFC 8914 section 4) that are told to the guest.
enum class DnsExtendedError : std::uint16_t { kFiltered = 17, kNoReachableAuthority = 22 };

struct DnsHeader {
  std::uint16_t id = 0;
  bool is_response = false;  // QR
  std::uint8_t opcode = 0;
  bool is_authoritative = false;        // AA
  bool is_truncated = false;            // TC
  bool is_recursion_desired = false;    // RD
  bool is_recursion_available = false;  // RA
  bool is_checking_disabled = false;    // CD, RFC 4035 3.2.2
  std::uint8_t rcode = 0;               // the four bits of the header
  std::uint16_t question_count = 0;
  std::uint16_t answer_count = 0;
  std::uint16_t authority_count = 0;
  std::uint16_t additional_count = 0;
};

struct DnsQuestion {
  DnsName name;
  std::uint16_t type = 0;
  std::uint16_t question_class = kDnsClassIn;
  friend bool operator==(const DnsQuestion&, const DnsQuestion&) = default;
};

/// What an OPT record says (RFC 6891 section 6.1.2).
struct DnsEdns {
  std::uint16_t udp_octets = kDnsPlainUdpOctets;  // never below 512, RFC 6891 6.2.3
  std::uint8_t version = 0;
  bool is_dnssec_ok = false;
};

struct DnsQuery {
  DnsHeader header;
  DnsQuestion question;
  std::optional<DnsEdns> edns;

  /// How many octets of UDP payload an answer may have.
  [[nodiscard]] std::size_t udp_limit() const {
    return edns ? edns->udp_octets : kDnsPlainUdpOctets;
  }
};

/// Why a query cannot be read.
enum class DnsFault : std::uint8_t {
  kIgnored,  // shorter than a header, or a response: no answer, or two resolvers would talk for
             // ever
  kFormErr,
  kNotImp,  // an opcode other than QUERY
};

[[nodiscard]] std::optional<DnsHeader> read_dns_header(Bytes message);
[[nodiscard]] std::expected<DnsQuery, DnsFault> parse_dns_query(Bytes message);

/// The code for a well-formed query that is not for us: BADVERS for an EDNS version other than 0,
/// NOTIMP for a class other than IN and for ANY, AXFR and IXFR.
[[nodiscard]] std::optional<DnsRcode> refuse_dns_query(const DnsQuery& query);

/// One record of a message; `data` points into it.
struct DnsRecord {
  DnsName name;
  std::uint16_t type = 0;
  std::uint16_t record_class = 0;
  std::uint32_t ttl = 0;  // seconds
  Bytes data;
  std::size_t data_offset = 0;  // for names in the data, which may be compressed
};

/// Walks the records of a message in order: answers, authority, additional. After next() said none,
/// is_at_end() tells whether all records were there and nothing stands behind them.
class DnsRecords {
 public:
  /// Starts behind the questions, which are read over.
  explicit DnsRecords(Bytes message);
  [[nodiscard]] std::optional<DnsRecord> next();
  [[nodiscard]] bool is_at_end() const {
    return !is_broken_ && left_ == 0 && offset_ == message_.size();
  }
  /// Where the questions end.
  [[nodiscard]] std::size_t offset() const { return offset_; }

 private:
  Bytes message_;
  std::size_t offset_ = 0;
  std::uint32_t left_ = 0;
  bool is_broken_ = false;
};

/// Whether `response` is an answer to `query`: a response with its id and opcode and the same
/// single question, letters of any case. Both are whole messages as they were sent and received.
[[nodiscard]] bool answers_dns_query(Bytes query, Bytes response);

/// Whether every record lies within the message and nothing stands behind them.
[[nodiscard]] bool is_whole_dns_message(Bytes message);

/// A record of an answer, under the name that was asked for: `data`, the names that stand behind it
/// in the type's data, and what follows them.
struct DnsReplyRecord {
  std::uint16_t type = 0;
  std::uint32_t ttl = 0;  // seconds
  Bytes data;
  std::array<std::optional<DnsName>, 2> names{};
  Bytes tail;
};

/// What to answer. Addresses become A or AAAA records by their family; those that the question's
/// type does not ask for are left out, so that an answer without any is NODATA.
struct DnsReply {
  DnsRcode rcode = DnsRcode::kNoError;
  std::optional<DnsExtendedError> extended_error;  // told only where the query has an OPT record
  std::span<const IpAddress> addresses;
  const DnsName* pointer = nullptr;         // of a PTR answer
  std::uint32_t ttl = 0;                    // seconds, of addresses and pointer
  std::span<const DnsReplyRecord> records;  // with TTLs of their own
};

/// Writes the answer and returns its octets; 0 where not even header and question fit. What does
/// not fit as a whole is left out and the answer marked truncated (RFC 2181 section 9). `out` is
/// cut to the size that the guest takes by the caller.
[[nodiscard]] std::size_t write_dns_reply(const DnsQuery& query, const DnsReply& reply,
                                          MutableBytes out);

/// A header alone, for a query that cannot be read; 0 for kIgnored.
[[nodiscard]] std::size_t write_dns_fault(Bytes query, DnsFault fault, MutableBytes out);

/// A query of our own: recursion desired, the name in lower case, an OPT record with `udp_octets`
/// and the guest's DO bit where there was one.
[[nodiscard]] std::size_t write_dns_query(std::uint16_t id, const DnsQuery& query,
                                          std::uint16_t udp_octets, MutableBytes out);

/// Header and question of a response, marked truncated: what a guest gets over UDP that takes less
/// than the whole. 0 where the response is none, or that does not fit either.
[[nodiscard]] std::size_t truncate_dns_response(Bytes response, MutableBytes out);

/// Writes another id into a message; nothing where it is shorter than that.
void set_dns_id(MutableBytes message, std::uint16_t id);

}  // namespace cordon
