// The outbound policy: rules, and the one evaluator that enforcement, `explain` and tests share.
//
// Precedence: floor > deny > ask > allow > default. The order in which rules were given never
// matters, and a more specific allow never beats a deny. Every class but public is a floor class:
// neither the default nor an `@public` rule grants it; only a rule that names the class, the
// address (or a prefix that holds it), or the host door. The floor has one exception that nothing
// opens: 0.0.0.0/8, :: and the host's own addresses are granted by no CIDR rule, only by `@self`.
//
// Beyond the floor, three things are narrower than a prefix that holds them: the metadata addresses
// are granted by `@metadata` or a rule for the one address, multicast by `@multicast` alone, and
// the host door by `host:PORT` rules alone, which in turn match nothing else.
//
// An address that carries an IPv4 address in it (address/classes.h) is denied by a rule that denies
// either; it is allowed only by a rule for itself. Inbound flows pass unless a deny rule without a
// port holds the client: who may connect at all is decided by where the published port is bound.
//
// Names: where a flow's name is known, name rules count beside those for the address that it led
// to. Either may deny. A name rule grants public addresses, and lan and vpn ones where the rule
// says so (Rule::may_be_private); what else a name leads to is the floor's (Reason::kRebind).
// Before the address is known, judge_name() and judge_unresolved() say whether any could pass, so
// that a name that cannot is never looked up.
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
#include "netstack/policy/findings.h"
#include "netstack/policy/flight_fault.h"
#include "netstack/policy/request.h"
#include "netstack/policy/rule.h"
#include "netstack/policy/rule_index.h"

namespace cordon {

/// What decided, in the words that a denial and `explain` show.
enum class Reason : std::uint8_t {
  kRule,         // the rule at Verdict::rule
  kFloor,        // a floor class that no rule names
  kDefault,      // no rule matched
  kScope,        // the address scopes of the two sides do not fit (RFC 4007)
  kRebind,       // a name led to an address of a floor class that nothing opens
  kNoName,       // an address that no allowed name stands behind
  kFirstFlight,  // the guest's first octets named something else
  kLimit,        // a budget, a rate, a number of flows or a time is used up
  kSource,       // a client that a published port is not for
  kType,         // a DNS question for a type of record that no rule lists
};
[[nodiscard]] std::string_view reason_name(Reason reason);

struct Verdict {
  Action action = Action::kDeny;
  Reason reason = Reason::kDefault;
  /// kRule, and kLimit where the limit is a rule's: the first that decided, an index into
  /// Policy::rules().
  std::optional<std::uint32_t> rule;
  /// kLimit: which. Where there is a rule it is that rule's, else everything's.
  Limit limit = Limit::kNone;
  /// kFirstFlight: what was wrong with it.
  FlightFault fault = FlightFault::kNone;

  friend bool operator==(const Verdict&, const Verdict&) = default;
};

/// One step of the way to a verdict.
struct Step {
  enum class Stage : std::uint8_t { kName, kClass, kFloor, kDeny, kAsk, kAllow, kDefault, kMode };
  Stage stage = Stage::kDefault;
  std::optional<std::uint32_t> rule;  // an index into Policy::rules()
  std::string words;                  // without the rule's text and origin
  bool is_decisive = false;           // the verdict is this step's
};
/// "name", "class", "floor", ...
[[nodiscard]] std::string_view stage_name(Step::Stage stage);

struct Explanation {
  Verdict verdict;
  std::vector<Step> steps;  // in the order of precedence, up to the one that decides
};

class Policy;
class PolicyBuilder;

/// An endpoint that the policy allows to be dialled. Only Policy makes one, and no host socket can
/// be dialled without one, so that an unjudged connect does not compile.
class AllowedDestination {
 public:
  [[nodiscard]] const Endpoint& endpoint() const { return request_.dialled; }
  [[nodiscard]] Protocol protocol() const { return request_.protocol; }
  /// What was allowed, for reports.
  [[nodiscard]] const Request& request() const { return request_; }
  /// The rule that allowed it, an index into the rules of the policy that did; none: the default.
  [[nodiscard]] std::optional<std::uint32_t> rule() const { return rule_; }

 private:
  friend class Policy;
  AllowedDestination(const Request& request, std::optional<std::uint32_t> rule)
      : request_(request), rule_(rule) {}
  Request request_;
  std::optional<std::uint32_t> rule_;
};

class Policy {
 public:
  /// Everything denied.
  Policy() { input_.default_action = DefaultAction::kDeny; }
  /// Indexes the rules. Overrides were checked by refuse_override().
  explicit Policy(PolicyInput input);

  [[nodiscard]] Verdict evaluate(const Request& request) const;

