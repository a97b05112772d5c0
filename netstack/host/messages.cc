#include "netstack/host/messages.h"

#include <cstring>
#include <type_traits>

namespace cordon {
namespace {

static_assert(std::is_trivially_copyable_v<Message>);

bool is_known(MessageKind kind) {
  switch (kind) {
    case MessageKind::kDenied:
    case MessageKind::kFlow:
    case MessageKind::kNotice:
    case MessageKind::kAsked:
    case MessageKind::kFlowListed:
    case MessageKind::kFlowsListed:
    case MessageKind::kPolicyTaken:
    case MessageKind::kResolved:
    case MessageKind::kIntroduced:
    case MessageKind::kIntroducedTold:
    case MessageKind::kDenialTold:
    case MessageKind::kUpstreams:
    case MessageKind::kAnswer:
    case MessageKind::kListFlows:
    case MessageKind::kPolicyPart:
    case MessageKind::kReportFlows:
      return true;
  }
  return false;
}

constexpr Action kLastAction = Action::kAsk;
constexpr Reason kLastReason = Reason::kType;
constexpr Limit kLastLimit = Limit::kNames;
constexpr FlightFault kLastFault = FlightFault::kEnded;

template <class Enum>
bool fits(std::uint8_t value, Enum last) {
  return value <= static_cast<std::uint8_t>(last);
}

void put_request(Message& message, const Request& request) {
  message.guest = encode_endpoint(request.guest);
  message.dialled = encode_endpoint(request.dialled);
  message.direction = static_cast<std::uint8_t>(request.direction);
  message.protocol = static_cast<std::uint8_t>(request.protocol);
  message.address_class = static_cast<std::uint8_t>(request.address_class);
  message.is_host_door = request.is_host_door ? 1 : 0;
  if (request.name == nullptr) return;
  const Bytes octets = request.name->wire();
  std::memcpy(message.name.octets.data(), octets.data(), octets.size());
  message.name.size = static_cast<std::uint8_t>(octets.size());
}

// False where there is something that is no name.
bool take_name(const Message& message, DnsName& name) {
  if (message.name.size == 0) return true;
  std::size_t end = 0;
  const auto read = DnsName::read(Bytes(message.name.octets).first(message.name.size), end);
  if (!read || end != message.name.size) return false;
  name = *read;
  return true;
}

void put_verdict(Message& message, const Verdict& verdict) {
  message.action = static_cast<std::uint8_t>(verdict.action);
  message.reason = static_cast<std::uint8_t>(verdict.reason);
  message.rule = verdict.rule.value_or(kNoRule);
  message.limit = static_cast<std::uint8_t>(verdict.limit);
  message.fault = static_cast<std::uint8_t>(verdict.fault);
}

std::optional<std::uint32_t> take_rule(const Message& message) {
  if (message.rule == kNoRule) return std::nullopt;
  return message.rule;
}

std::optional<Verdict> take_verdict(const Message& message) {
  const bool is_known = fits(message.action, kLastAction) && fits(message.reason, kLastReason) &&
                        fits(message.limit, kLastLimit) && fits(message.fault, kLastFault);
  if (!is_known) return std::nullopt;
  return Verdict{.action = static_cast<Action>(message.action),
                 .reason = static_cast<Reason>(message.reason),
                 .rule = take_rule(message),
                 .limit = static_cast<Limit>(message.limit),
                 .fault = static_cast<FlightFault>(message.fault)};
}

std::optional<Request> take_request(const Message& message, DnsName& name) {
  if (!take_name(message, name) || message.guest.is_v6 > 1 || message.dialled.is_v6 > 1 ||
      message.is_host_door > 1 || !fits(message.direction, Direction::kInbound) ||
      !fits(message.protocol, Protocol::kIcmp) ||
      !fits(message.address_class, AddressClass::kPublic)) {
    return std::nullopt;
  }
  return Request{.direction = static_cast<Direction>(message.direction),
                 .protocol = static_cast<Protocol>(message.protocol),
                 .guest = decode_endpoint(message.guest),
                 .dialled = decode_endpoint(message.dialled),
                 .address_class = static_cast<AddressClass>(message.address_class),
                 .is_host_door = message.is_host_door == 1,
                 .name = message.name.size > 0 ? &name : nullptr};
}

}  // namespace

WireEndpoint encode_endpoint(const Endpoint& endpoint) {
  WireEndpoint wire;
  const Bytes octets = endpoint.address.octets();
  std::memcpy(wire.octets.data(), octets.data(), octets.size());
  wire.is_v6 = endpoint.address.is_v6() ? 1 : 0;
  wire.port = endpoint.port;
  return wire;
}

Endpoint decode_endpoint(const WireEndpoint& endpoint) {
  const std::size_t size = endpoint.is_v6 != 0 ? 16 : 4;
  return Endpoint{IpAddress::from_octets(Bytes(endpoint.octets).first(size)), endpoint.port};
}

Message encode_denial(const Denial& denial) {
  Message message;
  message.kind = MessageKind::kDenied;
  message.id = denial.id;
  put_request(message, denial.request);
  put_verdict(message, denial.verdict);
  message.denial_kind = static_cast<std::uint8_t>(denial.kind);
  message.query_type = denial.query_type;
  message.is_only_reported = denial.is_only_reported ? 1 : 0;
  return message;
}

Message encode_question(const Question& question) {
  Message message;
  message.kind = MessageKind::kAsked;
  message.id = question.id;
  put_request(message, question.request);
  put_verdict(message, question.verdict);
  return message;
}

Message encode_flow(const FlowReport& report) {
  Message message;
  message.kind = MessageKind::kFlow;
  message.id = report.id;
  put_request(message, report.request);
  message.rule = report.rule.value_or(kNoRule);
  message.flow_end = report.end ? static_cast<std::uint8_t>(*report.end) : kStillOpen;
  message.bytes_up = report.bytes_up;
  message.bytes_down = report.bytes_down;
  return message;
}

Message encode_resolved(const Resolution& resolution) {
  Message message;
  message.kind = MessageKind::kResolved;
  put_request(message, resolution.request);
  message.query_type = resolution.type;
  message.code = resolution.has_data ? 1 : 0;
  return message;
}

Message encode_introduced(std::uint32_t id, const Request& request) {
  Message message;
  message.kind = MessageKind::kIntroduced;
  message.id = id;
  put_request(message, request);
  return message;
}

Message encode_notice(Notice notice, int code) {
  Message message;
  message.kind = MessageKind::kNotice;
  message.notice = static_cast<std::uint8_t>(notice);
  message.code = code;
  return message;
}

std::optional<Message> decode_message(Bytes packet) {
  if (packet.size() < sizeof(Message)) return std::nullopt;
  Message message;
  std::memcpy(&message, packet.data(), sizeof(message));
  if (!is_known(message.kind) || message.upstream_count > kMaxUpstreams) return std::nullopt;
  const std::size_t part = packet.size() - sizeof(Message);
  const bool may_have_part = message.kind == MessageKind::kPolicyPart;
  if (part > (may_have_part ? kMaxPartOctets : 0)) return std::nullopt;
  return message;
}

Bytes part_of(Bytes packet) {
  return packet.size() > sizeof(Message) ? packet.subspan(sizeof(Message)) : Bytes();
}

std::optional<Denial> decode_denial(const Message& message, DnsName& name) {
  const auto request = take_request(message, name);
  const auto verdict = take_verdict(message);
  if (message.kind != MessageKind::kDenied || !request || !verdict ||
      !fits(message.denial_kind, Denial::Kind::kQuery) || message.is_only_reported > 1) {
    return std::nullopt;
  }
  return Denial{.id = message.id,
                .kind = static_cast<Denial::Kind>(message.denial_kind),
                .request = *request,
                .verdict = *verdict,
                .query_type = message.query_type,
                .is_only_reported = message.is_only_reported == 1};
}

std::optional<Question> decode_question(const Message& message, DnsName& name) {
  const auto request = take_request(message, name);
  const auto verdict = take_verdict(message);
  if (message.kind != MessageKind::kAsked || !request || !verdict) return std::nullopt;
  return Question{.id = message.id, .request = *request, .verdict = *verdict};
}

std::optional<FlowReport> decode_flow(const Message& message, DnsName& name) {
  const auto request = take_request(message, name);
  const bool is_flow =
      message.kind == MessageKind::kFlow || message.kind == MessageKind::kFlowListed;
  if (!is_flow || !request) return std::nullopt;
  FlowReport report{.id = message.id,
                    .request = *request,
                    .rule = take_rule(message),
                    .end = std::nullopt,
                    .bytes_up = message.bytes_up,
                    .bytes_down = message.bytes_down};
  if (message.flow_end != kStillOpen) {
    if (!fits(message.flow_end, FlowEnd::kRevoked)) return std::nullopt;
    report.end = static_cast<FlowEnd>(message.flow_end);
  }
  return report;
}

std::optional<Resolution> decode_resolved(const Message& message, DnsName& name) {
  const auto request = take_request(message, name);
  if (message.kind != MessageKind::kResolved || !request || request->name == nullptr) {
    return std::nullopt;
  }
  return Resolution{.request = *request, .type = message.query_type, .has_data = message.code != 0};
}

std::optional<Request> decode_introduced(const Message& message, DnsName& name) {
  if (message.kind != MessageKind::kIntroduced) return std::nullopt;
  return take_request(message, name);
}

std::optional<Notice> decode_notice(const Message& message) {
  if (message.kind != MessageKind::kNotice || !fits(message.notice, Notice::kUpstreamSilent)) {
    return std::nullopt;
  }
  return static_cast<Notice>(message.notice);
}

}  // namespace cordon
