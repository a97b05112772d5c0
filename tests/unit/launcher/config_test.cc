#include "launcher/config.h"

#include <gtest/gtest.h>

namespace cordon {
namespace {

RunOptions options_of(std::vector<std::string> words) {
  words.insert(words.begin(), "run");
  words.insert(words.end(), {"--", "x", "y"});
  const auto parsed = parse_command_line(words);
  EXPECT_TRUE(parsed) << parsed.error().message();
  return parsed ? parsed->run : RunOptions{};
}

const HostFacts kHost{
    .resolv_conf = parse_resolv_conf("nameserver 10.77.0.1\nsearch corp.example\n"),
    .networks = {}};

SandboxPlan plan_of(std::vector<std::string> words, const HostFacts& host = kHost) {
  auto plan = plan_sandbox(options_of(std::move(words)), host);
  EXPECT_TRUE(plan) << plan.error().message();
  return plan ? *std::move(plan) : SandboxPlan{};
}

TEST(PlanSandbox, PutsFourAddressesOfEachFamilyOnTheLink) {
  const SandboxPlan plan = plan_of({}, HostFacts{});
  EXPECT_EQ(plan.translator.v4.guest.to_string(), "10.77.0.2");
  EXPECT_EQ(plan.translator.v6.guest.to_string(), "fd63:6f72:646f::2");
  EXPECT_EQ(plan.translator.guest_link_local.to_string(), "fe80::ff:fe00:2");
  EXPECT_EQ(plan.translator.gateway_link_local.to_string(), "fe80::1");
  EXPECT_EQ(plan.translator.mtu, 1500);
  EXPECT_EQ(plan.command, (std::vector<std::string>{"x", "y"}));
}

TEST(PlanSandbox, KeepsClearOfTheHostsDnsServers) {
  EXPECT_EQ(plan_of({}).translator.v4.subnet.to_string(), "10.177.42.0/24");
}

TEST(PlanSandbox, HasAsManyWorkersAsItIsToldOrAsTheProcessorsSuggest) {
  EXPECT_EQ(plan_of({"--workers", "3"}).workers, 3U);
  const auto by_default = [](unsigned processors) {
    return plan_of({}, {.resolv_conf = {}, .networks = {}, .processors = processors}).workers;
  };
  for (const unsigned few : {0U, 1U, 2U}) EXPECT_EQ(by_default(few), 1U);
  EXPECT_EQ(by_default(3), 3U);
  EXPECT_EQ(by_default(64), 4U);
}

TEST(PlanSandbox, NamesResolverAndHostDoorInside) {
  const SandboxPlan plan = plan_of({});
  EXPECT_NE(plan.resolv_conf.find("nameserver 10.177.42.3\nsearch corp.example\n"),
            std::string::npos);
  EXPECT_EQ(plan.hosts_lines,
            "10.177.42.4 host.cordon.internal\nfd63:6f72:646f::4 host.cordon.internal\n");
}

TEST(PlanSandbox, AsksTheServersOfTheChoice) {
  ASSERT_EQ(plan_of({}).translator.upstreams.size(), 1U);
  EXPECT_EQ(plan_of({}).translator.upstreams[0].to_string(), "10.77.0.1:53");
  ASSERT_EQ(plan_of({}).translator.search.size(), 1U);
  EXPECT_EQ(plan_of({}).translator.search[0].to_string(), "corp.example");
  ASSERT_EQ(plan_of({"--dns", "9.9.9.9"}).translator.upstreams.size(), 1U);
  EXPECT_EQ(plan_of({"--dns", "9.9.9.9"}).translator.upstreams[0].to_string(), "9.9.9.9:53");
  const SandboxPlan off = plan_of({"--dns", "off"});
  EXPECT_TRUE(off.translator.upstreams.empty());
  EXPECT_TRUE(parse_resolv_conf(off.resolv_conf).servers.empty());
}

TEST(PlanSandbox, WorksWithoutAnyUpstream) {
  const SandboxPlan plan = plan_of({}, HostFacts{});
  EXPECT_TRUE(plan.translator.upstreams.empty());
  EXPECT_NE(plan.resolv_conf.find("nameserver 10.77.0.3\n"), std::string::npos);
}

TEST(PlanSandbox, TakesTheUsersSubnetOrSaysWhyNot) {
  EXPECT_EQ(plan_of({"--subnet", "10.9.8.0/24"}).translator.v4.resolver.to_string(), "10.9.8.3");
  const auto overlapping = plan_sandbox(options_of({"--subnet", "10.77.0.0/24"}), kHost);
  ASSERT_FALSE(overlapping);
  EXPECT_NE(overlapping.error().message().find("DNS server 10.77.0.1"), std::string::npos);
}

TEST(PlanSandbox, OfflineHasNoTranslatorAndLeavesTheHostsFiles) {
  const SandboxPlan plan = plan_of({"--offline", "--map-root"});
  EXPECT_TRUE(plan.is_offline);
  EXPECT_TRUE(plan.maps_root);
  EXPECT_TRUE(plan.resolv_conf.empty());
  EXPECT_TRUE(plan.hosts_lines.empty());
}

TEST(PlanSandbox, AsksForFlowsOnlyWhereSomebodyReadsThem) {
  EXPECT_FALSE(plan_of({}).translator.reports_flows);
  EXPECT_TRUE(plan_of({"-v"}).translator.reports_flows);
  EXPECT_TRUE(plan_of({"--log", "x"}).translator.reports_flows);
}

TEST(PlanSandbox, LetsFlowsWaitForTheirProcessOnlyForWhoeverReadsOfIt) {
  // Nobody reads yet, but `cordon events` may come.
  EXPECT_EQ(plan_of({}).translator.introduces, Introduces::kSome);
  EXPECT_EQ(plan_of({"--log", "x"}).translator.introduces, Introduces::kSome);
  EXPECT_EQ(plan_of({"-v", "--log", "x"}).translator.introduces, Introduces::kSome);
  EXPECT_EQ(plan_of({"-v"}).translator.introduces, Introduces::kNone);
}

TEST(PlanSandbox, HandsThePolicyOver) {
  const SandboxPlan plan =
      plan_of({"--allow", "198.51.100.7:443", "--class", "public=198.51.100.0/24"});
  EXPECT_EQ(plan.translator.policy.default_action(), DefaultAction::kDeny);
  EXPECT_EQ(plan.translator.policy.rules().size(), 1U);
  EXPECT_EQ(plan.translator.policy.overrides().size(), 1U);
}

}  // namespace
}  // namespace cordon
