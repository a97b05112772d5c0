// The outbound policy: rules, and the one evaluator that enforcement, `explain` and tests share.
//
// Precedence: floor > deny > allow > default. The order in which rules were given never matters,
// and a more specific allow never beats a deny. Every class but public is a floor class: neither
// the default nor an `@public` rule grants it; only a rule that names the class, the address (or a
// prefix that holds it), or the host door. The floor has one exception that nothing opens:
// 0.0.0.0/8, :: and the host's own addresses are granted by no CIDR rule, only by `@self`.
//
// Beyond the floor, three things are narrower than a prefix that holds them: the metadata addresses
// are granted by `@metadata` or a rule for the one address, multicast by `@multicast` alone, and
// the host door by `host:PORT` rules alone, which in turn match nothing else.
//
// An address that carries an IPv4 address in it (address/classes.h) is denied by a rule that denies
// either; it is allowed only by a rule for itself. Inbound flows pass unless a deny rule without a
// port holds the client: who may connect at all is decided by where the published port is bound.
//
// A Policy is an immutable snapshot. evaluate() is pure, allocates nothing, and gives the same
// answer for the same request.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/policy/destination.h"
#include "netstack/policy/request.h"
#include "netstack/policy/rule_index.h"

namespace cordon {

enum class Action : std::uint8_t { kAllow, kDeny };
enum class DefaultAction : std::uint8_t { kDeny, kAllowPublic };

struct Rule {
  Destination to;
  Action action = Action::kAllow;
  std::string text;    // as the user wrote it
  std::string origin;  // where it stands: "--allow", "policy.toml:12"
};

/// What decided, in the words that a denial and `explain` show.
enum class Reason : std::uint8_t {
  kRule,     // the rule at Verdict::rule
  kFloor,    // a floor class that no rule names
  kDefault,  // no rule matched
  kScope,    // the address scopes of the two sides do not fit (RFC 4007)
};
[[nodiscard]] std::string_view reason_name(Reason reason);

struct Verdict {
  Action action = Action::kDeny;
  Reason reason = Reason::kDefault;
  std::optional<std::uint32_t>
      rule;  // kRule: the first that decided, an index into Policy::rules()
};

class Policy;

/// An endpoint that the policy allows to be dialled. Only Policy makes one, and no host socket can
/// be dialled without one, so that an unjudged connect does not compile.
class AllowedDestination {
 public:
  [[nodiscard]] const Endpoint& endpoint() const { return request_.dialled; }
  [[nodiscard]] Protocol protocol() const { return request_.protocol; }
  /// What was allowed, for reports.
  [[nodiscard]] const Request& request() const { return request_; }

 private:
  friend class Policy;
  explicit AllowedDestination(const Request& request) : request_(request) {}
  Request request_;
};

struct PolicyInput {
  DefaultAction default_action = DefaultAction::kAllowPublic;
  std::vector<Rule> rules;
  std::vector<ClassOverride> overrides;
};

class Policy {
 public:
  /// Everything denied.
  Policy() { input_.default_action = DefaultAction::kDeny; }
  /// Indexes the rules. Overrides were checked by refuse_override().
  explicit Policy(PolicyInput input);

  [[nodiscard]] Verdict evaluate(const Request& request) const;

  /// evaluate(), and the witness that lets the destination be dialled where the answer is yes.
  [[nodiscard]] std::optional<AllowedDestination> allow(const Request& request,
                                                        Verdict& verdict) const;

  /// The witness for a resolver of the host itself (names/ only): upstreams come from the host's
  /// resolv.conf or --dns, never from the guest, and are exempt from the floor.
  [[nodiscard]] static AllowedDestination upstream(const Endpoint& endpoint, Protocol protocol);

  /// Whether a name can lead anywhere: the default allows public, or a rule names a class. Where
  /// not, the resolver answers NXDOMAIN and asks nobody.
  [[nodiscard]] bool may_resolve_names() const;

  [[nodiscard]] std::span<const Rule> rules() const { return input_.rules; }
  [[nodiscard]] std::span<const ClassOverride> overrides() const { return input_.overrides; }
  [[nodiscard]] DefaultAction default_action() const { return input_.default_action; }

  /// The option that would allow `request`, for the remedy of a denial: "--allow 198.51.100.7:443",
  /// "--allow @lan" and the like; empty where nothing would.
  [[nodiscard]] std::string remedy(const Request& request, const Verdict& verdict) const;

 private:
  PolicyInput input_;
  RuleIndex index_;
};

}  // namespace cordon
