// A new policy, made ready beside everything else: a hundred thousand rules take a few tenths of a
// second to be read and indexed, and no packet is to wait for that. So the event loop does a piece
// a turn, and the same with the old policy's rules when they are no longer needed. Policies come
// one after the other, in the order in which they arrived.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "netstack/host/policy_snapshot.h"

namespace cordon {

class PolicyLoader {
 public:
  struct Loaded {
    std::uint32_t generation = 0;
    NameSettings names;
    std::optional<Policy> policy;  // none: it was not understood
  };

  void add(std::uint32_t generation, std::vector<std::uint8_t> octets);
  /// A policy that nobody uses any more.
  void retire(Policy policy) { retired_.push_back(std::move(policy)); }

  /// There is something to do.
  [[nodiscard]] bool is_busy() const { return !waiting_.empty() || loading_ || !retired_.empty(); }
  /// Does a piece of it, of about a millisecond; what has become ready is returned.
  [[nodiscard]] std::optional<Loaded> step();

 private:
  struct Waiting {
    std::uint32_t generation = 0;
    std::vector<std::uint8_t> octets;
  };
  struct Loading {
    std::uint32_t generation = 0;
    NameSettings names;
    std::optional<SnapshotReader> reader;
    std::optional<PolicyBuilder> builder;
  };

  [[nodiscard]] std::optional<Loaded> finish(std::optional<Policy> policy);

  std::deque<Waiting> waiting_;
  std::optional<Loading> loading_;
  std::vector<Policy> retired_;
};

}  // namespace cordon
