#include "launcher/events/replayed_log.h"

#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "launcher/control/control_client.h"
#include "launcher/events/event_text.h"
#include "launcher/policy/policy_words.h"

namespace cordon {
namespace {

// "198.51.100.7:443", "[2001:db8::1]:443", or an address alone.
std::optional<Endpoint> parse_endpoint(std::string_view text) {
  if (const auto address = IpAddress::parse(text)) return Endpoint{*address, 0};
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const auto address = IpAddress::parse(host);
  std::uint16_t port = 0;
  const char* const end = port_text.data() + port_text.size();
  const auto parsed = std::from_chars(port_text.data(), end, port);
  if (!address || parsed.ec != std::errc{} || parsed.ptr != end) return std::nullopt;
  return Endpoint{*address, port};
}

std::optional<Protocol> parse_protocol(std::string_view text) {
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp}) {
    if (text == protocol_name(protocol)) return protocol;
  }
  return std::nullopt;
}

struct Recorded {
  Request request;
  std::optional<DnsName> name;
  bool is_query = false;
  bool is_unresolved = false;  // denied before its name was looked up
};

// The port of "api.example:443", where a name was not looked up; 0 of "api.example" (icmp).
std::optional<std::uint16_t> parse_port_of_name(std::string_view text, std::string_view name) {
  if (name.empty() || !text.starts_with(name)) return std::nullopt;
  text.remove_prefix(name.size());
  if (text.empty()) return std::uint16_t{0};
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + 1, end, port);
  const bool is_port = text[0] == ':' && parsed.ec == std::errc{} && parsed.ptr == end;
  return is_port ? std::optional(port) : std::nullopt;
}

// False where something that is there cannot be read.
bool take_ends(const Json& line, Recorded& recorded) {
  Request& request = recorded.request;
  if (const auto guest = parse_endpoint(text_of(line, "guest"))) request.guest = *guest;
  const std::string text = text_of(line, "destination");
  if (const auto destination = parse_endpoint(text)) {
    request.dialled = *destination;
    return true;
  }
  if (recorded.is_query) return true;
  const auto port = parse_port_of_name(text, text_of(line, "name"));
  recorded.is_unresolved = port.has_value();
  if (port) request.dialled.port = *port;
  return port.has_value();
}

// What the policy declares moves an address as it does on the host (address/classes.cc), as far as
// the recorded class tells what the host's routes said.
AddressClass class_of(const Json& line, const IpAddress& address, const Policy& policy) {
  const AddressClass recorded =
      parse_class(text_of(line, "class")).value_or(registry_class(address));
  const bool is_fixed = recorded == AddressClass::kSelf || recorded == AddressClass::kMetadata ||
                        recorded == AddressClass::kLoopback || recorded == AddressClass::kMulticast;
  if (is_fixed) return recorded;
  for (const ClassOverride& moved : policy.overrides()) {
    if (!moved.prefix.contains(address)) continue;
    const bool may_move =
        moved.address_class != AddressClass::kPublic || recorded == AddressClass::kReserved;
    return may_move ? moved.address_class : recorded;
  }
  return recorded;
}

std::optional<Recorded> read(const Json& line, const Policy& policy) {
  Recorded recorded;
  Request& request = recorded.request;
  recorded.is_query = !text_of(line, "query_type").empty();
  const auto protocol = parse_protocol(text_of(line, "protocol"));
  if (!protocol || !take_ends(line, recorded)) return std::nullopt;
  request.protocol = *protocol;
  const bool is_inbound = text_of(line, "direction") == "inbound";
  request.direction = is_inbound ? Direction::kInbound : Direction::kOutbound;
  request.is_host_door = truth_of(line, "host_door");
  request.address_class = class_of(line, request.dialled.address, policy);
  if (const std::string name = text_of(line, "name"); !name.empty()) {
    recorded.name = DnsName::parse(name);
    if (!recorded.name) return std::nullopt;
  }
  return recorded;
}

}  // namespace

void ReplayedLog::add_line(std::string_view text) {
  if (text.empty()) return;
  const std::optional<Json> line = parse_object(text);
  if (!line) {
    ++not_understood_;
    return;
  }
  const std::string event = text_of(*line, "event");
  if (event != "denied" && event != "flow_opened") return;
  std::optional<Recorded> recorded = read(*line, policy_);
  if (!recorded || (recorded->is_query && !recorded->name)) {
    ++not_understood_;
    return;
  }
  ++judged_;
  Request& request = recorded->request;
  if (recorded->name) request.name = &*recorded->name;
  Denial denial{.kind = recorded->is_query ? Denial::Kind::kQuery : Denial::Kind::kFlow,
                .request = request};
  const auto type = value_of(kDnsTypes, text_of(*line, "query_type"));
  denial.query_type = type.value_or(0);
  denial.verdict = recorded->is_query        ? policy_.judge_name(*recorded->name)
                   : recorded->is_unresolved ? policy_.judge_unresolved(request)
                                             : policy_.evaluate(request);
  const bool is_unlisted = type && denial.verdict.action == Action::kAllow &&
                           !policy_.is_dns_type_allowed(*recorded->name, *type);
  if (is_unlisted) denial.verdict = {.action = Action::kDeny, .reason = Reason::kType};
  std::string what =
      recorded->is_query ? "dns " + escape_text(request.name->to_string()) : way_text(request);
  if (type) what += " " + query_type_text(*type);
  const auto [known, is_new] = by_what_.try_emplace(what, flows_.size());
  if (is_new) {
    flows_.push_back({.what = what,
                      .rule = rule_text(denial.verdict, policy_),
                      .remedy = remedy_text(denial, policy_),
                      .first = escape_text(text_of(*line, "time")),
                      .program = escape_text(text_of(*line, "program")),
                      .action = denial.verdict.action});
  }
  ++flows_[known->second].count;
}

}  // namespace cordon
