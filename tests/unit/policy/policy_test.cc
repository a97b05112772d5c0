#include "netstack/policy/policy.h"

#include <string>

#include <gtest/gtest.h>

#include "tests/unit/policy/policy_text.h"

namespace cordon {
namespace {

using policy_text::describe;
using policy_text::make_policy;
using policy_text::make_request;
using policy_text::TextRequest;

struct Row {
  const char* policy;
  const char* request;
  const char* verdict;
};

constexpr Row kRows[] = {
    // No rule at all.
    {"public", "tcp 9.9.9.9 443 public", "allow default"},
    {"public", "udp 9.9.9.9 53 public", "allow default"},
    {"public", "icmp 9.9.9.9 7 public", "allow default"},
    {"public", "tcp 2a00::9 443 public", "allow default"},
    {"deny", "tcp 9.9.9.9 443 public", "deny default"},
    {"deny", "udp 9.9.9.9 53 public", "deny default"},
    {"deny", "icmp 9.9.9.9 7 public", "deny default"},
    {"deny", "tcp 2a00::9 443 public", "deny default"},
    // The floor: what the default never opens.
    {"public", "tcp 127.0.0.1 80 self", "deny floor"},
    {"public", "tcp 9.9.9.9 80 self", "deny floor"},
    {"public", "tcp 169.254.169.254 80 metadata", "deny floor"},
    {"public", "tcp 127.0.0.1 80 loopback", "deny floor"},
    {"public", "tcp 169.254.1.1 80 linklocal", "deny floor"},
    {"public", "tcp 10.1.2.3 80 lan", "deny floor"},
    {"public", "tcp 9.9.9.9 80 vpn", "deny floor"},
    {"public", "udp 224.0.0.251 5353 multicast", "deny floor"},
    {"public", "tcp 198.51.100.7 80 reserved", "deny floor"},
    {"public", "tcp ::1 80 -", "deny floor"},
    {"public", "tcp fe80::1 80 -", "deny floor"},
    {"public", "tcp fc00::1 80 -", "deny floor"},
    {"public", "tcp fd00:ec2::254 80 -", "deny floor"},
    {"public", "udp ff02::fb 5353 -", "deny floor"},
    {"public", "tcp ::ffff:9.9.9.9 80 -", "deny floor"},
    {"public", "tcp 64:ff9b::10.1.2.3 80 -", "deny floor"},
    {"public", "tcp 64:ff9b::9.9.9.9 80 -", "allow default"},
    {"public", "tcp 2002:a01:203::1 80 -", "deny floor"},
    {"public", "tcp 0.0.0.0 80 public", "deny floor"},
    {"public", "tcp 0.1.2.3 80 public", "deny floor"},
    {"public", "tcp :: 80 public", "deny floor"},
    {"public", "door tcp 5432", "deny floor"},
    {"deny", "tcp 10.1.2.3 80 lan", "deny floor"},
    {"public +@public", "tcp 10.1.2.3 80 lan", "deny floor"},
    {"deny +@public", "tcp 10.1.2.3 80 lan", "deny floor"},
    {"public +@public", "door tcp 5432", "deny floor"},
    // A class rule grants its class and nothing else.
    {"deny +@public", "tcp 9.9.9.9 443 public", "allow rule 0"},
    {"deny +@public", "icmp 9.9.9.9 7 public", "allow rule 0"},
    {"deny +@lan", "tcp 9.9.9.9 443 public", "deny default"},
    {"public +@lan", "tcp 9.9.9.9 443 public", "allow default"},
    {"public +@lan", "tcp 10.1.2.3 443 lan", "allow rule 0"},
    {"public +@lan", "udp 10.1.2.3 443 lan", "allow rule 0"},
    {"public +@lan", "tcp 9.9.9.9 443 lan", "allow rule 0"},
    {"public +@lan", "tcp 10.1.2.3 443 vpn", "deny floor"},
    {"public +@vpn", "tcp 10.1.2.3 443 vpn", "allow rule 0"},
    {"public +@vpn", "tcp 10.1.2.3 443 lan", "deny floor"},
    {"public +@linklocal", "tcp fe80::1 443 -", "allow rule 0"},
    {"public +@reserved", "tcp 198.51.100.7 443 -", "allow rule 0"},
    {"public +@loopback", "tcp 127.0.0.1 443 loopback", "allow rule 0"},
    {"public +@loopback", "tcp 127.0.0.1 443 self", "deny floor"},
    {"public +@self", "tcp 127.0.0.1 443 self", "allow rule 0"},
    {"public +@self", "tcp 0.0.0.0 443 self", "allow rule 0"},
    {"public +@self", "tcp 0.0.0.0 443 public", "allow rule 0"},
    {"public +@self", "tcp 169.254.169.254 443 metadata", "deny floor"},
    {"public +@metadata", "tcp 169.254.169.254 80 metadata", "allow rule 0"},
    {"public +@multicast", "udp 224.0.0.251 5353 multicast", "allow rule 0"},
    {"public +@lan:443", "tcp 10.1.2.3 443 lan", "allow rule 0"},
    {"public +@lan:443", "tcp 10.1.2.3 80 lan", "deny floor"},
    {"public +@lan:443", "udp 10.1.2.3 443 lan", "deny floor"},
    {"public +@lan:443", "icmp 10.1.2.3 443 lan", "deny floor"},
    {"public +udp/@lan:53", "udp 10.1.2.3 53 lan", "allow rule 0"},
    {"public +udp/@lan:53", "tcp 10.1.2.3 53 lan", "deny floor"},
    {"public +icmp/@lan", "icmp 10.1.2.3 9 lan", "allow rule 0"},
    {"public +icmp/@lan", "tcp 10.1.2.3 9 lan", "deny floor"},
    // Address rules.
    {"deny +9.9.9.9", "tcp 9.9.9.9 443 public", "allow rule 0"},
    {"deny +9.9.9.9", "udp 9.9.9.9 1 public", "allow rule 0"},
    {"deny +9.9.9.9", "icmp 9.9.9.9 1 public", "allow rule 0"},
    {"deny +9.9.9.9", "tcp 9.9.9.8 443 public", "deny default"},
    {"deny +9.9.9.9", "tcp 9.9.9.10 443 public", "deny default"},
    {"deny +9.9.9.9:443", "tcp 9.9.9.9 443 public", "allow rule 0"},
    {"deny +9.9.9.9:443", "tcp 9.9.9.9 442 public", "deny default"},
    {"deny +9.9.9.9:443", "tcp 9.9.9.9 444 public", "deny default"},
    {"deny +9.9.9.9:443", "udp 9.9.9.9 443 public", "deny default"},
    {"deny +9.9.9.9:443", "icmp 9.9.9.9 443 public", "deny default"},
    {"deny +9.9.9.9:100-200", "tcp 9.9.9.9 99 public", "deny default"},
    {"deny +9.9.9.9:100-200", "tcp 9.9.9.9 100 public", "allow rule 0"},
    {"deny +9.9.9.9:100-200", "tcp 9.9.9.9 200 public", "allow rule 0"},
    {"deny +9.9.9.9:100-200", "tcp 9.9.9.9 201 public", "deny default"},
    {"deny +9.9.9.9:1-65535", "tcp 9.9.9.9 65535 public", "allow rule 0"},
    {"deny +9.9.9.9:1-65535", "tcp 9.9.9.9 0 public", "deny default"},
    {"deny +tcp/9.9.9.9", "tcp 9.9.9.9 65535 public", "allow rule 0"},
    {"deny +tcp/9.9.9.9", "udp 9.9.9.9 65535 public", "deny default"},
    {"deny +9.9.0.0/16", "tcp 9.9.255.255 1 public", "allow rule 0"},
    {"deny +9.9.0.0/16", "tcp 9.10.0.0 1 public", "deny default"},
    {"deny +9.9.0.0/16", "tcp 9.8.255.255 1 public", "deny default"},
    {"deny +2a00:1::/32", "tcp 2a00:1:ffff:ffff:ffff:ffff:ffff:ffff 1 public", "allow rule 0"},
    {"deny +2a00:1::/32", "tcp 2a00:2:: 1 public", "deny default"},
    {"deny +2a00:1::/32", "tcp 2a00:0:ffff:ffff:ffff:ffff:ffff:ffff 1 public", "deny default"},
    {"deny +[2a00:1::/32]:22", "tcp 2a00:1::7 22 public", "allow rule 0"},
    {"deny +[2a00:1::/32]:22", "tcp 2a00:1::7 23 public", "deny default"},
    {"deny +0.0.0.0/0", "tcp 9.9.9.9 1 public", "allow rule 0"},
    {"deny +0.0.0.0/0", "tcp 255.255.255.254 1 reserved", "allow rule 0"},
    {"deny +0.0.0.0/0", "tcp 2a00::1 1 public", "deny default"},
    {"deny +::/0", "tcp 2a00::1 1 public", "allow rule 0"},
    {"deny +::/0", "tcp 9.9.9.9 1 public", "deny default"},
    {"deny +::/0", "tcp 2002:a01:203::1 1 lan", "allow rule 0"},
    // An address rule grants the floor classes, but for self, metadata and multicast.
    {"public +10.0.0.0/8", "tcp 10.1.2.3 80 lan", "allow rule 0"},
    {"public +10.0.0.0/8:80", "tcp 10.1.2.3 80 lan", "allow rule 0"},
    {"public +10.0.0.0/8:80", "tcp 10.1.2.3 81 lan", "deny floor"},
    {"public +10.0.0.0/8", "tcp 10.1.2.3 80 vpn", "allow rule 0"},
    {"public +10.0.0.0/8", "tcp 10.1.2.3 80 self", "deny floor"},
    {"public +10.1.2.3", "tcp 10.1.2.3 80 self", "deny floor"},
    {"public +0.0.0.0/0", "tcp 10.1.2.3 80 self", "deny floor"},
    {"public +0.0.0.0/8", "tcp 0.0.0.0 80 self", "deny floor"},
    {"public +0.0.0.0", "tcp 0.0.0.0 80 self", "deny floor"},
    {"public +0.1.2.3", "tcp 0.1.2.3 80 public", "deny floor"},
    {"public +::", "tcp :: 80 -", "deny floor"},
    {"public +127.0.0.1", "tcp 127.0.0.1 80 self", "deny floor"},
    {"public +127.0.0.1", "tcp 127.0.0.1 80 loopback", "allow rule 0"},
    {"public +169.254.0.0/16", "tcp 169.254.1.1 80 linklocal", "allow rule 0"},
    {"public +169.254.0.0/16", "tcp 169.254.169.254 80 metadata", "deny floor"},
    {"public +169.254.169.254/31", "tcp 169.254.169.254 80 metadata", "deny floor"},
    {"public +169.254.169.254", "tcp 169.254.169.254 80 metadata", "allow rule 0"},
    {"public +169.254.169.254:80", "tcp 169.254.169.254 80 metadata", "allow rule 0"},
    {"public +169.254.169.254:80", "tcp 169.254.169.254 81 metadata", "deny floor"},
    {"public +0.0.0.0/0 +169.254.169.254", "tcp 169.254.169.254 81 metadata", "allow rule 1"},
    {"public +0.0.0.0/0 +169.254.169.253", "tcp 169.254.169.254 81 metadata", "deny floor"},
    {"public +@linklocal", "tcp 169.254.169.254 80 metadata", "deny floor"},
    {"public +fd00:ec2::/64", "tcp fd00:ec2::254 80 -", "deny floor"},
    {"public +fd00:ec2::254", "tcp fd00:ec2::254 80 -", "allow rule 0"},
    {"public +64:ff9b::/96", "tcp 64:ff9b::169.254.169.254 80 -", "deny floor"},
    {"public +169.254.169.254", "tcp 64:ff9b::169.254.169.254 80 -", "deny floor"},
    {"public +224.0.0.0/4", "udp 224.0.0.251 5353 multicast", "deny floor"},
    {"public +224.0.0.251", "udp 224.0.0.251 5353 multicast", "deny floor"},
    {"public +ff02::fb", "udp ff02::fb 5353 -", "deny floor"},
    {"public +10.0.0.0/8", "tcp ::ffff:10.1.2.3 80 -", "deny floor"},
    {"public +10.0.0.0/8", "tcp 64:ff9b::10.1.2.3 80 -", "deny floor"},
    {"public +64:ff9b::/96", "tcp 64:ff9b::10.1.2.3 80 -", "allow rule 0"},
    // Deny wins.
    {"public -9.9.9.9", "tcp 9.9.9.9 443 public", "deny rule 0"},
    {"public -9.9.9.9", "udp 9.9.9.9 443 public", "deny rule 0"},
    {"public -9.9.9.9", "icmp 9.9.9.9 443 public", "deny rule 0"},
    {"public -9.9.9.9", "tcp 9.9.9.8 443 public", "allow default"},
    {"public -9.9.9.9:443", "tcp 9.9.9.9 443 public", "deny rule 0"},
    {"public -9.9.9.9:443", "tcp 9.9.9.9 80 public", "allow default"},
    {"public -9.9.9.9:443", "udp 9.9.9.9 443 public", "allow default"},
    {"public -9.9.9.9:443", "icmp 9.9.9.9 443 public", "allow default"},
    {"public -9.0.0.0/8 +9.9.9.9", "tcp 9.9.9.9 443 public", "deny rule 0"},
    {"public +9.9.9.9 -9.0.0.0/8", "tcp 9.9.9.9 443 public", "deny rule 1"},
    {"public +9.0.0.0/8 -9.9.9.9", "tcp 9.9.9.9 443 public", "deny rule 1"},
    {"public +9.0.0.0/8 -9.9.9.9", "tcp 9.9.9.8 443 public", "allow rule 0"},
    {"public +9.9.9.9:443 -@public", "tcp 9.9.9.9 443 public", "deny rule 1"},
    {"public -@public", "tcp 9.9.9.9 443 public", "deny rule 0"},
    {"public -@public +@lan", "tcp 10.1.2.3 443 lan", "allow rule 1"},
    {"deny +10.0.0.0/8 -@lan", "tcp 10.1.2.3 443 lan", "deny rule 1"},
    {"deny +10.0.0.0/8 -@lan:80", "tcp 10.1.2.3 443 lan", "allow rule 0"},
    {"deny +10.0.0.0/8 -@lan:80", "tcp 10.1.2.3 80 lan", "deny rule 1"},
    {"deny +@lan -10.0.0.0/8", "tcp 192.168.1.1 80 lan", "allow rule 0"},
    {"deny +@lan -10.0.0.0/8", "tcp 10.1.1.1 80 lan", "deny rule 1"},
    {"deny +@self -127.0.0.0/8", "tcp 127.0.0.1 80 self", "deny rule 1"},
    {"public -0.0.0.0/0", "tcp 9.9.9.9 80 public", "deny rule 0"},
    {"public -0.0.0.0/0", "tcp 2a00::1 80 public", "allow default"},
    // The floor is named where no rule opens it, deny rule or not.
    {"public -10.0.0.0/8", "tcp 10.1.1.1 80 lan", "deny floor"},
    // A deny rule for an address denies what carries it.
    {"public +::/0 -10.0.0.0/8", "tcp ::ffff:10.1.2.3 80 -", "deny rule 1"},
    {"public +::/0 -10.0.0.0/8", "tcp 64:ff9b::10.1.2.3 80 -", "deny rule 1"},
    {"public +::/0 -10.0.0.0/8", "tcp 64:ff9b:1::10.1.2.3 80 -", "deny rule 1"},
    {"public +::/0 -10.0.0.0/8", "tcp 2002:a01:203::1 80 -", "deny rule 1"},
    {"public +::/0 -10.0.0.0/8", "tcp 2a00::5efe:10.1.2.3 80 -", "deny rule 1"},
    {"public -9.0.0.0/8", "tcp 64:ff9b::9.9.9.9 80 -", "deny rule 0"},
    {"public -9.0.0.0/8:443", "tcp 64:ff9b::9.9.9.9 80 -", "allow default"},
    {"public -9.9.9.9", "tcp 2002:909:909::1 80 -", "deny rule 0"},
    {"public -65.54.227.120 +::/0", "tcp 2001:0:4136:e378:8000:63bf:f5f5:f5f5 80 -", "deny rule 0"},
    {"public -10.10.10.10 +::/0", "tcp 2001:0:4136:e378:8000:63bf:f5f5:f5f5 80 -", "deny rule 0"},
    // The first of several rules is named.
    {"deny +8.8.8.8 +9.0.0.0/8 +@public", "tcp 9.9.9.9 80 public", "allow rule 1"},
    {"deny +@public +9.0.0.0/8 +9.9.9.9", "tcp 9.9.9.9 80 public", "allow rule 0"},
    {"deny +9.9.9.9:80 +9.9.9.9:1-100 +9.9.9.9", "tcp 9.9.9.9 80 public", "allow rule 0"},
    {"deny +9.9.9.9:80 +9.9.9.9:1-100 +9.9.9.9", "tcp 9.9.9.9 81 public", "allow rule 1"},
    {"deny +9.9.9.9:80 +9.9.9.9:1-100 +9.9.9.9", "tcp 9.9.9.9 101 public", "allow rule 2"},
    {"deny +9.9.9.9 +9.9.9.9:1-100 +9.9.9.9:80", "tcp 9.9.9.9 80 public", "allow rule 0"},
    // The host door.
    {"public +host:5432", "door tcp 5432", "allow rule 0"},
    {"public +host:5432", "door tcp 5433", "deny floor"},
    {"public +host:5432", "door udp 5432", "deny floor"},
    {"public +host:5432", "door icmp 5432", "deny floor"},
    {"public +udp/host:53", "door udp 53", "allow rule 0"},
    {"public +host:1-65535", "door tcp 22", "allow rule 0"},
    {"public +host:5432 -host:5000-6000", "door tcp 5432", "deny rule 1"},
    {"public +host:5432", "tcp 127.0.0.1 5432 self", "deny floor"},
    {"public +@self +@loopback +127.0.0.1 +0.0.0.0/0", "door tcp 5432", "deny floor"},
    {"public +host:5432 -@self -@loopback -127.0.0.0/8", "door tcp 5432", "allow rule 0"},
    {"public -host:5432", "tcp 9.9.9.9 5432 public", "allow default"},
    // Inbound: no floor, no default, only deny rules for the client.
    {"deny", "in tcp 9.9.9.9 40000 public", "allow default"},
    {"public", "in tcp 10.1.2.3 40000 lan", "allow default"},
    {"public", "in tcp 127.0.0.1 40000 self", "allow default"},
    {"deny -10.0.0.0/8", "in tcp 10.1.2.3 40000 lan", "deny rule 0"},
    {"deny -10.0.0.0/8", "in tcp 9.1.2.3 40000 public", "allow default"},
    {"deny -@lan", "in tcp 10.1.2.3 40000 lan", "deny rule 0"},
    {"deny -udp/10.0.0.0/8", "in tcp 10.1.2.3 40000 lan", "allow default"},
    {"deny -udp/10.0.0.0/8", "in udp 10.1.2.3 40000 lan", "deny rule 0"},
    {"deny -10.0.0.0/8:30000-50000", "in tcp 10.1.2.3 40000 lan", "allow default"},
    {"deny +10.0.0.0/8 -10.1.2.3", "in tcp 10.1.2.3 40000 lan", "deny rule 1"},
    {"deny -10.0.0.0/8", "in tcp ::ffff:10.1.2.3 40000 lan", "deny rule 0"},
};

TEST(PolicyEvaluate, RuleVectors) {
  for (const Row& row : kRows) {
    const Policy policy = make_policy(row.policy);
    EXPECT_EQ(describe(policy.evaluate(make_request(row.request))), row.verdict)
        << row.policy << " | " << row.request;
  }
  EXPECT_GE(std::size(kRows), 150U);
}

TEST(PolicyEvaluate, WithoutAnythingEverythingIsDenied) {
  const Policy policy;
  EXPECT_EQ(describe(policy.evaluate(make_request("tcp 9.9.9.9 443 public"))), "deny default");
  EXPECT_EQ(describe(policy.evaluate(make_request("door tcp 443"))), "deny floor");
}

TEST(PolicyEvaluate, PrefixesAtTheEndOfTheAddressSpace) {
  const Policy policy = make_policy("deny +255.255.255.254/31 +128.0.0.0/1 +ffff::/16 +8000::/1");
  EXPECT_EQ(describe(policy.evaluate(make_request("tcp 255.255.255.254 1 reserved"))),
            "allow rule 0");
  EXPECT_EQ(describe(policy.evaluate(make_request("tcp 255.255.255.253 1 reserved"))),
            "allow rule 1");
  EXPECT_EQ(describe(policy.evaluate(make_request("tcp 127.255.255.255 1 public"))),
            "deny default");
  EXPECT_EQ(describe(policy.evaluate(
                make_request("tcp ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 1 reserved"))),
            "allow rule 2");
  EXPECT_EQ(describe(policy.evaluate(make_request("tcp 8000:: 1 reserved"))), "allow rule 3");
}

TEST(PolicyAllow, GivesAWitnessOnlyWhereTheAnswerIsYes) {
  const Policy policy = make_policy("public");
  Verdict verdict;
  const TextRequest open = make_request("udp 9.9.9.9 53 public");
  const std::optional<AllowedDestination> witness = policy.allow(open, verdict);
  ASSERT_TRUE(witness);
  EXPECT_EQ(witness->endpoint(), open.request.dialled);
  EXPECT_EQ(witness->protocol(), Protocol::kUdp);
  EXPECT_EQ(describe(verdict), "allow default");
  EXPECT_FALSE(policy.allow(make_request("udp 10.1.2.3 53 lan"), verdict));
  EXPECT_EQ(describe(verdict), "deny floor");
}

struct RemedyRow {
  const char* policy;
  const char* request;
  const char* remedy;
};

TEST(PolicyRemedy, IsTheNarrowestOptionThatHelps) {
  const RemedyRow rows[] = {
      {"deny", "tcp 9.9.9.9 443 public", "--allow 9.9.9.9:443"},
      {"deny", "udp 9.9.9.9 53 public", "--allow udp/9.9.9.9:53"},
      {"deny", "icmp 9.9.9.9 77 public", "--allow icmp/9.9.9.9"},
      {"deny", "tcp 2a00::7 443 public", "--allow [2a00::7]:443"},
      {"deny", "icmp 2a00::7 443 public", "--allow icmp/2a00::7"},
      {"public", "tcp 10.1.2.3 443 lan", "--allow 10.1.2.3:443"},
      {"public", "tcp 10.1.2.3 22 self", "--allow @self:22"},
      {"public", "tcp 0.0.0.0 22 self", "--allow @self:22"},
      {"public", "tcp 169.254.169.254 80 metadata", "--allow 169.254.169.254:80"},
      {"public", "udp 224.0.0.251 5353 multicast", "--allow udp/@multicast:5353"},
      {"public", "door tcp 5432", "--allow host:5432"},
      {"public", "door udp 53", "--allow udp/host:53"},
      {"public", "door icmp 53", ""},
      {"public", "tcp 9.9.9.9 443 public", ""},
      {"public -9.9.9.9", "tcp 9.9.9.9 443 public", ""},
      {"public -10.0.0.0/8", "tcp 10.1.2.3 443 lan", ""},
      {"public -@lan", "tcp 10.1.2.3 443 lan", ""},
      {"public -10.0.0.0/8", "in tcp 10.1.2.3 443 lan", ""},
  };
  for (const RemedyRow& row : rows) {
    const Policy policy = make_policy(row.policy);
    const TextRequest request = make_request(row.request);
    EXPECT_EQ(policy.remedy(request, policy.evaluate(request)), row.remedy)
        << row.policy << " | " << row.request;
  }
}

TEST(PolicyRemedy, NothingHelpsAgainstScopes) {
  const Policy policy = make_policy("public");
  const Verdict verdict{.action = Action::kDeny, .reason = Reason::kScope};
  EXPECT_EQ(policy.remedy(make_request("tcp 9.9.9.9 443 public"), verdict), "");
}

}  // namespace
}  // namespace cordon
