// Events in words: the lines of stderr, without "cordon: " and without the line's end.
//
//     denied tcp evil.example:443 rule=default id=17 by pid 4711 (node); to allow it: --allow …
//     denied dns evil.example rule=default id=18 by pid 4711 (node); to allow it: --allow …
//     would deny tcp evil.example:443 rule=default id=19            in report mode
//     opened tcp registry.npmjs.org:443 flow=3
//
// `rule=` is `default`, `floor` (with ` class=lan` or the like), `scope`, `rebind`, `no-name`,
// `first-flight` (with ` fault=other-name` or the like), `limit` (with ` limit=up`), `source`,
// `type`, or the rule that decided as it is written; after `rebind` stands what the name led to, `
// address=10.1.2.3`:
// `--deny=198.51.100.7`, `policy.toml:12`. Octets that come from the guest (programs' names,
// queried names) are escaped.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "launcher/events/process_lookup.h"
#include "netstack/policy/policy.h"
#include "netstack/seams/events.h"

namespace cordon {

/// Printable ASCII stays; everything else, and the backslash, becomes \xNN, so that no program's
/// name can move a cursor or end a line.
[[nodiscard]] std::string escape_text(std::string_view text);
/// strerror() of it.
[[nodiscard]] std::string_view error_text(int code);

/// A flow by name that was judged before its name was looked up: what is dialled is not known.
[[nodiscard]] bool is_unresolved(const Request& request);
/// What the guest asked for: "evil.example:443", "198.51.100.7:443", "host:5432"; without a port
/// for icmp and for a DNS question.
[[nodiscard]] std::string peer_text(const Request& request);
/// The guest's own end.
[[nodiscard]] std::string guest_text(const Request& request);
/// "tcp evil.example:443", "tcp from 198.51.100.7:4000 to 10.77.0.2:80".
[[nodiscard]] std::string way_text(const Request& request);
/// "A", "AAAA", "TYPE65280".
[[nodiscard]] std::string query_type_text(std::uint16_t type);

/// The rule as it is written, or the reason where no rule decided.
[[nodiscard]] std::string rule_text(const Verdict& verdict, const Policy& policy);
/// Policy::remedy(), where the command line takes it: it refuses rules for public suffixes.
[[nodiscard]] std::string rule_remedy(const Request& request, const Verdict& verdict,
                                      const Policy& policy);
/// Where only a rule for the name would help and there can be none: "; no rule can be for it: ...",
/// and why; else empty.
[[nodiscard]] std::string hopeless_text(const Request& request, const Verdict& verdict);
/// The options that would allow it, or the limit that is to be raised and where it stands; empty
/// where nothing would.
[[nodiscard]] std::string remedy_text(const Denial& denial, const Policy& policy);

/// "closed", "reset", …
[[nodiscard]] std::string_view end_name(FlowEnd end);
/// "no_host_resource", …
[[nodiscard]] std::string_view notice_name(Notice notice);

[[nodiscard]] std::string denial_text(const Denial& denial, const Policy& policy,
                                      const std::optional<GuestProcess>& process);
[[nodiscard]] std::string flow_text(const FlowReport& report);
[[nodiscard]] std::string notice_text(Notice notice, int code);

}  // namespace cordon
