#include "launcher/events/event_json.h"

#include <ctime>

#include <fmt/format.h>

#include "launcher/events/event_text.h"

namespace cordon {
namespace {

void put_rule(Json& json, const Verdict& verdict, const Policy& policy) {
  json["rule"] = rule_text(verdict, policy);
  const Rule* const rule = policy.rule_of(verdict);
  if (rule != nullptr && !rule->label.empty()) json["label"] = escape_text(rule->label);
}

// The verdict of an allow, made anew: what a flow was admitted by may have gone with a reload.
void put_allowing_rule(Json& json, const FlowReport& report, const Policy& policy) {
  if (report.rule) {
    put_rule(json, {.action = Action::kAllow, .reason = Reason::kRule, .rule = report.rule},
             policy);
    return;
  }
  put_rule(json, policy.evaluate(report.request), policy);
}

}  // namespace

std::string rfc3339(std::int64_t unix_milliseconds) {
  const std::time_t seconds = unix_milliseconds / 1000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     unix_milliseconds % 1000);
}

std::string dump_line(const Json& json) {
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

Json begin_event(std::int64_t unix_milliseconds, std::string_view event) {
  Json json;
  json["time"] = rfc3339(unix_milliseconds);
  json["event"] = event;
  return json;
}

void put_request(Json& json, std::uint32_t id, const Request& request) {
  json["id"] = id;
  json["direction"] = request.direction == Direction::kOutbound ? "outbound" : "inbound";
  json["protocol"] = protocol_name(request.protocol);
  json["guest"] = guest_text(request);
  if (request.name != nullptr) json["name"] = escape_text(request.name->to_string());
  if (is_unresolved(request)) {
    json["destination"] = peer_text(request);
    return;
  }
  json["destination"] = request.protocol == Protocol::kIcmp ? request.dialled.address.to_string()
                                                            : request.dialled.to_string();
  if (request.is_host_door) json["host_door"] = true;
  json["class"] = class_name(request.address_class);
}

void put_process(Json& json, const std::optional<GuestProcess>& process) {
  if (!process) return;
  json["pid"] = process->pid;
  json["program"] = escape_text(process->program);
}

std::string denial_json(std::int64_t unix_milliseconds, const Denial& denial, const Policy& policy,
                        const std::optional<GuestProcess>& process) {
  Json json = begin_event(unix_milliseconds, "denied");
  put_request(json, denial.id, denial.request);
  if (denial.kind == Denial::Kind::kQuery) {
    // The remote end is the resolver, which says nothing about where the name would have led.
    json.erase("destination");
    json.erase("class");
    json["query_type"] = query_type_text(denial.query_type);
  }
  put_rule(json, denial.verdict, policy);
  json["reason"] = reason_name(denial.verdict.reason);
  if (denial.verdict.limit != Limit::kNone) json["limit"] = limit_name(denial.verdict.limit);
  if (denial.verdict.fault != FlightFault::kNone) {
    json["fault"] = flight_fault_name(denial.verdict.fault);
  }
  if (denial.is_only_reported) json["reported"] = true;
  if (const std::string remedy = remedy_text(denial, policy); !remedy.empty()) {
    json["remedy"] = remedy;
  }
  put_process(json, process);
  return dump_line(json);
}

std::string flow_json(std::int64_t unix_milliseconds, const FlowReport& report,
                      const Policy& policy, const std::optional<GuestProcess>& process) {
  Json json = begin_event(unix_milliseconds, report.end ? "flow_closed" : "flow_opened");
  put_request(json, report.id, report.request);
  put_allowing_rule(json, report, policy);
  if (report.end) {
    json["end"] = end_name(*report.end);
    json["bytes_up"] = report.bytes_up;
    json["bytes_down"] = report.bytes_down;
  }
  put_process(json, process);
  return dump_line(json);
}

Json listed_flow_json(const FlowReport& report, const Policy& policy) {
  Json json;
  put_request(json, report.id, report.request);
  put_rule(json, policy.evaluate(report.request), policy);
  json["bytes_up"] = report.bytes_up;
  json["bytes_down"] = report.bytes_down;
  return json;
}

std::string notice_json(std::int64_t unix_milliseconds, Notice notice, int code) {
  Json json = begin_event(unix_milliseconds, "notice");
  json["notice"] = notice_name(notice);
  json["text"] = notice_text(notice, code);
  if (code != 0) json["errno"] = code;
  return dump_line(json);
}

}  // namespace cordon
