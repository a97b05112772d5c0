// The names that the resolver answers out of its own head, whatever the policy says, and that never
// reach an upstream:
//
//   localhost, *.localhost                 the loopback addresses (RFC 6761 section 6.3)
//   host.cordon.internal                   the host door
//   gateway., resolver., guest.            the other addresses of the guest's link
//   everything else in cordon.internal     does not exist
//   PTR of the link's own addresses        the names above
//   PTR of the rest of the link's subnets, of 127.0.0.0/8 and of ::1   does not exist, or localhost
//
// For every other question there is no local answer.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "netstack/address/ip_address.h"
#include "netstack/flow/translator_config.h"
#include "netstack/names/dns_message.h"
#include "netstack/wire/dns_name.h"

namespace cordon {

/// An answer in the form of a DnsReply, with storage of its own. `pointer` is owned by the
/// LocalNames.
struct LocalAnswer {
  DnsRcode rcode = DnsRcode::kNoError;
  std::array<IpAddress, 2> addresses{};
  std::size_t address_count = 0;
  const DnsName* pointer = nullptr;

  /// Valid as long as this answer and the LocalNames it came from.
  [[nodiscard]] DnsReply reply() const;
};

class LocalNames {
 public:
  /// One link a family that the guest has.
  explicit LocalNames(std::span<const LinkFamily> links);

  /// Of class IN questions; nullopt: ask an upstream, if the policy lets you.
  [[nodiscard]] std::optional<LocalAnswer> answer(const DnsQuestion& question) const;

 private:
  struct Entry {
    DnsName name;
    std::array<IpAddress, 2> addresses{};
    std::size_t address_count = 0;
  };

  void add_address(std::string_view name, const IpAddress& address);
  [[nodiscard]] std::optional<LocalAnswer> answer_name(const DnsName& name) const;
  [[nodiscard]] std::optional<LocalAnswer> answer_pointer(const IpAddress& address) const;

  std::vector<Entry> entries_;  // localhost first
  std::vector<Prefix> subnets_;
  DnsName zone_;
};

}  // namespace cordon
