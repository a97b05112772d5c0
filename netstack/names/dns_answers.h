// What a response says, for those who need more than to pass it on: the addresses of a name with
// its aliases followed, and the records of one type rewritten so that nothing else of the response
// reaches the guest. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "netstack/address/ip_address.h"
#include "netstack/base/bytes.h"
#include "netstack/names/dns_message.h"

namespace cordon {

struct DnsAddresses {
  static constexpr std::size_t kMost = 16;

  enum class Outcome : std::uint8_t {
    kFound,   // at least one address
    kNoData,  // the name is there, without an address of this family
    kNoName,  // NXDOMAIN
    kFailed,  // any other code, or a chain of aliases that is too long or goes round
  };
  Outcome outcome = Outcome::kFailed;
  std::array<IpAddress, kMost> addresses{};  // each once, in the response's order
  std::size_t count = 0;
  std::uint32_t ttl = 0;  // seconds: the least of all records that led here

  [[nodiscard]] std::span<const IpAddress> all() const { return std::span(addresses).first(count); }
};

/// The addresses of `name` in a whole response to a question for its A (`family` IPv4) or AAAA
/// records: those of the name itself or of what at most kMaxAliases CNAME records lead to. Records
/// of other names are not looked at. Addresses beyond kMost are left out.
[[nodiscard]] DnsAddresses read_dns_addresses(Bytes response, const DnsName& name, Family family);

/// An answer to `query` with the records of the type it asks for out of the answer section of
/// `response`, aliases followed, under the name that was asked for; no other section, no other
/// record. Names in the data are written out where they may be compressed. 0 where not even header
/// and question fit; what does not fit as a whole is left out and the answer marked truncated.
/// Beyond 64 records the rest is left out.
[[nodiscard]] std::size_t copy_dns_answers(const DnsQuery& query, Bytes response, MutableBytes out);

}  // namespace cordon
