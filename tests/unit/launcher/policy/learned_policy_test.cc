#include "launcher/policy/learned_policy.h"

#include <gtest/gtest.h>

#include "launcher/policy/policy_file.h"
#include "launcher/policy/policy_file_edit.h"

namespace cordon {
namespace {

constexpr std::int64_t kNoon = 43'200'000;

class Lore final : public PolicyLore {
 public:
  [[nodiscard]] std::optional<std::string> preset_for(
      std::span<const std::string> names) const override {
    for (const std::string& name : names) {
      if (name == "registry.npmjs.org") return "npm";
    }
    return std::nullopt;
  }
  [[nodiscard]] bool covers(const std::string& preset, const std::string& name,
                            std::uint16_t port) const override {
    return preset == "npm" && name.ends_with(".npmjs.org") && port == 443;
  }
  [[nodiscard]] bool is_public_suffix(const std::string& name) const override {
    return name == "github.io" || name == "co.uk";
  }
  [[nodiscard]] bool may_be_named(const std::string& name) const override {
    return parse_destination(name).has_value() && name != "co.uk";
  }
};

LearnedDestination reached(const std::string& name, std::uint16_t port = 443,
                           Protocol protocol = Protocol::kTcp) {
  return {.protocol = protocol,
          .name = name,
          .port = port,
          .flows = 2,
          .bytes_up = 1500,
          .bytes_down = 2'000'000,
          .programs = {"node"},
          .first_seen_unix_milliseconds = kNoon};
}

LearnedName looked_up(const std::string& name) {
  return {.name = name, .first_seen_unix_milliseconds = kNoon};
}

std::string written(std::vector<LearnedDestination> destinations,
                    std::vector<LearnedName> names_not_dialled = {},
                    std::vector<LearnedRecords> records_asked = {}) {
  const std::string text = learned_policy({.command = {"npm", "ci"},
                                           .date = "2026-01-31",
                                           .destinations = std::move(destinations),
                                           .names_not_dialled = std::move(names_not_dialled),
                                           .records_asked = std::move(records_asked),
                                           .classes = {}},
                                          Lore());
  const PolicyReading reading = read_policy_text(text, "learned.toml");
  for (const Problem& problem : reading.problems)
    ADD_FAILURE() << problem.to_string() << "\n" << text;
  EXPECT_EQ(format_policy_text(text, "learned.toml").value_or(""), text) << "as policy fmt has it";
  return text;
}

std::vector<Rule> rules_of(const std::string& text) {
  std::vector<Rule> rules;
  for (const auto& rule : read_policy_text(text, "learned.toml").file.rules) {
    rules.push_back(rule.value);
  }
  return rules;
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(LearnedPolicy, OfNothingAllowsNothing) {
  EXPECT_EQ(written({}),
            "# What `npm ci` reached on 2026-01-31, as cordon learn saw it.\n"
            "# It allows what one run did: read it before you rely on it.\n"
            "version = 1\n"
            "default = \"deny\"\n"
            "allow   = []\n");
}

TEST(LearnedPolicy, GivesEveryLineItsReason) {
  const std::string text = written({reached("api.example")});
  EXPECT_TRUE(
      has(text, "  \"api.example\", # first at 12:00:00; 2 flows, 1.5 kB up, 2.0 MB down; node\n"))
      << text;
}

TEST(LearnedPolicy, WritesPortsAndProtocolsThatAreNotTheWebs) {
  const std::string text =
      written({reached("a.example", 80), reached("b.example", 8080), reached("c.example", 80),
               reached("c.example", 443), reached("ntp.example", 123, Protocol::kUdp),
               reached("ping.example", 0, Protocol::kIcmp)});
  for (const char* rule : {"\"a.example:80\"", "\"b.example:8080\"", "\"c.example\"",
                           "\"udp/ntp.example:123\"", "\"icmp/ping.example\""}) {
    EXPECT_TRUE(has(text, rule)) << rule << "\n" << text;
  }
  EXPECT_FALSE(has(text, "c.example:80")) << text;
}

TEST(LearnedPolicy, UsesAPresetWhereOneFitsAndNamesWhatItTook) {
  const std::string text = written(
      {reached("registry.npmjs.org"), reached("api.example"), reached("registry.npmjs.org", 22)});
  EXPECT_TRUE(has(text, "use = [\n  \"npm\", # registry.npmjs.org: 2 flows")) << text;
  EXPECT_TRUE(has(text, "\"api.example\"")) << text;
  EXPECT_TRUE(has(text, "\"registry.npmjs.org:22\"")) << text;
}

TEST(LearnedPolicy, MakesASuffixRuleFromThreeNamesUp) {
  std::vector<LearnedDestination> two{reached("a.cdn.example"), reached("b.cdn.example")};
  EXPECT_FALSE(has(written(two), "*."));
  two.push_back(reached("c.cdn.example"));
  const std::string text = written(two);
  EXPECT_TRUE(has(text,
                  "\"*.cdn.example\", # 3 names: a.cdn.example, b.cdn.example, c.cdn.example; "
                  "6 flows"))
      << text;
  EXPECT_FALSE(has(text, "\"a.cdn.example\"")) << text;
}

TEST(LearnedPolicy, MakesNoSuffixRuleOverStrangersNames) {
  for (const char* parent : {"github.io", "co.uk", "example"}) {
    const std::string under = std::string(".") + parent;
    const std::string text =
        written({reached("a" + under), reached("b" + under), reached("c" + under)});
    EXPECT_FALSE(has(text, "*.")) << text;
  }
}

TEST(LearnedPolicy, DoesNotMixPortsInASuffixRule) {
  const std::string text =
      written({reached("a.cdn.example"), reached("b.cdn.example"), reached("c.cdn.example", 8080)});
  EXPECT_FALSE(has(text, "*.")) << text;
}

TEST(LearnedPolicy, LeavesTheFloorToAPerson) {
  const LearnedDestination lan{.address = "10.1.2.3:5432",
                               .port = 5432,
                               .address_class = AddressClass::kLan,
                               .is_denied = true,
                               .flows = 3,
                               .programs = {"psql"}};
  const LearnedDestination host{.address = "127.0.0.1:8080",
                                .port = 8080,
                                .is_host_door = true,
                                .address_class = AddressClass::kLoopback,
                                .is_denied = true,
                                .flows = 1};
  const std::string text = written({lan, host});
  EXPECT_TRUE(has(text, "  # \"10.1.2.3:5432\", # was denied, class lan: 3 flows; psql\n")) << text;
  EXPECT_TRUE(has(text, "  # \"host:8080\",     # was denied, a port of this host: 1 flow\n"))
      << text;
}

Resolution records(const DnsName& name, std::uint16_t type, bool has_data = true) {
  return {
      .request = {.protocol = Protocol::kUdp, .name = &name}, .type = type, .has_data = has_data};
}

TEST(LearnedPolicy, ListsTheTypesOfRecordsThatWereAskedFor) {
  const DnsName sip = *DnsName::parse("_SIP._tcp.voice.example");
  const DnsName mail = *DnsName::parse("voice.example");
  Learner learner;
  for (const std::uint16_t type : {33, 16, 33}) learner.on_resolved(kNoon, records(sip, type));
  learner.on_resolved(kNoon, records(mail, 15));
  learner.on_resolved(kNoon, records(mail, 257, false));
  EXPECT_TRUE(learner.destinations().empty());
  EXPECT_TRUE(learner.names_not_dialled().empty());
  const std::string text =
      written({reached("voice.example")}, {looked_up("voice.example")}, learner.records_asked());
  EXPECT_TRUE(has(text,
                  "\n# For their records: what is sent to port 53 meets the resolver, so this lets "
                  "nothing be dialled.\n"
                  "[[rule]]\n"
                  "name = \"records: SRV, TXT\"\n"
                  "dns  = [\"SRV\", \"TXT\"]\n"
                  "to = [\n"
                  "  \"_sip._tcp.voice.example:53\", # asked at 12:00:00\n"
                  "]\n"))
      << text;
  EXPECT_TRUE(has(text, "dns  = [\"MX\"]\nto = [\n  \"voice.example:53\", #")) << text;
  EXPECT_FALSE(has(text, "never dialled")) << text;
  // What the file says is what was meant: these records, and no flow that was not there.
  const Policy policy(PolicyInput{.default_action = DefaultAction::kDeny, .rules = rules_of(text)});
  EXPECT_TRUE(policy.is_dns_type_allowed(sip, 33));
  EXPECT_TRUE(policy.is_dns_type_allowed(mail, 15));
  EXPECT_FALSE(policy.is_dns_type_allowed(mail, 257));
  EXPECT_EQ(policy.judge_name(sip).action, Action::kAllow);
  Request flow{.name = &sip};
  flow.dialled.port = 443;
  EXPECT_EQ(policy.judge_unresolved(flow).action, Action::kDeny);
}

TEST(LearnedPolicy, TellsWhichRecordsNoRuleIsFor) {
  const DnsName none = *DnsName::parse("_kerberos.example");
  const DnsName pointer = *DnsName::parse("7.100.51.198.in-addr.arpa");
  const DnsName suffix = *DnsName::parse("co.uk");
  Learner learner;
  learner.on_resolved(kNoon, records(none, 16, false));
  learner.on_resolved(kNoon, records(pointer, 12));
  learner.on_resolved(kNoon, records(suffix, 2));
  const std::string text = written({}, {}, learner.records_asked());
  EXPECT_FALSE(has(text, "[[rule]]")) << text;
  for (const char* comment :
       {"# \"_kerberos.example\",         # asked for TXT records at 12:00:00, and had none\n",
        "# \"7.100.51.198.in-addr.arpa\", # asked for PTR records at 12:00:00: no rule can list "
        "those\n",
        "# \"co.uk\",                     # asked for NS records at 12:00:00: no rule can be for "
        "such a name\n"}) {
    EXPECT_TRUE(has(text, comment)) << comment << text;
  }
}

TEST(LearnedPolicy, TellsNamesThatWereOnlyLookedUp) {
  const std::string text = written({reached("api.example")}, {looked_up("other.example")});
  EXPECT_TRUE(has(text,
                  "  # \"other.example\", # looked up at 12:00:00, never dialled: without a rule "
                  "it is not answered\n"))
      << text;
}

TEST(LearnedPolicy, LeavesOutLookedUpNamesThatItAnswersAnyway) {
  const std::string text =
      written({reached("a.cdn.example"), reached("b.cdn.example"), reached("c.cdn.example"),
               reached("registry.npmjs.org")},
              {looked_up("d.cdn.example"), looked_up("www.npmjs.org"), looked_up("cdn.example")});
  EXPECT_FALSE(has(text, "d.cdn.example")) << text;
  EXPECT_FALSE(has(text, "www.npmjs.org")) << text;
  EXPECT_TRUE(has(text, "# \"cdn.example\"")) << text;
}

TEST(LearnedPolicy, OfAThousandLookedUpNamesTellsTwoHundred) {
  std::vector<LearnedName> names;
  for (int i = 0; i < 1000; ++i) names.push_back(looked_up("n" + std::to_string(i) + ".example"));
  const std::string text = written({}, names);
  EXPECT_TRUE(has(text, "\"n199.example\"")) << text;
  EXPECT_FALSE(has(text, "\"n200.example\"")) << text;
  EXPECT_TRUE(has(text, "(and 800 more such names)")) << text;
}

TEST(LearnedPolicy, KeepsTheClassesThatWereGiven) {
  const std::string text =
      learned_policy({.command = {"true"},
                      .date = "2026-01-31",
                      .destinations = {},
                      .names_not_dialled = {},
                      .classes = {{*Prefix::parse("198.51.100.0/24"), AddressClass::kPublic},
                                  {*Prefix::parse("10.9.0.0/16"), AddressClass::kVpn},
                                  {*Prefix::parse("2001:db8::/32"), AddressClass::kPublic}}},
                     Lore());
  const PolicyReading reading = read_policy_text(text, "learned.toml");
  EXPECT_TRUE(reading.problems.empty()) << text;
  EXPECT_TRUE(has(text, "public = [\"198.51.100.0/24\", \"2001:db8::/32\"]\n")) << text;
  EXPECT_TRUE(has(text, "vpn = [\"10.9.0.0/16\"]\n")) << text;
}

TEST(LearnedPolicy, IsNotBrokenByWhatTheCommandIsCalled) {
  const std::string text = learned_policy({.command = {"sh", "-c", "echo\nallow = []"},
                                           .date = "2026-01-31",
                                           .destinations = {},
                                           .names_not_dialled = {},
                                           .classes = {}},
                                          Lore());
  EXPECT_TRUE(read_policy_text(text, "learned.toml").problems.empty()) << text;
  LearnedDestination odd = reached("api.example");
  odd.programs = {"a\\x0aallow"};
  const std::string with_odd = written({odd});
  EXPECT_TRUE(read_policy_text(with_odd, "learned.toml").problems.empty()) << with_odd;
  EXPECT_TRUE(has(with_odd, "a\\x0aallow")) << with_odd;
}

TEST(Learner, GathersFlowsByDestination) {
  Learner learner;
  const DnsName name = *DnsName::parse("API.example");
  FlowReport report{.id = 1};
  report.request.dialled = {*IpAddress::parse("198.51.100.7"), 443};
  report.request.name = &name;
  learner.on_flow(5, report, GuestProcess{.pid = 1, .program = "node"});
  report.request.dialled.address = *IpAddress::parse("198.51.100.8");
  learner.on_flow(6, report, {});
  report.end = FlowEnd::kClosed;
  report.bytes_up = 10;
  learner.on_flow(7, report, {});
  const auto all = learner.destinations();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].to_string(), "api.example");
  EXPECT_EQ(all[0].flows, 2U);
  EXPECT_EQ(all[0].bytes_up, 10U);
  EXPECT_EQ(all[0].first_seen_unix_milliseconds, 5);
  EXPECT_EQ(all[0].programs, std::set<std::string>{"node"});
}

TEST(Learner, KnowsTheNamesThatNoFlowWentTo) {
  Learner learner;
  const DnsName dialled = *DnsName::parse("api.example");
  const DnsName other = *DnsName::parse("Other.example");
  learner.on_resolved(1, {.request = {.protocol = Protocol::kUdp, .name = &dialled}});
  learner.on_resolved(2, {.request = {.protocol = Protocol::kUdp, .name = &other}});
  FlowReport report{.id = 1};
  report.request.dialled = {*IpAddress::parse("198.51.100.7"), 443};
  report.request.name = &dialled;
  learner.on_flow(3, report, {});
  const auto names = learner.names_not_dialled();
  ASSERT_EQ(names.size(), 1U);
  EXPECT_EQ(names[0].name, "other.example");
  EXPECT_EQ(names[0].first_seen_unix_milliseconds, 2);
}

TEST(Learner, KeepsWhatWasDeniedApartAndInboundFlowsOut) {
  Learner learner;
  Denial denial{.id = 1};
  denial.request.dialled = {*IpAddress::parse("10.1.2.3"), 22};
  denial.request.address_class = AddressClass::kLan;
  learner.on_denial(1, denial, {});
  learner.on_denial(2, denial, {});
  denial.kind = Denial::Kind::kQuery;
  learner.on_denial(3, denial, {});
  FlowReport inbound;
  inbound.request.direction = Direction::kInbound;
  learner.on_flow(4, inbound, {});
  const auto all = learner.destinations();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_TRUE(all[0].is_denied);
  EXPECT_EQ(all[0].flows, 2U);
}

}  // namespace
}  // namespace cordon
