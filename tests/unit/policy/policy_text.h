// Policies, requests and verdicts as short texts, for tables of tests.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "netstack/policy/policy.h"

namespace cordon::policy_text {

/// A request, and the name that it points to.
struct TextRequest {
  Request request;
  std::unique_ptr<DnsName> name;
  // NOLINTNEXTLINE(google-explicit-constructor): stands for the request for as long as it lives.
  operator const Request&() const { return request; }
};

/// "public +10.0.0.0/8 -@lan ?*.example mode=ask quic": the default (public, deny or ask), then
/// allow (+), deny (-) and ask (?) rules, the mode, QUIC by name. A rule may end in "!private",
/// "!tls", "!up" (a budget of one octet) and "!TYPE" (a number: a DNS type), in any number.
PolicyInput make_input(std::string_view text);
inline Policy make_policy(std::string_view text) { return Policy(make_input(text)); }

/// "tcp 10.1.2.3 443 lan", "in tcp 10.1.2.3 443 lan", "door tcp 5432"; "tcp 10.1.2.3 443 lan
/// db.example" for a flow by name, "tcp db.example 443" for one that is not resolved. "-" for the
/// class: what the registries say.
TextRequest make_request(std::string_view text);

/// "allow default", "deny floor", "deny rule 2", "ask rule 0".
std::string describe(const Verdict& verdict);

DnsName make_name(std::string_view text);

}  // namespace cordon::policy_text
