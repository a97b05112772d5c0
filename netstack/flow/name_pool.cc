#include "netstack/flow/name_pool.h"

#include <algorithm>
#include <array>

#include "netstack/flow/limits.h"

namespace cordon {
namespace {

constexpr std::uint32_t kBlock = 256;          // addresses that share their first three octets
constexpr std::uint32_t kUsable = kBlock - 2;  // all but the first and the last

std::size_t capacity_of(const Prefix& v4) {
  const std::uint64_t addresses = std::uint64_t{1} << (32 - std::min(v4.length(), 32U));
  const std::uint64_t usable = addresses >= kBlock
                                   ? addresses / kBlock * kUsable
                                   : addresses - std::min<std::uint64_t>(addresses, 2);
  return std::min<std::uint64_t>(usable, kMaxPooledNames);
}

std::uint32_t host_number(std::uint32_t slot) {
  return slot / kUsable * kBlock + 1 + slot % kUsable;
}

std::optional<std::uint32_t> slot_of_host(std::uint32_t number) {
  const std::uint32_t last = number % kBlock;
  if (last == 0 || last == kBlock - 1) return std::nullopt;
  return number / kBlock * kUsable + last - 1;
}

// The last four octets of an IPv6 address.
std::uint32_t low_number(const IpAddress& address) {
  const Bytes octets = address.octets().last(4);
  return (std::uint32_t{octets[0]} << 24) | (std::uint32_t{octets[1]} << 16) |
         (std::uint32_t{octets[2]} << 8) | std::uint32_t{octets[3]};
}

IpAddress with_low_number(const IpAddress& prefix, std::uint32_t number) {
  std::array<std::uint8_t, 16> octets{};
  std::ranges::copy(prefix.octets(), octets.begin());
  for (std::size_t i = 0; i < 4; ++i) {
    octets[15 - i] = static_cast<std::uint8_t>(number >> (8 * i));
  }
  return IpAddress::v6(octets);
}

}  // namespace

NamePool::NamePool(const Prefix& v4, const Prefix& v6, const SipKey& key)
    : v4_(v4), v6_(v6), names_(capacity_of(v4), key) {}

std::optional<PooledName> NamePool::give(const DnsName& name) {
  const NameKey key{.name = name.lower_case()};
  if (const std::optional<FlowId> known = names_.find(key)) return at(*known);
  const std::optional<FlowId> fresh = names_.insert(key, 0, Instant{});
  if (!fresh) return std::nullopt;
  return at(*fresh);
}

std::optional<PooledName> NamePool::find(const DnsName& name) const {
  const std::optional<FlowId> known = names_.find(NameKey{.name = name.lower_case()});
  if (!known) return std::nullopt;
  return at(*known);
}

PooledName NamePool::at(FlowId slot) const {
  const std::uint32_t number = host_number(slot.index);
  return PooledName{.name = &names_.key_of(slot).name,
                    .v4 = IpAddress::v4(v4_.address().v4_number() + number),
                    .v6 = with_low_number(v6_.address(), number)};
}

bool NamePool::contains(const IpAddress& address) const {
  return address.is_v4() ? v4_.contains(address) : v6_.contains(address);
}

const DnsName* NamePool::name_at(const IpAddress& address) const {
  if (!contains(address)) return nullptr;
  const std::uint32_t number =
      address.is_v4() ? address.v4_number() - v4_.address().v4_number() : low_number(address);
  // An IPv6 address with anything else in front of its number was never given to a name.
  if (address.is_v6() && address != with_low_number(v6_.address(), number)) return nullptr;
  const std::optional<std::uint32_t> slot = slot_of_host(number);
  if (!slot) return nullptr;
  const std::optional<FlowId> found = names_.next_from(*slot);
  return found && found->index == *slot ? &names_.key_of(*found).name : nullptr;
}

}  // namespace cordon
