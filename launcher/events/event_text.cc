#include "launcher/events/event_text.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "launcher/policy/policy_values.h"
#include "launcher/policy/policy_words.h"
#include "launcher/policy/public_suffix.h"
#include "netstack/flow/translator_config.h"

namespace cordon {
namespace {

constexpr std::uint16_t kNoPort = 0;
constexpr std::string_view kAllow = "--allow ";

std::string resource_text(int code) {
  switch (code) {
    case EMFILE:
      return "descriptors ran out, new flows wait; raise the hard limit (ulimit -Hn)";
    case ENFILE:
      return "this host's descriptors ran out, new flows wait; raise fs.file-max";
    case EADDRNOTAVAIL:
      return "this host's local ports ran out, new flows wait; widen net.ipv4.ip_local_port_range";
    default:
      return fmt::format("this host refused a socket ({}), new flows wait", error_text(code));
  }
}

struct TypeName {
  std::uint16_t type;
  std::string_view name;
};
// The types that resolvers ask for by themselves, or a rule would list.
constexpr TypeName kTypeNames[] = {{1, "A"},      {2, "NS"},     {5, "CNAME"}, {6, "SOA"},
                                   {12, "PTR"},   {15, "MX"},    {16, "TXT"},  {28, "AAAA"},
                                   {33, "SRV"},   {35, "NAPTR"}, {52, "TLSA"}, {64, "SVCB"},
                                   {65, "HTTPS"}, {255, "ANY"},  {257, "CAA"}};

// What a limit is now, as a policy file has it; empty where nothing is known of it.
std::string limit_value(Limit limit, const RuleLimits& limits) {
  switch (limit) {
    case Limit::kUp:
      return limits.up_bytes == 0 ? "" : format_octets(limits.up_bytes);
    case Limit::kDown:
      return limits.down_bytes == 0 ? "" : format_octets(limits.down_bytes);
    case Limit::kFlows:
      return limits.flows == 0 ? "" : std::to_string(limits.flows);
    case Limit::kTime:
      return limits.until_seconds == 0 ? "" : format_duration(limits.until_seconds);
    case Limit::kNames:
    case Limit::kNone:
      break;
  }
  return {};
}

// Which limit to raise, and where it stands.
std::string limit_remedy(const Verdict& verdict, const Policy& policy) {
  if (verdict.limit == Limit::kNone) return {};
  if (verdict.limit == Limit::kNames) return "raise wildcard-budget in [dns]";
  const Rule* const rule = policy.rule_of(verdict);
  const bool is_of_all = !verdict.rule.has_value();
  // [limits] has a word of its own for the time.
  const std::string_view key =
      is_of_all && verdict.limit == Limit::kTime ? "time" : limit_name(verdict.limit);
  const RuleLimits limits = rule != nullptr ? rule->limits
                            : is_of_all     ? policy.input().limits
                                            : RuleLimits();
  const std::string value = limit_value(verdict.limit, limits);
  const std::string now = value.empty() ? "" : fmt::format(" (now {})", value);
  if (is_of_all) return fmt::format("raise {}{} in [limits]", key, now);
  if (rule == nullptr) return fmt::format("raise {}{} of its rule", key, now);
  const std::string label =
      rule->label.empty() ? "" : fmt::format(" \"{}\"", escape_text(rule->label));
  return fmt::format("raise {}{} of rule{} at {}", key, now, label, escape_text(rule->origin));
}

// Of the addresses that stand for names inside, which no rule is about.
bool is_of_pool(const IpAddress& address) {
  const NameSettings names;
  return names.pool_v4.contains(address) || names.pool_v6.contains(address);
}

bool is_pointer_name(const DnsName& name) {
  return name.ends_with(*DnsName::parse("in-addr.arpa")) ||
         name.ends_with(*DnsName::parse("ip6.arpa"));
}

// Why a policy refuses a rule for this very name; empty: it does not.
std::string why_no_rule(const DnsName& name) {
  const std::string text = name.lower_case().to_string();
  const auto pattern = parse_name_pattern(text);
  if (!pattern || pattern->kind != NamePattern::Kind::kExact || pattern->name != name) {
    return fmt::format("\"{}\" is not the name of a host", escape_text(text));
  }
  if (!PublicSuffixes().is_of_registrars(text)) return {};
  return fmt::format("\"{}\" is a public suffix, not a host", escape_text(text));
}

// A rule for a name does not let every type of record be asked for.
std::string question_remedy(const Denial& denial, const std::string& by_name) {
  for (const Word<std::uint16_t>& type : kDnsTypes) {
    if (type.value != denial.query_type) continue;
    const DnsName& name = *denial.request.name;
    if (!why_no_rule(name).empty()) return {};
    return fmt::format("dns = [\"{}\"] in a [[rule]] for {}", type.text, name.to_string());
  }
  return by_name;
}

std::string by_text(const std::optional<GuestProcess>& process) {
  if (!process) return {};
  return fmt::format(" by pid {} ({})", process->pid, escape_text(process->program));
}

}  // namespace

std::string_view error_text(int code) {
  const char* const text = strerrordesc_np(code);
  return text != nullptr ? text : "unknown error";
}

std::string escape_text(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    if (octet >= 0x20 && octet < 0x7f && c != '\\') {
      escaped += c;
    } else {
      escaped += fmt::format("\\x{:02x}", octet);
    }
  }
  return escaped;
}

