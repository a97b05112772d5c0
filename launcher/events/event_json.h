// Events as JSON: one object a line, in --log FILE and from `cordon events` (cordon-control(7) has
// the whole schema). Keys, always with these names and types; what is not known is left out:
//
//     time         string   RFC 3339, UTC, milliseconds
//     event        string   "denied", "flow_opened", "flow_closed", "asked", "answered", "policy",
//                           "notice", "suppressed"
//     id           number   of the denial, flow or question; the same as on stderr
//     direction    string   "outbound", "inbound"
//     protocol     string   "tcp", "udp", "icmp"
//     guest        string   address:port inside; for icmp the address alone
//     name         string   the name that the guest asked for or dialled
//     query_type   string   denied: "A", "AAAA", …: this was a DNS question, not a flow
//     destination  string   what was or would have been dialled; inbound: the remote client; not
//                           there where the name was not looked up
//     host_door    boolean  present and true where the guest dialled host.cordon.internal
//     class        string   of the destination (cordon-policy(5))
//     rule         string   what decided, as on stderr
//     label        string   the rule's name in the policy file
//     reason       string   denied: "rule", "floor", "default", "scope", "rebind", "no-name",
//                           "first-flight", "limit", "source", "type"
//     reported     boolean  denied: present and true where report mode let it go on
//     limit        string   denied: where the reason is "limit": "up", "down", "flows", "until",
//                           "wildcard-budget"
//     fault        string   denied: where the reason is "first-flight", what was wrong with it
//     remedy       string   denied: the option that would allow it, or the limit to raise
//     pid, program number, string   the guest's process, as the host numbers it
//     end          string   flow_closed: "closed", "reset", "refused", "unreachable", "timed_out",
//                           "revoked"
//     bytes_up, bytes_down  number  flow_closed: from the guest, to the guest
//     answer       string   answered: "once", "run", "minutes", "always", "no", "never"
//     by           string   answered: "terminal", "control", "earlier", "nobody"
//     notice, text string   notice: its stable name, and the words of stderr; policy: what changed
//     errno        number   notice: where there is one
//     count        number   suppressed: events left out since the last line (1,000 a second pass)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "launcher/events/process_lookup.h"
#include "netstack/policy/policy.h"
#include "netstack/seams/events.h"

namespace cordon {

using Json = nlohmann::ordered_json;

/// "2026-01-31T23:59:59.123Z" for milliseconds since the epoch.
[[nodiscard]] std::string rfc3339(std::int64_t unix_milliseconds);
/// One line, in ASCII, that reads back as `json`.
[[nodiscard]] std::string dump_line(const Json& json);
/// An event with its time and kind.
[[nodiscard]] Json begin_event(std::int64_t unix_milliseconds, std::string_view event);
/// Who, how and whither.
void put_request(Json& json, std::uint32_t id, const Request& request);
void put_process(Json& json, const std::optional<GuestProcess>& process);

[[nodiscard]] std::string denial_json(std::int64_t unix_milliseconds, const Denial& denial,
                                      const Policy& policy,
                                      const std::optional<GuestProcess>& process);
[[nodiscard]] std::string flow_json(std::int64_t unix_milliseconds, const FlowReport& report,
                                    const Policy& policy,
                                    const std::optional<GuestProcess>& process);
/// A living flow, for lists.
[[nodiscard]] Json listed_flow_json(const FlowReport& report, const Policy& policy);
[[nodiscard]] std::string notice_json(std::int64_t unix_milliseconds, Notice notice, int code);

}  // namespace cordon
