// Budgets: how much a rule lets pass, and how much passes in all. Octets up and down, octets a
// second, flows at one time, an end. Counted for all flows of a rule together, where the octets
// move; a flow that nothing limits costs a comparison.
//
//   account    what one rule's limits have been used for; account 0 is that of everything
//   may_open   asked before a flow is dialled; join and leave count those that live
//   grant      how many octets a stream may take from its source now, exact to the octet; spend
//              says how many it took
//   take       both for datagrams, which pass whole or not at all. Nobody waits with a datagram:
//   one
//              that comes too early for the rate is lost, as on any link that is too slow
//   over       a rule's time has passed: its flows are judged again (on_deadline() tells), and end
//
// A rate is a token bucket that holds kRateBurst of octets: whoever finds it empty is told when to
// come again, and nobody sleeps. Octets of both ways count against one rate. A datagram may take
// more than there is, so that none is too long for a rate, and the next one waits for what it owes.
//
// A new policy keeps what was used by the rules that it still has: those of one text from one file,
// wherever in it they stand. Rules that one entry of a policy file was taken apart into, for it has
// several destinations, share an account.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "netstack/base/time.h"
#include "netstack/policy/policy.h"

namespace cordon {

/// What of a budget may be used at once: a second's tenth.
inline constexpr Duration kRateBurst = std::chrono::milliseconds(100);
/// A bucket of less than this would cut datagrams and small answers to pieces.
inline constexpr std::uint64_t kMinRateBurst = 16384;
/// Whoever waits for a rate waits for so much of it, so that it is not woken for single octets.
inline constexpr Duration kRateQuantum = std::chrono::milliseconds(20);

/// Whose budget a flow uses beside everybody's; 0: nobody's.
struct BudgetAccount {
  std::uint32_t index = 0;
  friend bool operator==(BudgetAccount, BudgetAccount) = default;
};

enum class Way : std::uint8_t { kUp, kDown };

/// What a stream may do now.
struct Grant {
  std::uint64_t octets = 0;  // may be taken
  Instant again = kNever;    // 0 octets for the rate: when there will be some
  bool is_used_up = false;   // 0 octets for good
};

/// What was used up, and whose it was.
struct UsedUp {
  Limit limit = Limit::kNone;
  bool is_of_rule = false;  // else everything's
};

/// What passes of a datagram, or of a train: its first whole ones.
struct Taken {
  bool passes = true;  // false: not even an empty one
  std::uint64_t octets = 0;
  UsedUp used_up;  // by what the rest was held back; no limit: it came too early for the rate
};

class Budgets {
 public:
  /// `start`: what ends are counted from.
  Budgets(Instant start, const Policy& policy);

  /// Another policy, and another count of everything's limits.
  void set_policy(Instant now, const Policy& policy);

  [[nodiscard]] BudgetAccount account_of(std::optional<std::uint32_t> rule) const;

  /// Whether anything has a limit at all.
  [[nodiscard]] bool is_limited() const { return is_limited_; }
  /// Whether a flow's octets, or its time, are bounded: somebody has to count them as they move.
  [[nodiscard]] bool bounds_octets(BudgetAccount account) const;
  /// Whether one more flow may begin.
  [[nodiscard]] bool may_open(BudgetAccount account) const;
  /// Whether flows that live may go on: the account's time is not over.
  [[nodiscard]] bool may_go_on(BudgetAccount account) const;
  void join(BudgetAccount account);
  void leave(BudgetAccount account);

  [[nodiscard]] Grant grant(Instant now, BudgetAccount account, Way way);
  void spend(BudgetAccount account, Way way, std::uint64_t octets);
  /// What may pass of a datagram of `octets`, or of a train of datagrams of `segment` octets each
  /// (not 0); it is counted.
  [[nodiscard]] Taken take(Instant now, BudgetAccount account, Way way, std::uint64_t octets,
                           std::uint64_t segment = 0);
  /// Why may_open() says no, or grant() that it is used up.
  [[nodiscard]] UsedUp used_up(BudgetAccount account) const;

  /// When the next account's time is over.
  [[nodiscard]] Instant next_deadline() const { return next_end_; }
  /// True where an account's time has just passed: living flows are to be judged again.
  [[nodiscard]] bool on_deadline(Instant now);

 private:
  // Octets that come in at a rate. What has come in is counted when somebody asks. Below zero: what
  // a datagram took before it was there.
  struct Rate {
    std::int64_t level = 0;
    Instant last{};
  };
  struct Account {
    RuleLimits limits;
    std::string key;  // what a later policy's rule has to have in common
    bool is_over = false;
    std::uint32_t flows = 0;
    std::uint64_t up = 0;
    std::uint64_t down = 0;
    Rate rate;
  };

  void index_rules(Instant now, std::span<const Rule> rules);
  using FreeAccounts = std::set<std::pair<std::string, std::uint32_t>>;
  std::uint32_t account_for(std::string key, FreeAccounts& free);
  void set_limits(Instant now, Account& account, const RuleLimits& limits);
  void find_next_end(Instant now);
  [[nodiscard]] bool is_over(Instant now, const Account& account) const;
  template <class Check>
  [[nodiscard]] bool all_of(BudgetAccount account, Check check) const;
  static Grant grant_of(Instant now, Account& account, Way way);
  static Taken take_of(Instant now, Account& account, Way way, std::uint64_t octets,
                       std::uint64_t segment);
  [[nodiscard]] static std::uint64_t left(const Account& account, Way way);
  [[nodiscard]] static Limit limit_of(const Account& account);
  static void fill(Instant now, Account& account);

  Instant start_;
  std::vector<Account> accounts_;       // the first is everything's
  std::vector<std::uint32_t> of_rule_;  // by rule; 0: none
  bool is_limited_ = false;             // anything at all
  Instant next_end_ = kNever;
};

}  // namespace cordon
