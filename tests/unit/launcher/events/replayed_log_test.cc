#include "launcher/events/replayed_log.h"

#include <gtest/gtest.h>

#include "launcher/events/event_json.h"

namespace cordon {
namespace {

Policy policy_of(std::vector<std::pair<Action, std::string>> rules) {
  PolicyInput input{.default_action = DefaultAction::kDeny};
  for (const auto& [action, text] : rules) {
    input.rules.push_back(Rule{
        .to = *parse_destination(text), .action = action, .text = text, .origin = "policy.toml:3"});
  }
  return Policy(std::move(input));
}

std::string opened(const char* address, std::uint16_t port, const char* name = nullptr,
                   AddressClass address_class = AddressClass::kPublic) {
  FlowReport report{.id = 1};
  report.request.guest = {*IpAddress::parse("10.77.0.2"), 40000};
  report.request.dialled = {*IpAddress::parse(address), port};
  report.request.address_class = address_class;
  DnsName parsed;
  if (name != nullptr) parsed = *DnsName::parse(name);
  if (name != nullptr) report.request.name = &parsed;
  return flow_json(0, report, Policy(), GuestProcess{.pid = 1, .program = "node"});
}

TEST(ReplayedLog, JudgesWhatWasRecordedByAnotherPolicy) {
  const Policy policy =
      policy_of({{Action::kAllow, "api.example"}, {Action::kDeny, "198.51.100.9"}});
  ReplayedLog log(policy);
  log.add_line(opened("198.51.100.7", 443, "api.example"));
  log.add_line(opened("198.51.100.7", 443));
  log.add_line(opened("198.51.100.7", 443));
  log.add_line(opened("2001:db8::7", 443, "evil.example"));
  log.add_line(opened("198.51.100.9", 443, "api.example"));
  EXPECT_EQ(log.judged(), 5U);
  ASSERT_EQ(log.flows().size(), 3U);
  EXPECT_EQ(log.flows()[0].what, "tcp api.example:443");
  EXPECT_EQ(log.flows()[1].count, 2U);
  EXPECT_EQ(log.flows()[1].action, Action::kDeny);
  EXPECT_EQ(log.flows()[1].remedy, "--allow 198.51.100.7:443");
  EXPECT_EQ(log.flows()[2].rule, "default");
  EXPECT_EQ(log.flows()[2].remedy, "--allow evil.example");
}

TEST(ReplayedLog, JudgesWhatWasDeniedBeforeItsNameWasLookedUpByTheName) {
  const Policy policy =
      policy_of({{Action::kAllow, "icmp/api.example"}, {Action::kAllow, "api.example"}});
  const DnsName name = *DnsName::parse("api.example");
  ReplayedLog log(policy);
  Denial denial{.id = 3};
  denial.request.guest = {*IpAddress::parse("10.77.0.2"), 40000};
  denial.request.name = &name;
  for (const auto& [protocol, port] :
       {std::pair(Protocol::kIcmp, 7), std::pair(Protocol::kTcp, 443),
        std::pair(Protocol::kTcp, 22)}) {
    denial.request.protocol = protocol;
    denial.request.dialled = {*IpAddress::parse("198.18.0.1"), static_cast<std::uint16_t>(port)};
    log.add_line(denial_json(0, denial, Policy(), {}));
  }
  ASSERT_EQ(log.flows().size(), 3U);
  EXPECT_EQ(log.flows()[0].what, "icmp api.example");
  EXPECT_EQ(log.flows()[0].action, Action::kAllow);
  EXPECT_EQ(log.flows()[1].what, "tcp api.example:443");
  EXPECT_EQ(log.flows()[1].action, Action::kAllow);
  EXPECT_EQ(log.flows()[2].rule, "default");
  EXPECT_EQ(log.flows()[2].remedy, "--allow api.example:22");
  EXPECT_EQ(log.not_understood(), 0U);
}

TEST(ReplayedLog, JudgesQuestionsForRecordsByTheirType) {
  PolicyInput input{.default_action = DefaultAction::kDeny};
  input.rules = {Rule{.to = *parse_destination("api.example"), .dns_types = {16}}};
  const Policy policy(std::move(input));
  ReplayedLog log(policy);
  const DnsName name = *DnsName::parse("api.example");
  Denial denial{.id = 3, .kind = Denial::Kind::kQuery};
  denial.request.name = &name;
  for (const std::uint16_t type : {16, 33}) {
    denial.query_type = type;
    log.add_line(denial_json(0, denial, Policy(), {}));
  }
  ASSERT_EQ(log.flows().size(), 2U);
  EXPECT_EQ(log.flows()[0].what, "dns api.example TXT");
  EXPECT_EQ(log.flows()[0].action, Action::kAllow);
  EXPECT_EQ(log.flows()[1].what, "dns api.example SRV");
  EXPECT_EQ(log.flows()[1].action, Action::kDeny);
  EXPECT_EQ(log.flows()[1].remedy, "dns = [\"SRV\"] in a [[rule]] for api.example");
}

TEST(ReplayedLog, WhatThePolicyDeclaresMovesNoAddressThatTheHostsRoutesHold) {
  PolicyInput input{.default_action = DefaultAction::kAllowPublic};
  input.overrides = {
      {.prefix = *Prefix::parse("198.51.100.0/24"), .address_class = AddressClass::kPublic}};
  const Policy policy(std::move(input));
  ReplayedLog log(policy);
  log.add_line(opened("198.51.100.7", 443, nullptr, AddressClass::kReserved));
  log.add_line(opened("198.51.100.8", 443, nullptr, AddressClass::kLan));
  log.add_line(opened("198.51.100.9", 443, nullptr, AddressClass::kSelf));
  ASSERT_EQ(log.flows().size(), 3U);
  EXPECT_EQ(log.flows()[0].action, Action::kAllow);
  EXPECT_EQ(log.flows()[1].rule, "floor");
  EXPECT_EQ(log.flows()[2].rule, "floor");
}

TEST(ReplayedLog, JudgesDeniedFlowsAndQuestionsAgain) {
  const Policy policy = policy_of({{Action::kAllow, "api.example"}});
  ReplayedLog log(policy);
  Denial denial{.id = 3, .kind = Denial::Kind::kQuery, .query_type = 28};
  denial.request.protocol = Protocol::kUdp;
  denial.request.dialled = {*IpAddress::parse("10.77.0.1"), 53};
  for (const char* text : {"api.example", "evil.example"}) {
    const DnsName name = *DnsName::parse(text);
    denial.request.name = &name;
    log.add_line(denial_json(0, denial, Policy(), {}));
  }
  ASSERT_EQ(log.flows().size(), 2U);
  EXPECT_EQ(log.flows()[0].action, Action::kAllow);
  EXPECT_EQ(log.flows()[1].what, "dns evil.example");
  EXPECT_EQ(log.flows()[1].action, Action::kDeny);
}

TEST(ReplayedLog, TakesTheFloorFromTheLogAndMovedClassesFromThePolicy) {
  PolicyInput input{.default_action = DefaultAction::kAllowPublic};
  const Policy open(input);
  ReplayedLog log(open);
  log.add_line(opened("198.51.100.7", 443, nullptr, AddressClass::kReserved));
  EXPECT_EQ(log.flows()[0].action, Action::kDeny);
  input.overrides.push_back(
      {.prefix = *Prefix::parse("198.51.100.0/24"), .address_class = AddressClass::kPublic});
  const Policy moved(input);
  ReplayedLog again(moved);
  again.add_line(opened("198.51.100.7", 443, nullptr, AddressClass::kReserved));
  EXPECT_EQ(again.flows()[0].action, Action::kAllow);
}

TEST(ReplayedLog, CountsWhatItDoesNotUnderstand) {
  const Policy policy = policy_of({});
  ReplayedLog log(policy);
  for (const char* line :
       {"not json", "[]", R"({"event":"flow_opened"})", R"({"event":"denied","protocol":"tcp"})",
        R"({"event":"flow_opened","protocol":"tcp","destination":"1.2.3.4:99999"})",
        R"({"event":"flow_opened","protocol":"tcp","destination":"1.2.3.4:1","name":"a..b"})",
        R"({"event":7,"protocol":[]})"}) {
    log.add_line(line);
  }
  log.add_line("");
  log.add_line(R"({"event":"notice","text":"x"})");
  EXPECT_EQ(log.judged(), 0U);
  EXPECT_EQ(log.not_understood(), 6U);
}

}  // namespace
}  // namespace cordon
