#include "tests/unit/policy/policy_text.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace cordon::policy_text {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t at = text.find(separator);
    if (at != 0) out.push_back(text.substr(0, at));
    if (at == std::string_view::npos) break;
    text.remove_prefix(at + 1);
  }
  return out;
}

Rule make_rule(std::string_view text, Action action) {
  const std::vector<std::string_view> parts = split(text, '!');
  Result<Destination> to = parse_destination(parts.at(0));
  EXPECT_TRUE(to) << parts[0];
  Rule rule{.to = to.value_or(Destination{}), .action = action, .text = std::string(parts[0])};
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (parts[i] == "private") {
      rule.may_be_private = true;
    } else if (parts[i] == "tls") {
      rule.needs_tls = true;
    } else if (parts[i] == "up") {
      rule.limits.up_bytes = 1;
    } else {
      rule.dns_types.push_back(static_cast<std::uint16_t>(std::stoi(std::string(parts[i]))));
    }
  }
  return rule;
}

}  // namespace

PolicyInput make_input(std::string_view text) {
  PolicyInput input;
  const std::vector<std::string_view> parts = split(text, ' ');
  input.default_action = parts.at(0) == "public" ? DefaultAction::kAllowPublic
                         : parts[0] == "ask"     ? DefaultAction::kAsk
                                                 : DefaultAction::kDeny;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (parts[i] == "quic") {
      input.is_quic_by_name = true;
    } else if (parts[i].starts_with("mode=")) {
      input.mode = parts[i] == "mode=ask"      ? PolicyMode::kAsk
                   : parts[i] == "mode=report" ? PolicyMode::kReport
                                               : PolicyMode::kEnforce;
    } else {
      const Action action = parts[i][0] == '+'   ? Action::kAllow
                            : parts[i][0] == '?' ? Action::kAsk
                                                 : Action::kDeny;
      input.rules.push_back(make_rule(parts[i].substr(1), action));
    }
  }
  return input;
}

TextRequest make_request(std::string_view text) {
  TextRequest out;
  Request& request = out.request;
  std::vector<std::string_view> parts = split(text, ' ');
  if (parts[0] == "in") {
    request.direction = Direction::kInbound;
    parts.erase(parts.begin());
  }
  if (parts[0] == "door") {
    request.is_host_door = true;
    parts[0] = parts[1];
    parts[1] = "127.0.0.1";
    parts.push_back("self");
  }
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp}) {
    if (protocol_name(protocol) == parts[0]) request.protocol = protocol;
  }
  request.dialled.port = static_cast<std::uint16_t>(std::stoi(std::string(parts.at(2))));
  const std::optional<IpAddress> address = IpAddress::parse(parts.at(1));
  std::string_view name;
  if (address) {
    request.dialled.address = *address;
    request.address_class =
        parts.at(3) == "-" ? classify(*address, RouteFacts{}, {}) : parse_class(parts[3]).value();
    if (parts.size() > 4) name = parts[4];
  } else {
    name = parts[1];
  }
  if (!name.empty()) {
    out.name = std::make_unique<DnsName>(make_name(name));
    request.name = out.name.get();
  }
  return out;
}

std::string describe(const Verdict& verdict) {
  std::string text(action_name(verdict.action));
  text += " ";
  text += reason_name(verdict.reason);
  if (verdict.rule) text += " " + std::to_string(*verdict.rule);
  return text;
}

DnsName make_name(std::string_view text) {
  const std::optional<DnsName> name = DnsName::parse(text);
  EXPECT_TRUE(name) << text;
  return name.value_or(DnsName());
}

}  // namespace cordon::policy_text
