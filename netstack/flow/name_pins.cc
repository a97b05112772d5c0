#include "netstack/flow/name_pins.h"

#include <algorithm>

#include "netstack/flow/timeouts.h"

namespace cordon {

NamePins::NamePins(const SipKey& key) : addresses_(kMaxPinnedAddresses, key) {}

void NamePins::pin(Instant now, const IpAddress& address, const DnsName& name, Duration ttl) {
  const AddressKey key{.address = address};
  std::optional<FlowId> id = addresses_.find(key);
  if (!id) {
    if (addresses_.size() == addresses_.capacity()) addresses_.erase(*addresses_.oldest(0));
    id = addresses_.insert(key, 0, now);
    if (!id) return;
  }
  addresses_.touch(*id, 0, now);
  Names& names = *addresses_.get(*id);
  const Pin fresh{.name = &name, .until = now + std::max(ttl, kNamePin)};
  const std::span known = std::span(names.pins).first(names.count);
  const auto same = std::ranges::find(known, fresh.name, &Pin::name);
  if (same != known.end()) {
    same->until = std::max(same->until, fresh.until);
  } else if (names.count < names.pins.size()) {
    names.pins[names.count++] = fresh;
  } else {
    *std::ranges::min_element(known, {}, &Pin::until) = fresh;
  }
}

std::span<const NamePins::Pin> NamePins::at(const IpAddress& address) const {
  const std::optional<FlowId> id = addresses_.find(AddressKey{.address = address});
  if (!id) return {};
  const Names& names = *addresses_.get(*id);
  return std::span(names.pins).first(names.count);
}

}  // namespace cordon
