// What a policy is made of, before it is indexed: rules, the default, the mode.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "netstack/address/classes.h"
#include "netstack/policy/destination.h"

namespace cordon {

enum class Action : std::uint8_t { kAllow, kDeny, kAsk };
/// "allow", "deny", "ask".
[[nodiscard]] std::string_view action_name(Action action);

/// What happens to a flow to a public address that no rule is about. Floor classes are denied under
/// each of them.
enum class DefaultAction : std::uint8_t { kDeny, kAllowPublic, kAsk };
/// "deny", "allow-public", "ask".
[[nodiscard]] std::string_view default_action_name(DefaultAction action);

enum class PolicyMode : std::uint8_t {
  kEnforce,
  kReport,  // nothing is denied but said to be (Policy::allow())
  kAsk,     // what the default denies is asked
};
/// "enforce", "report", "ask".
[[nodiscard]] std::string_view mode_name(PolicyMode mode);

/// Budgets of a rule, for all flows that it allows together. 0: none.
struct RuleLimits {
  std::uint64_t up_bytes = 0;    // from the guest
  std::uint64_t down_bytes = 0;  // to the guest
  std::uint64_t bytes_per_second = 0;
  std::uint32_t flows = 0;          // at one time
  std::uint32_t until_seconds = 0;  // since the sandbox's start

  [[nodiscard]] bool is_none() const { return *this == RuleLimits(); }
  friend bool operator==(const RuleLimits&, const RuleLimits&) = default;
};

/// What can be used up. A rate never is: it only slows down.
enum class Limit : std::uint8_t {
  kNone,
  kUp,
  kDown,
  kFlows,
  kTime,
  kNames,  // under one wildcard in a minute
};
/// The key that sets it in a policy file: "up", "down", "flows", "until", "wildcard-budget".
[[nodiscard]] std::string_view limit_name(Limit limit);

struct Rule {
  Destination to;
  Action action = Action::kAllow;
  std::string text;    // as the user wrote it
  std::string origin;  // where it stands: "--allow", "policy.toml:12"
  std::string label;   // the name that the user gave it, or empty
  /// Rules of one entry of one file, for its several destinations, share their limits; 0: a rule by
  /// itself.
  std::uint32_t entry = 0;

  RuleLimits limits;
  bool may_be_private = false;           // an exact name: may resolve to lan or vpn addresses too
  bool needs_tls = false;                // the guest's first octets must be a TLS ClientHello
  std::vector<std::uint16_t> dns_types;  // may be asked for beside A and AAAA

  friend bool operator==(const Rule&, const Rule&) = default;
};

/// The flows that a rule is about, apart from their addresses.
struct RuleReach {
  std::optional<Protocol> protocol;  // nullopt: every one
  PortSet ports;
};
/// A name without a port is tcp/80 and tcp/443 where it is allowed, and everything of that name
/// (of its protocol, where one is given) where it is denied or asked: neither says less than it
/// seems to.
[[nodiscard]] RuleReach reach_of(const Rule& rule);

struct PolicyInput {
  DefaultAction default_action = DefaultAction::kAllowPublic;
  PolicyMode mode = PolicyMode::kEnforce;
  std::vector<Rule> rules;
  std::vector<ClassOverride> overrides;
  RuleLimits limits;  // for all flows together
  /// A rule that allows a name's tcp/443 allows its udp/443 (QUIC) too.
  bool is_quic_by_name = false;
};

}  // namespace cordon
