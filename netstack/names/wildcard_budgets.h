// Wildcard budgets: how many names under one wildcard rule may be asked for in a minute.
//
// Whoever serves a suffix sees every name that is asked for under it, so a wildcard is a way out
// for what a guest writes into labels. A name counts from the moment it was asked for until
// kWildcardWindow later, once however often it is asked; past so many names, or past
// kWildcardOctetsPerMinute of labels before the suffix, no new one is asked for until an old one
// stops counting. Names that rules write out in full are not counted.
//
// State: the names that count, by hash, in the order in which they came; and for each suffix how
// many there are. Both bounded; where there is no room, the answer is no.
#pragma once

#include "netstack/base/siphash.h"
#include "netstack/flow/limits.h"
#include "netstack/flow/table.h"
#include "netstack/policy/name_pattern.h"

namespace cordon {

class WildcardBudgets {
 public:
  explicit WildcardBudgets(const SipKey& key);

  /// Whether `name`, which `pattern` matches, may be asked for now; then it counts.
  [[nodiscard]] bool take(Instant now, const NamePattern& pattern, const DnsName& name,
                          std::uint32_t names_per_minute);

  /// Names stop counting; the deadline is for whoever wants memory back in time, take() does not
  /// need it.
  void expire(Instant now);

 private:
  struct SuffixKey {
    std::uint64_t suffix = 0;
    [[nodiscard]] std::uint64_t hash(const SipKey& /*key*/) const { return suffix; }
    friend bool operator==(const SuffixKey&, const SuffixKey&) = default;
  };
  struct NameKeyed {
    std::uint64_t suffix = 0;
    std::uint64_t name = 0;
    [[nodiscard]] std::uint64_t hash(const SipKey& /*key*/) const { return suffix ^ name; }
    friend bool operator==(const NameKeyed&, const NameKeyed&) = default;
  };
  struct Suffix {
    std::uint32_t names = 0;
    std::uint32_t octets = 0;
  };
  struct Name {
    FlowId suffix;
    std::uint32_t octets = 0;
  };

  SipKey key_;  // of the hashes that stand for names
  FlowTable<SuffixKey, Suffix, 1> suffixes_;
  FlowTable<NameKeyed, Name, 1> names_;
};

}  // namespace cordon
