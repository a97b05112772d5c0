#include "launcher/events/event_log.h"

#include <algorithm>
#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace cordon {
namespace {

constexpr std::int64_t kTime = 1'769'903'999'123;  // 2026-01-31T23:59:59.123Z

Policy policy_of(DefaultAction action, std::vector<std::pair<Action, std::string>> rules) {
  PolicyInput input{.default_action = action};
  for (const auto& [rule_action, text] : rules) {
    const auto destination = parse_destination(text);
    EXPECT_TRUE(destination) << text;
    input.rules.push_back(Rule{.to = *destination,
                               .action = rule_action,
                               .text = text,
                               .origin = rule_action == Action::kAllow ? "--allow" : "--deny"});
  }
  return Policy(std::move(input));
}

Denial denial_to(const char* address, std::uint16_t port, AddressClass address_class,
                 const Policy& policy, Protocol protocol = Protocol::kTcp) {
  Denial denial{.id = 17};
  denial.request.protocol = protocol;
  denial.request.guest = {*IpAddress::parse("10.77.0.2"), 40000};
  denial.request.dialled = {*IpAddress::parse(address), port};
  denial.request.address_class = address_class;
  denial.verdict = policy.evaluate(denial.request);
  EXPECT_EQ(denial.verdict.action, Action::kDeny);
  return denial;
}

const std::optional<GuestProcess> kNode = GuestProcess{.pid = 4711, .program = "node"};

TEST(DenialText, IsTheLineOfThePolicy) {
  const Policy policy = policy_of(DefaultAction::kDeny, {});
  EXPECT_EQ(
      denial_text(denial_to("198.51.100.7", 443, AddressClass::kPublic, policy), policy, kNode),
      "denied tcp 198.51.100.7:443 rule=default id=17 by pid 4711 (node); to allow it: --allow "
      "198.51.100.7:443");
}

TEST(DenialText, NamesTheRuleAsItIsWritten) {
  const Policy policy =
      policy_of(DefaultAction::kAllowPublic, {{Action::kDeny, "198.51.100.0/24"}});
  EXPECT_EQ(denial_text(denial_to("198.51.100.7", 443, AddressClass::kPublic, policy), policy, {}),
            "denied tcp 198.51.100.7:443 rule=--deny=198.51.100.0/24 id=17");
}

TEST(DenialText, NamesTheClassOfTheFloorAndKeepsThePublicInternet) {
  const Policy policy = policy_of(DefaultAction::kAllowPublic, {});
  EXPECT_EQ(
      denial_text(denial_to("10.1.2.3", 22, AddressClass::kLan, policy), policy, {}),
      "denied tcp 10.1.2.3:22 rule=floor class=lan id=17; to allow it: --allow @public --allow "
      "10.1.2.3:22");
}

TEST(DenialText, OfAQuestionHasTheRemedyForTheName) {
  const Policy policy = policy_of(DefaultAction::kDeny, {{Action::kAllow, "ok.example"}});
  const DnsName name = *DnsName::parse("evil.example");
  Denial denial{.id = 18, .kind = Denial::Kind::kQuery, .query_type = 1};
  denial.request.protocol = Protocol::kUdp;  // as it was asked
  denial.request.guest = {*IpAddress::parse("10.77.0.2"), 40000};
  denial.request.dialled = {*IpAddress::parse("10.77.0.3"), 53};
  denial.request.name = &name;
  denial.verdict = policy.judge_name(name);
  EXPECT_EQ(denial_text(denial, policy, kNode),
            "denied dns evil.example rule=default id=18 by pid 4711 (node); to allow it: --allow "
            "evil.example");
}

TEST(DenialText, OfAQuestionForRecordsHasTheRemedyForTheType) {
  const Policy policy = policy_of(DefaultAction::kDeny, {{Action::kAllow, "ok.example"}});
  const auto remedy = [&](const char* text, std::uint16_t type, Reason reason = Reason::kDefault) {
    const DnsName name = *DnsName::parse(text);
    Denial denial{.id = 18, .kind = Denial::Kind::kQuery, .query_type = type};
    denial.request.name = &name;
    denial.verdict = {.action = Action::kDeny, .reason = reason};
    return remedy_text(denial, policy);
  };
  EXPECT_EQ(remedy("evil.example", 65), "--allow evil.example");
  EXPECT_EQ(remedy("_sip._tcp.ok.example", 33),
            "dns = [\"SRV\"] in a [[rule]] for _sip._tcp.ok.example");
  EXPECT_EQ(remedy("ok.example", 16, Reason::kType),
            "dns = [\"TXT\"] in a [[rule]] for ok.example");
  EXPECT_EQ(remedy("8.8.8.8.in-addr.arpa", 12), "") << "nothing lets an address be looked up";
}

TEST(DenialText, OfAnAddressThatStandsForNamesHasNoRemedy) {
  const Policy policy = policy_of(DefaultAction::kDeny, {{Action::kAllow, "ok.example"}});
  Denial denial = denial_to("198.18.0.99", 80, AddressClass::kReserved, policy);
  denial.verdict.reason = Reason::kNoName;
  EXPECT_EQ(remedy_text(denial, policy), "");
  const DnsName host = *DnsName::parse("198.18.0.1");  // as HTTP's Host
  denial.request.name = &host;
  denial.verdict.reason = Reason::kFirstFlight;
  EXPECT_EQ(remedy_text(denial, policy), "");
}

TEST(DenialText, SaysWhatWasWrongWithTheFirstFlight) {
  const Policy policy = policy_of(DefaultAction::kDeny, {{Action::kAllow, "ok.example"}});
  const DnsName named = *DnsName::parse("evil.example");
  Denial denial = denial_to("198.51.100.7", 443, AddressClass::kPublic, policy);
  denial.request.name = &named;
  denial.verdict.reason = Reason::kFirstFlight;
  denial.verdict.fault = FlightFault::kOtherName;
  EXPECT_EQ(denial_text(denial, policy, kNode),
            "denied tcp evil.example:443 rule=first-flight fault=other-name id=17 by pid 4711 "
            "(node); its first flight names another host than the connection was opened to; to "
            "allow it: --allow evil.example");
  EXPECT_NE(denial_json(0, denial, policy, {}).find(R"("fault":"other-name")"), std::string::npos);
}

TEST(DenialText, SaysWhereANameLed) {
  const Policy policy = policy_of(DefaultAction::kDeny, {{Action::kAllow, "ok.example"}});
  const DnsName name = *DnsName::parse("ok.example");
  Denial denial = denial_to("10.1.2.3", 443, AddressClass::kLan, policy);
  denial.request.name = &name;
  denial.verdict.reason = Reason::kRebind;
  EXPECT_EQ(denial_text(denial, policy, {}),
            "denied tcp ok.example:443 rule=rebind class=lan address=10.1.2.3 id=17; to allow it: "
            "--allow 10.1.2.3:443");
}

TEST(DenialText, NamesTheClientThatAPortIsNotFor) {
  const Policy policy = policy_of(DefaultAction::kDeny, {});
  Denial denial{.id = 19};
  denial.request.direction = Direction::kInbound;
  denial.request.guest = {*IpAddress::parse("10.77.0.2"), 80};
  denial.request.dialled = {*IpAddress::parse("198.51.100.9"), 40000};
  denial.verdict = {.action = Action::kDeny, .reason = Reason::kSource};
  EXPECT_EQ(denial_text(denial, policy, {}),
            "denied tcp from 198.51.100.9:40000 to 10.77.0.2:80 rule=source id=19; to allow it: "
            "--publish …,from=198.51.100.9");
}

TEST(DenialText, NamesTheLimitAndWhereToRaiseIt) {
  PolicyInput input{.rules = {Rule{.to = *parse_destination("198.51.100.7"),
                                   .text = "198.51.100.7",
                                   .origin = "policy.toml:12",
                                   .label = "model api",
                                   .limits = {.up_bytes = 5'000'000, .flows = 2}}},
                    .limits = {.until_seconds = 5400}};
  const Policy policy(std::move(input));
  Denial denial{.id = 17, .verdict = {.reason = Reason::kLimit, .rule = 0, .limit = Limit::kUp}};
  denial.request.dialled = {*IpAddress::parse("198.51.100.7"), 443};
  EXPECT_EQ(denial_text(denial, policy, {}),
            "denied tcp 198.51.100.7:443 rule=limit limit=up id=17; to allow it: raise up (now "
            "5MB) of rule \"model api\" at policy.toml:12");
  denial.verdict.limit = Limit::kFlows;
  EXPECT_EQ(remedy_text(denial, policy),
            "raise flows (now 2) of rule \"model api\" at policy.toml:12");
  denial.verdict = {.reason = Reason::kLimit, .limit = Limit::kTime};
  EXPECT_EQ(remedy_text(denial, policy), "raise time (now 1h30m) in [limits]");
  denial.verdict.limit = Limit::kNames;
  EXPECT_EQ(remedy_text(denial, policy), "raise wildcard-budget in [dns]");
  // A rule of a policy that has gone.
  denial.verdict = {.reason = Reason::kLimit, .rule = 4'000'000, .limit = Limit::kUp};
  EXPECT_EQ(remedy_text(denial, policy), "raise up of its rule");
}

TEST(DenialText, HasNoPortForPing) {
  const Policy policy = policy_of(DefaultAction::kDeny, {});
  const Denial denial =
      denial_to("2001:db8::1", 77, AddressClass::kPublic, policy, Protocol::kIcmp);
  EXPECT_TRUE(denial_text(denial, policy, {}).starts_with("denied icmp 2001:db8::1 rule=default"));
}

TEST(DenialText, SaysWhoCameFromOutside) {
  const Policy policy = policy_of(DefaultAction::kDeny, {});
  Denial denial = denial_to("198.51.100.7", 5000, AddressClass::kPublic, policy);
  denial.request.direction = Direction::kInbound;
  EXPECT_TRUE(denial_text(denial, policy, {})
                  .starts_with("denied tcp from 198.51.100.7:5000 to 10.77.0.2:40000 rule="));
}

TEST(DenialText, EscapesTheProgramsName) {
  const Policy policy = policy_of(DefaultAction::kDeny, {});
  const GuestProcess process{.pid = 1, .program = "a\x1b[2J\nb\\\xff"};
  const std::string text =
      denial_text(denial_to("198.51.100.7", 443, AddressClass::kPublic, policy), policy, process);
  EXPECT_NE(text.find("(a\\x1b[2J\\x0ab\\x5c\\xff)"), std::string::npos) << text;
}

TEST(DenialText, SurvivesARuleNumberThatIsNone) {
  const Policy policy = policy_of(DefaultAction::kDeny, {});
  Denial denial = denial_to("198.51.100.7", 443, AddressClass::kPublic, policy);
  denial.verdict.reason = Reason::kRule;
  denial.verdict.rule = 4'000'000;
  EXPECT_NE(denial_text(denial, policy, {}).find("rule=rule id=17"), std::string::npos);
}

TEST(DenialJson, HasTheDocumentedKeys) {
  const Policy policy = policy_of(DefaultAction::kDeny, {});
  const std::string line = denial_json(
      kTime, denial_to("198.51.100.7", 443, AddressClass::kPublic, policy), policy, kNode);
  EXPECT_EQ(line,
            R"({"time":"2026-01-31T23:59:59.123Z","event":"denied","id":17,"direction":"outbound",)"
            R"("protocol":"tcp","guest":"10.77.0.2:40000","destination":"198.51.100.7:443",)"
            R"("class":"public","rule":"default","reason":"default",)"
            R"("remedy":"--allow 198.51.100.7:443","pid":4711,"program":"node"})");
}

TEST(DenialJson, IsOneLineOfAsciiWhateverTheProgramIsCalled) {
  const Policy policy = policy_of(DefaultAction::kDeny, {});
  std::string program;
  for (int octet = 1; octet < 256; ++octet) program += static_cast<char>(octet);
  const GuestProcess process{.pid = 1, .program = program};
  const std::string line = denial_json(
      kTime, denial_to("198.51.100.7", 443, AddressClass::kPublic, policy), policy, process);
  EXPECT_TRUE(nlohmann::json::accept(line));
  EXPECT_TRUE(std::all_of(line.begin(), line.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
}

TEST(FlowJson, TellsOpeningAndClosing) {
  FlowReport report{.id = 3};
  report.request.dialled = {*IpAddress::parse("2001:db8::1"), 443};
  report.request.address_class = AddressClass::kPublic;
  EXPECT_EQ(nlohmann::json::parse(flow_json(kTime, report, Policy(), {}))["event"], "flow_opened");
  report.end = FlowEnd::kTimedOut;
  report.bytes_up = 18'446'744'073'709'551'615U;
  const auto closed = nlohmann::json::parse(flow_json(kTime, report, Policy(), {}));
  EXPECT_EQ(closed["event"], "flow_closed");
  EXPECT_EQ(closed["end"], "timed_out");
  EXPECT_EQ(closed["destination"], "[2001:db8::1]:443");
  EXPECT_EQ(closed["bytes_up"], 18'446'744'073'709'551'615U);
}

TEST(NoticeText, HasTheRemedy) {
  EXPECT_NE(notice_text(Notice::kPingNotPermitted, 0).find("net.ipv4.ping_group_range"),
            std::string::npos);
  EXPECT_NE(notice_text(Notice::kNoHostResource, EMFILE).find("ulimit"), std::string::npos);
}

TEST(Rfc3339, WritesUtcWithMilliseconds) {
  EXPECT_EQ(rfc3339(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(rfc3339(kTime), "2026-01-31T23:59:59.123Z");
}

/// Both ends of a pipe that stands for stderr; what was written is read without waiting.
class StderrPipe {
 public:
  StderrPipe() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    read_.reset(ends[0]);
    write_.reset(ends[1]);
    ::fcntl(read_.get(), F_SETFL, O_NONBLOCK);
  }
  int fd() const { return write_.get(); }
  std::vector<std::string> lines() {
    char buffer[65536];
    const ssize_t size = ::read(read_.get(), buffer, sizeof(buffer));
    std::string text(buffer, size > 0 ? static_cast<std::size_t>(size) : 0);
    std::vector<std::string> result;
    while (!text.empty()) {
      const auto end = std::min(text.find('\n'), text.size() - 1);
      result.push_back(text.substr(0, end));
      text.erase(0, end + 1);
    }
    return result;
  }

 private:
  UniqueFd read_;
  UniqueFd write_;
};

TEST(EventLogLines, AreLimitedToTenASecondAndTheRestIsCounted) {
  StderrPipe pipe;
  const Policy policy = policy_of(DefaultAction::kDeny, {});
  EventLog log(Verbosity::kNormal, pipe.fd(), UniqueFd());
  for (int i = 0; i < 60; ++i) {
    log.denied(denial_to("198.51.100.7", 443, AddressClass::kPublic, policy), policy, {});
  }
  log.finish();
  const auto lines = pipe.lines();
  ASSERT_GE(lines.size(), 12U);
  EXPECT_LE(lines.size(), 14U);
  EXPECT_TRUE(lines[0].starts_with("cordon: denied tcp 198.51.100.7:443"));
  EXPECT_TRUE(lines[lines.size() - 2].ends_with(" more denials"));
  EXPECT_EQ(lines.back(), "cordon: 60 flows were denied");
}

TEST(EventLogLines, WaitWhileSomebodyHasTheScreen) {
  StderrPipe pipe;
  EventLog log(Verbosity::kNormal, pipe.fd(), UniqueFd());
  bool is_taken = false;
  int held = 0;
  log.set_screen([&] { return is_taken; }, [&] { ++held; });
  log.trouble("before");
  is_taken = true;
  log.trouble("first");
  log.trouble("second");
  EXPECT_EQ(pipe.lines(), std::vector<std::string>{"cordon: before"});
  EXPECT_EQ(held, 1);
  EXPECT_FALSE(log.release());
  is_taken = false;
  EXPECT_TRUE(log.release());
  EXPECT_EQ(pipe.lines(), (std::vector<std::string>{"cordon: first", "cordon: second"}));
  is_taken = true;
  log.trouble("third");
  is_taken = false;
  log.trouble("fourth");  // nothing overtakes
  EXPECT_EQ(pipe.lines(), (std::vector<std::string>{"cordon: third", "cordon: fourth"}));
}

TEST(EventLogLines, ThatWaitAreWrittenAtTheEndAndTheirNumberIsBounded) {
  StderrPipe pipe;
  EventLog log(Verbosity::kNormal, pipe.fd(), UniqueFd());
  log.set_screen([] { return true; }, [] {});
  for (int i = 0; i < 1000; ++i) log.trouble("again");
  EXPECT_TRUE(pipe.lines().empty());
  log.finish();
  const auto lines = pipe.lines();
  ASSERT_EQ(lines.size(), 201U);
  EXPECT_EQ(lines.back(), "cordon: 800 more lines");
}

TEST(EventLogLines, QuietSaysNothingAboutDenials) {
  StderrPipe pipe;
  const Policy policy = policy_of(DefaultAction::kDeny, {});
  EventLog log(Verbosity::kQuiet, pipe.fd(), UniqueFd());
  log.denied(denial_to("198.51.100.7", 443, AddressClass::kPublic, policy), policy, {});
  log.notice(Notice::kFlowLimit, 0);
  log.finish();
  EXPECT_TRUE(pipe.lines().empty());
}

TEST(EventLogLines, TheSameNoticeIsNotRepeatedAtOnce) {
  StderrPipe pipe;
  EventLog log(Verbosity::kNormal, pipe.fd(), UniqueFd());
  for (int i = 0; i < 3; ++i) log.notice(Notice::kUpstreamSilent, 0);
  log.notice(Notice::kFlowLimit, 0);
  EXPECT_EQ(pipe.lines().size(), 2U);
}

TEST(EventLogLines, SaysNothingAtTheEndWhereNothingWasDenied) {
  StderrPipe pipe;
  EventLog log(Verbosity::kNormal, pipe.fd(), UniqueFd());
  log.flow(FlowReport{}, Policy(), {});
  log.finish();
  EXPECT_TRUE(pipe.lines().empty());
}

TEST(EventLogLines, AreAtMostOneKibibyte) {
  StderrPipe pipe;
  EventLog log(Verbosity::kNormal, pipe.fd(), UniqueFd());
  log.trouble(std::string(5000, '\n'));
  const auto lines = pipe.lines();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].size() + 1, kMaxLineOctets);
}

TEST(EventLogLines, AFullPipeNeitherBlocksNorFails) {
  StderrPipe pipe;
  const Policy policy = policy_of(DefaultAction::kDeny, {});
  EventLog log(Verbosity::kNormal, pipe.fd(), UniqueFd());
  for (int i = 0; i < 1000; ++i) log.trouble(std::string(1000, 'x'));
  EXPECT_LE(pipe.lines().size(), 66U);
}

TEST(EventLogFile, AFullDiskIsToldOnceAtTheEnd) {
  StderrPipe pipe;
  const Policy policy = policy_of(DefaultAction::kDeny, {});
  auto file = open_log("/dev/full");
  ASSERT_TRUE(file) << file.error().message();
  EventLog log(Verbosity::kNormal, pipe.fd(), *std::move(file));
  log.denied(denial_to("198.51.100.7", 443, AddressClass::kPublic, policy), policy, {});
  log.denied(denial_to("198.51.100.7", 443, AddressClass::kPublic, policy), policy, {});
  log.finish();
  const auto lines = pipe.lines();
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[2], "cordon: --log: 2 lines were lost: No space left on device");
}

TEST(EventLogFile, AppendsOneObjectALine) {
  char path[] = "/tmp/event_log_test.XXXXXX";
  const UniqueFd reader(::mkstemp(path));
  ASSERT_TRUE(reader.is_open());
  StderrPipe pipe;
  const Policy policy = policy_of(DefaultAction::kDeny, {});
  auto file = open_log(path);
  ASSERT_TRUE(file);
  EventLog log(Verbosity::kQuiet, pipe.fd(), *std::move(file));
  log.denied(denial_to("198.51.100.7", 443, AddressClass::kPublic, policy), policy, {});
  log.notice(Notice::kUpstreamSilent, 0);
  ::unlink(path);
  char buffer[4096];
  const ssize_t size = ::read(reader.get(), buffer, sizeof(buffer));
  const std::string text(buffer, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  const auto first_end = text.find('\n');
  ASSERT_NE(first_end, std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(text.substr(0, first_end))["event"], "denied");
  EXPECT_EQ(nlohmann::json::parse(text.substr(first_end + 1))["notice"], "upstream_silent");
}

TEST(EventLogFile, WhatCannotBeOpenedIsNamed) {
  const auto missing = open_log("/nonexistent/log");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message(),
            "--log /nonexistent/log: there is no folder /nonexistent; to make it: "
            "mkdir -p /nonexistent");
}

}  // namespace
}  // namespace cordon
