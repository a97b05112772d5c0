// The policy of a sandbox that runs: what it was started with or was loaded since, and the rules
// that a person has added meanwhile.
//
// Each change makes a new generation. The translator stamps what it tells with the generation that
// it decided by, and older ones are kept until it has moved on, so that a denial is always told
// with the rule that denied.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "netstack/base/time.h"
#include "netstack/host/policy_snapshot.h"

namespace cordon {

class LivePolicy {
 public:
  explicit LivePolicy(PolicySnapshot base);

  [[nodiscard]] const Policy& current() const { return *policies_.rbegin()->second; }
  [[nodiscard]] std::uint32_t generation() const { return policies_.rbegin()->first; }
  /// The current one where that generation is not known.
  [[nodiscard]] const Policy& of(std::uint32_t generation) const;
  /// The translator decides by `generation` now.
  void moved_on(std::uint32_t generation);
  /// The whole of the current one.
  [[nodiscard]] PolicySnapshot snapshot() const;

  struct Added {
    Rule rule;
    Instant until;  // kNever: for the rest of the run
  };
  void add(Rule rule, Instant until);
  /// Takes back what was added for this action and destination, however often. False: nothing was.
  bool take_back(Action action, const Destination& to);
  /// What was added and still counts.
  [[nodiscard]] std::span<const Added> added() const { return added_; }
  /// What was added stays.
  void replace(PolicySnapshot base);

  [[nodiscard]] Instant next_expiry() const;
  /// Drops the rules whose time is over. True where there were any.
  bool expire(Instant now);

 private:
  void make_generation();

  PolicySnapshot base_;
  std::vector<Added> added_;
  std::map<std::uint32_t, std::unique_ptr<const Policy>> policies_;  // never empty
};

}  // namespace cordon