  /// evaluate(), and the witness that lets the destination be dialled where the answer is yes.
  /// Under PolicyMode::kReport there is a witness for what is denied or asked too, but for
  /// 0.0.0.0/8, :: and multicast; the verdict still says the truth, and the caller reports it.
  /// What is asked is allowed where somebody has said yes (Request::is_answered).
  [[nodiscard]] std::optional<AllowedDestination> allow(const Request& request,
                                                        Verdict& verdict) const;

  /// Whether `name` may be looked up: kDeny where no flow to it could pass. A rule for @public
  /// makes every name possible; one for addresses or for another class none, or whoever may reach a
  /// printer could tell anybody anything by asking for names. kAsk: only an answer could let a flow
  /// pass.
  [[nodiscard]] Verdict judge_name(const DnsName& name) const;
  /// A flow by name (Request::name) whose address is not known yet; `dialled` counts for its port
  /// only. kDeny where no address could make it pass, kAsk where only an answer could.
  [[nodiscard]] Verdict judge_unresolved(const Request& request) const;
  /// Whether a rule for Request::name, which is set, allows protocol and port, whatever else does.
  [[nodiscard]] bool is_allowed_by_name(const Request& request) const;
  /// Whether flows are to be known by name: there is a name rule, or what the default refuses is
  /// asked or reported.
  [[nodiscard]] bool names_are_enforced() const;
  /// Whether a name that may be looked up may be asked for this type of record: A and AAAA, and
  /// what the rules for the name list; where the default is to allow the public internet, any but
  /// HTTPS and SVCB.
  [[nodiscard]] bool is_dns_type_allowed(const DnsName& name, std::uint16_t type) const;

  /// The witness for a resolver of the host itself (names/ only): upstreams come from the host's
  /// resolv.conf or --dns, never from the guest, and are exempt from the floor.
  [[nodiscard]] static AllowedDestination upstream(const Endpoint& endpoint, Protocol protocol);

  /// evaluate(), and how it came to be.
  [[nodiscard]] Explanation explain(const Request& request) const;
  /// judge_unresolved(), and how it came to be.
  [[nodiscard]] Explanation explain_unresolved(const Request& request) const;

  [[nodiscard]] std::span<const Rule> rules() const { return input_.rules; }
  [[nodiscard]] std::span<const ClassOverride> overrides() const { return input_.overrides; }
  [[nodiscard]] DefaultAction default_action() const { return input_.default_action; }
  [[nodiscard]] PolicyMode mode() const { return input_.mode; }
  [[nodiscard]] const PolicyInput& input() const { return input_; }
  /// The rule that decided, or nullptr. Lives as long as the policy.
  [[nodiscard]] const Rule* rule_of(const Verdict& verdict) const;

  /// The option that would allow `request`, for the remedy of a denial: "--allow evil.example",
  /// "--allow 198.51.100.7:443", "--allow @lan" and the like; empty where nothing would. A request
  /// by name with port 0 is about the name as such.
  [[nodiscard]] std::string remedy(const Request& request, const Verdict& verdict) const;

  /// Forgets up to `most` of its rules, for whoever no longer needs a large policy and has no time
  /// to destroy it in one go: it is nobody's policy any more. True when there are no more.
  bool forget_some(std::size_t most);

 private:
  friend class PolicyBuilder;
  Policy(PolicyInput input, RuleIndex index) : input_(std::move(input)), index_(std::move(index)) {}

  struct Possible {
    Findings findings;
    Verdict verdict;
  };
  [[nodiscard]] Verdict conclude(const Findings& findings) const;
  [[nodiscard]] bool is_default_asked() const;
  [[nodiscard]] bool is_only_reported(const Request& request) const;
  // By name, over all that the name may lead to.
  [[nodiscard]] Possible best_possible(const Request& request, const NameIndex::Places& names,
                                       bool is_resolvable) const;
  [[nodiscard]] Verdict judge_places(const DnsName& name, const NameIndex::Places& names) const;
  [[nodiscard]] Possible likeliest(const Request& request) const;
  /// Whether no rule restrains such a flow by name, wherever in public the name leads; of port 0:
  /// one to a port of the web.
  [[nodiscard]] bool is_free_by_name(const Request& request) const;
  void tell(const Request& request, const Findings& findings, Explanation& explanation) const;

  PolicyInput input_;
  RuleIndex index_;
};

/// Indexes rules piece by piece, for whoever has other things to do meanwhile: a hundred thousand
/// take a tenth of a second.
class PolicyBuilder {
 public:
  explicit PolicyBuilder(PolicyInput input) : input_(std::move(input)) {}

  /// Goes on, about `most` rules further (sorting them is one piece); true when it is done.
  [[nodiscard]] bool step(std::size_t most) { return index_.build_some(input_, most); }
  /// Once done.
  [[nodiscard]] Policy take() { return {std::move(input_), std::move(index_)}; }

 private:
  PolicyInput input_;
  RuleIndex index_;
};

}  // namespace cordon
