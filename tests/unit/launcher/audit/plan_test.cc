#include "launcher/audit/plan.h"

#include <algorithm>
#include <cctype>
#include <set>

#include <gtest/gtest.h>

namespace cordon::audit {
namespace {

constexpr std::string_view kNonce = "0123456789abcdef";

Endpoint endpoint(const char* address, std::uint16_t port) {
  return {*IpAddress::parse(address), port};
}

ProbePlan full_plan() {
  ProbePlan plan;
  plan.nonce = kNonce;
  plan.network_namespace = 4026531840;
  plan.targets = {{Leak::kLoopbackV4, Transport::kTcp, endpoint("127.0.0.1", 4000)},
                  {Leak::kOtherTransports, Transport::kUdpLite, endpoint("2001:db8::1", 65535)}};
  plan.loopback = {endpoint("::1", 4001)};
  plan.host_addresses = {*IpAddress::parse("198.51.100.2")};
  plan.broadcasts = {endpoint("255.255.255.255", 137)};
  plan.unix_sockets = {{Leak::kAbstractUnix, "@name"},
                       {Leak::kDaemonSockets, "/run/with space \"and\" quote"}};
  plan.inherited_stream = 77;
  plan.inherited_directory = 78;
  plan.secret_file = "secret";
  plan.witness_name = "audit-01234567";
  plan.witness_descriptor = 4;
  plan.vsock_port = 9;
  plan.added_address = endpoint("198.51.100.77", 5);
  plan.allowed = endpoint("198.51.100.17", 80);
  return plan;
}

TEST(Leaks, HaveAKeyEachThatLeadsBackToThem) {
  std::set<std::string_view> keys;
  for (const LeakFacts& facts : all_leaks()) {
    EXPECT_TRUE(keys.insert(facts.key).second) << facts.key;
    EXPECT_EQ(parse_leak(facts.key), facts.leak);
    EXPECT_EQ(facts_of(facts.leak).key, facts.key);
    EXPECT_FALSE(facts.title.empty() || facts.how.empty() || facts.group.empty());
  }
  EXPECT_EQ(parse_leak("no-such-leak"), std::nullopt);
}

TEST(ProbePlan, ComesOutAsItWentIn) {
  const ProbePlan plan = full_plan();
  const auto decoded = decode_plan(encode_plan(plan));
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(*decoded, plan);
  const ProbePlan empty{.nonce = "0"};
  EXPECT_EQ(*decode_plan(encode_plan(empty)), empty);
}

TEST(ProbePlan, IsOneWordThatNoShellExpands) {
  const std::string word = encode_plan(full_plan());
  EXPECT_TRUE(std::all_of(word.begin(), word.end(),
                          [](unsigned char character) { return std::isxdigit(character) != 0; }));
}

TEST(ProbePlan, ThatIsBrokenIsRefused) {
  const std::string word = encode_plan(full_plan());
  EXPECT_FALSE(decode_plan(""));
  EXPECT_FALSE(decode_plan("xyz"));
  EXPECT_FALSE(decode_plan("7b7d"));  // {}
  EXPECT_FALSE(decode_plan("5b5d"));  // []
  for (std::size_t length = 0; length < word.size(); length += 7) {
    EXPECT_FALSE(decode_plan(std::string_view(word).substr(0, length))) << length;
  }
}

TEST(Token, IsFoundInTheMidstOfOtherText) {
  const Token token{Leak::kGateway, "tcp 10.0.2.2:4000"};
  const std::string text = "noise" + write_token(kNonce, token) + "more";
  EXPECT_EQ(find_token(kNonce, text), token);
  EXPECT_EQ(find_token("fedcba9876543210", text), std::nullopt);
  EXPECT_EQ(find_token(kNonce, std::string_view(text).substr(0, 40)), std::nullopt);
}

TEST(Token, OfAnUnknownLeakIsNone) {
  EXPECT_EQ(find_token(kNonce, "cordon-audit 0123456789abcdef no-such tcp 1.2.3.4:5\n"),
            std::nullopt);
}

TEST(MadeUpLabel, IsFoundInAQueryInWhateverCase) {
  for (const LeakFacts& facts : all_leaks()) {
    std::string query = dns_query(made_up_label(kNonce, facts.leak) + ".example.com", 1, 7);
    for (std::size_t i = 12; i + 5 < query.size(); i += 2) {
      query[i] = static_cast<char>(std::toupper(static_cast<unsigned char>(query[i])));
    }
    const auto token = find_token(kNonce, query);
    ASSERT_TRUE(token) << facts.key;
    EXPECT_EQ(token->leak, facts.leak);
  }
}

TEST(DnsQuery, IsAsRfc1035SaysIt) {
  const std::string query = dns_query("a.example", 28, 0x1234);
  const std::string expected{
      "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01"
      "a\x07"
      "example\x00\x00\x1c\x00\x01",
      27};
  EXPECT_EQ(query, expected);
}

TEST(ReverseName, HasTheNibblesLastFirst) {
  EXPECT_EQ(reverse_name(*IpAddress::parse("2001:db8::567:89ab")),
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
  EXPECT_EQ(made_up_address(kNonce).to_string(), "2001:db8::123:4567:89ab:cdef");
}

}  // namespace
}  // namespace cordon::audit