bool is_unresolved(const Request& request) {
  const IpAddress& address = request.dialled.address;
  return request.name != nullptr && (is_of_pool(address) || address.is_unspecified());
}

std::string peer_text(const Request& request) {
  const bool has_port = request.protocol != Protocol::kIcmp && request.dialled.port != kNoPort;
  if (request.is_host_door) return fmt::format("host:{}", request.dialled.port);
  if (request.name != nullptr) {
    const std::string name = escape_text(request.name->to_string());
    return has_port ? fmt::format("{}:{}", name, request.dialled.port) : name;
  }
  return has_port ? request.dialled.to_string() : request.dialled.address.to_string();
}

std::string guest_text(const Request& request) {
  return request.protocol == Protocol::kIcmp ? request.guest.address.to_string()
                                             : request.guest.to_string();
}

std::string way_text(const Request& request) {
  if (request.direction == Direction::kOutbound) {
    return fmt::format("{} {}", protocol_name(request.protocol), peer_text(request));
  }
  return fmt::format("{} from {} to {}", protocol_name(request.protocol), peer_text(request),
                     guest_text(request));
}

std::string query_type_text(std::uint16_t type) {
  for (const TypeName& known : kTypeNames) {
    if (known.type == type) return std::string(known.name);
  }
  return fmt::format("TYPE{}", type);
}

std::string rule_text(const Verdict& verdict, const Policy& policy) {
  const Rule* const rule = policy.rule_of(verdict);
  if (verdict.reason != Reason::kRule || rule == nullptr) {
    return std::string(reason_name(verdict.reason));
  }
  return rule->origin.starts_with("--") ? fmt::format("{}={}", rule->origin, rule->text)
                                        : rule->origin;
}

std::string hopeless_text(const Request& request, const Verdict& verdict) {
  const bool is_about_name = verdict.reason == Reason::kDefault ||
                             verdict.reason == Reason::kType ||
                             verdict.fault == FlightFault::kOtherName;
  if (!is_about_name || request.name == nullptr || request.is_host_door) return {};
  const std::string why = why_no_rule(*request.name);
  return why.empty() ? why : fmt::format("; no rule can be for it: {}", why);
}

std::string rule_remedy(const Request& request, const Verdict& verdict, const Policy& policy) {
  const std::string remedy = policy.remedy(request, verdict);
  const Result<Destination> to =
      parse_destination(std::string_view(remedy).substr(std::min(kAllow.size(), remedy.size())));
  const bool is_refused =
      to && to->kind == Destination::Kind::kName && !why_no_rule(to->pattern.name).empty();
  return is_refused ? std::string() : remedy;
}

// An --allow takes the default with it, so where that was to allow the public internet, the remedy
// says so: what worked before is to go on working.
std::string remedy_text(const Denial& denial, const Policy& policy) {
  if (denial.verdict.reason == Reason::kSource) {
    return fmt::format("--publish …,from={}", denial.request.dialled.address.to_string());
  }
  if (denial.verdict.reason == Reason::kLimit) return limit_remedy(denial.verdict, policy);
  Request request = denial.request;
  const bool is_query = denial.kind == Denial::Kind::kQuery && request.name != nullptr;
  if (is_query && is_pointer_name(*request.name)) return {};
  const bool is_of_nobody =
      is_of_pool(request.dialled.address) &&
      (request.name == nullptr || IpAddress::parse(request.name->to_string()).has_value());
  if (is_of_nobody) return {};
  // A question is about the name as such: what will be dialled nobody knows yet, least of all that
  // it is what DNS was asked over.
  if (is_query) {
    request.protocol = Protocol::kTcp;
    request.dialled = {};
  }
  const bool is_not_looked_up = denial.verdict.reason == Reason::kDefault && is_unresolved(request);
  if (is_not_looked_up) request.dialled.address = IpAddress();
  std::string remedy = rule_remedy(request, denial.verdict, policy);
  if (is_query && (!remedy.empty() || denial.verdict.reason == Reason::kType)) {
    std::string by_type = question_remedy(denial, remedy);
    if (by_type != remedy) return by_type;
  }
  if (!remedy.empty() && policy.default_action() == DefaultAction::kAllowPublic) {
    remedy = "--allow @public " + remedy;
  }
  return remedy;
}

