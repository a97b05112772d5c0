#include "netstack/names/local_names.h"

#include <algorithm>

namespace cordon {
namespace {

// As long as the sandbox lives the answers do not change; a client that caches them asks less.
constexpr std::uint32_t kTtlSeconds = 300;

constexpr std::string_view kZone = "cordon.internal";
constexpr std::string_view kLocalhost = "localhost";

DnsName name_of(std::string_view text) { return DnsName::parse(text).value_or(DnsName()); }

bool is_loopback_v4(const IpAddress& address) { return address.is_v4() && address.is_loopback(); }

}  // namespace

DnsReply LocalAnswer::reply() const {
  return {.rcode = rcode,
          .addresses = std::span(addresses).first(address_count),
          .pointer = pointer,
          .ttl = kTtlSeconds};
}

LocalNames::LocalNames(std::span<const LinkFamily> links) : zone_(name_of(kZone)) {
  add_address(kLocalhost, IpAddress::v4({127, 0, 0, 1}));
  add_address(kLocalhost, IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}));
  for (const LinkFamily& link : links) {
    subnets_.push_back(link.subnet);
    add_address("host.cordon.internal", link.host_door);
    add_address("gateway.cordon.internal", link.gateway);
    add_address("resolver.cordon.internal", link.resolver);
    add_address("guest.cordon.internal", link.guest);
  }
}

void LocalNames::add_address(std::string_view name, const IpAddress& address) {
  const DnsName wanted = name_of(name);
  auto entry = std::ranges::find(entries_, wanted, &Entry::name);
  if (entry == entries_.end()) entry = entries_.insert(entry, Entry{.name = wanted});
  if (entry->address_count == entry->addresses.size()) return;
  entry->addresses[entry->address_count++] = address;
}

std::optional<LocalAnswer> LocalNames::answer_name(const DnsName& name) const {
  const auto answer_of = [](const Entry& entry) {
    return LocalAnswer{.addresses = entry.addresses, .address_count = entry.address_count};
  };
  if (name.ends_with(entries_[0].name)) return answer_of(entries_[0]);
  if (!name.ends_with(zone_)) return std::nullopt;
  const auto entry = std::ranges::find(entries_, name, &Entry::name);
  if (entry != entries_.end()) return answer_of(*entry);
  // The zone's own name exists, without an address.
  return LocalAnswer{.rcode = name == zone_ ? DnsRcode::kNoError : DnsRcode::kNxDomain};
}

std::optional<LocalAnswer> LocalNames::answer_pointer(const IpAddress& address) const {
  for (const Entry& entry : entries_) {
    const std::span known = std::span(entry.addresses).first(entry.address_count);
    if (std::ranges::find(known, address) != known.end())
      return LocalAnswer{.pointer = &entry.name};
  }
  const bool is_ours =
      is_loopback_v4(address) ||
      std::ranges::any_of(subnets_, [&](const Prefix& s) { return s.contains(address); });
  if (is_ours) return LocalAnswer{.rcode = DnsRcode::kNxDomain};
  return std::nullopt;
}

std::optional<LocalAnswer> LocalNames::answer(const DnsQuestion& question) const {
  if (question.question_class != kDnsClassIn) return std::nullopt;
  const std::optional<IpAddress> address = question.name.to_address();
  return address ? answer_pointer(*address) : answer_name(question.name);
}

}  // namespace cordon
