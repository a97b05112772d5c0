#include "netstack/names/wildcard_budgets.h"

#include "netstack/flow/timeouts.h"

namespace cordon {

WildcardBudgets::WildcardBudgets(const SipKey& key)
    : key_(key), suffixes_(kMaxBudgetedSuffixes, key), names_(kMaxBudgetedNames, key) {}

bool WildcardBudgets::take(Instant now, const NamePattern& pattern, const DnsName& name,
                           std::uint32_t names_per_minute) {
  expire(now);
  const SuffixKey suffix_key{.suffix = siphash(key_, pattern.name.wire())};
  const NameKeyed name_key{.suffix = suffix_key.suffix,
                           .name = siphash(key_, name.lower_case().wire())};
  if (names_.find(name_key)) return true;
  std::optional<FlowId> suffix = suffixes_.find(suffix_key);
  if (!suffix) suffix = suffixes_.insert(suffix_key, 0, now);
  if (!suffix) return false;
  const auto octets = static_cast<std::uint32_t>(name.wire().size() - pattern.name.wire().size());
  Suffix& counted = *suffixes_.get(*suffix);
  const bool has_budget =
      counted.names < names_per_minute && counted.octets + octets <= kWildcardOctetsPerMinute;
  const std::optional<FlowId> id =
      has_budget ? names_.insert(name_key, 0, now) : std::optional<FlowId>();
  if (!id) {
    if (counted.names == 0) suffixes_.erase(*suffix);
    return false;
  }
  *names_.get(*id) = Name{.suffix = *suffix, .octets = octets};
  ++counted.names;
  counted.octets += octets;
  return true;
}

void WildcardBudgets::expire(Instant now) {
  while (names_.deadline(0, kWildcardWindow) <= now) {
    const FlowId id = *names_.oldest(0);
    const Name name = *names_.get(id);
    names_.erase(id);
    Suffix* const suffix = suffixes_.get(name.suffix);
    if (!CORDON_INVARIANT(suffix != nullptr && suffix->names > 0)) continue;
    suffix->octets -= name.octets;
    if (--suffix->names == 0) suffixes_.erase(name.suffix);
  }
}

}  // namespace cordon