std::string_view end_name(FlowEnd end) {
  switch (end) {
    case FlowEnd::kClosed:
      return "closed";
    case FlowEnd::kReset:
      return "reset";
    case FlowEnd::kRefused:
      return "refused";
    case FlowEnd::kUnreachable:
      return "unreachable";
    case FlowEnd::kTimedOut:
      return "timed_out";
    case FlowEnd::kRevoked:
      return "revoked";
  }
  return "closed";
}

std::string_view notice_name(Notice notice) {
  switch (notice) {
    case Notice::kNoHostResource:
      return "no_host_resource";
    case Notice::kPingNotPermitted:
      return "ping_not_permitted";
    case Notice::kAdoptionFailed:
      return "adoption_failed";
    case Notice::kSteeringLost:
      return "steering_lost";
    case Notice::kFlowLimit:
      return "flow_limit";
    case Notice::kUpstreamSilent:
      return "upstream_silent";
  }
  return "unknown";
}

std::string denial_text(const Denial& denial, const Policy& policy,
                        const std::optional<GuestProcess>& process) {
  const Request& request = denial.request;
  const bool is_query = denial.kind == Denial::Kind::kQuery && request.name != nullptr;
  std::string text =
      fmt::format("{} {} rule={}", denial.is_only_reported ? "would deny" : "denied",
                  is_query ? "dns " + escape_text(request.name->to_string()) : way_text(request),
                  rule_text(denial.verdict, policy));
  const bool is_about_class =
      denial.verdict.reason == Reason::kFloor || denial.verdict.reason == Reason::kRebind;
  if (is_about_class) text += fmt::format(" class={}", class_name(request.address_class));
  if (denial.verdict.reason == Reason::kRebind) {
    text += fmt::format(" address={}", request.dialled.address.to_string());
  }
  if (denial.verdict.reason == Reason::kType) {
    text += fmt::format(" type={}", query_type_text(denial.query_type));
  }
  if (denial.verdict.limit != Limit::kNone) {
    text += fmt::format(" limit={}", limit_name(denial.verdict.limit));
  }
  const FlightFault fault = denial.verdict.fault;
  if (fault != FlightFault::kNone) text += fmt::format(" fault={}", flight_fault_name(fault));
  text += fmt::format(" id={}", denial.id) + by_text(process);
  if (fault != FlightFault::kNone) text += fmt::format("; its first flight {}", describe(fault));
  const std::string remedy = remedy_text(denial, policy);
  return text + (remedy.empty() ? hopeless_text(request, denial.verdict)
                                : fmt::format("; to allow it: {}", remedy));
}

std::string flow_text(const FlowReport& report) {
  const std::string way = way_text(report.request);
  if (!report.end) return fmt::format("opened {} flow={}", way, report.id);
  return fmt::format("{} {} flow={} up={} down={}", end_name(*report.end), way, report.id,
                     report.bytes_up, report.bytes_down);
}

std::string notice_text(Notice notice, int code) {
  switch (notice) {
    case Notice::kNoHostResource:
      return resource_text(code);
    case Notice::kPingNotPermitted:
      return "ping is not permitted to this user's group; to permit it: sysctl -w "
             "net.ipv4.ping_group_range=\"0 2147483647\"";
    case Notice::kAdoptionFailed:
      return fmt::format("a connection could not be handed to the guest: {}", error_text(code));
    case Notice::kSteeringLost:
      return "the guest's steering rules were flushed; they are put back";
    case Notice::kFlowLimit:
      return "the table of flows is full; new flows wait until old ones end";
    case Notice::kUpstreamSilent:
      return "no DNS server of this host answers; names cannot be resolved now (--dns ADDRESS asks "
             "another one)";
  }
  return "unknown notice";
}

}  // namespace cordon
