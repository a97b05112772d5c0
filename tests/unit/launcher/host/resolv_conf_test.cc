#include "launcher/host/resolv_conf.h"

#include <gtest/gtest.h>

namespace cordon {
namespace {

const IpAddress kResolver = IpAddress::v4({10, 77, 0, 3});

std::vector<std::string> texts(const std::vector<Endpoint>& servers) {
  std::vector<std::string> result;
  for (const Endpoint& server : servers) result.push_back(server.to_string());
  return result;
}

using Texts = std::vector<std::string>;

TEST(ParseResolvConf, TakesServersInOrder) {
  const ResolvConf conf = parse_resolv_conf(
      "# a comment\n"
      "nameserver 127.0.0.53\n"
      "nameserver\t2620:fe::fe  # and words\r\n"
      "nameserver 100.100.100.100");
  EXPECT_EQ(texts(conf.servers),
            (Texts{"127.0.0.53:53", "[2620:fe::fe]:53", "100.100.100.100:53"}));
  EXPECT_TRUE(conf.skipped.empty());
}

TEST(ParseResolvConf, SaysWhichServersItLeftOut) {
  const ResolvConf conf = parse_resolv_conf(
      "nameserver fe80::1%eth0\nnameserver fe80::1\nnameserver nonsense\nnameserver 224.0.0.1\n"
      "nameserver\nnameserver 9.9.9.9\n");
  EXPECT_EQ(texts(conf.servers), (Texts{"9.9.9.9:53"}));
  EXPECT_EQ(conf.skipped, (Texts{"fe80::1%eth0", "fe80::1", "nonsense", "224.0.0.1"}));
}

TEST(ParseResolvConf, UnspecifiedMeansThisHost) {
  const ResolvConf conf = parse_resolv_conf("nameserver 0.0.0.0\nnameserver ::\n");
  EXPECT_EQ(texts(conf.servers), (Texts{"127.0.0.1:53", "[::1]:53"}));
}

TEST(ParseResolvConf, KeepsEachServerOnceAndAtMostEight) {
  std::string text = "nameserver 9.9.9.9\nnameserver 9.9.9.9\n";
  for (int i = 1; i < 20; ++i) text += "nameserver 9.9.9." + std::to_string(20 + i) + "\n";
  EXPECT_EQ(parse_resolv_conf(text).servers.size(), 8U);
}

TEST(ParseResolvConf, OfSearchAndDomainTheLastCounts) {
  EXPECT_EQ(parse_resolv_conf("domain a.example\nsearch b.example  c.example\n").search,
            "b.example c.example");
  EXPECT_EQ(parse_resolv_conf("search b.example\ndomain a.example x\n").search, "a.example");
  EXPECT_EQ(parse_resolv_conf("search b.example\nsearch\n").search, "");
}

TEST(ParseResolvConf, NothingInMeansNothingOut) {
  EXPECT_EQ(parse_resolv_conf(""), ResolvConf{});
  EXPECT_EQ(parse_resolv_conf("\n\n;x\n#nameserver 9.9.9.9\nnameserver"), ResolvConf{});
  EXPECT_EQ(parse_resolv_conf(std::string_view("\0\0nameserver 9.9.9.9", 20)), ResolvConf{});
}

TEST(GuestResolvConf, NamesTheResolverAndKeepsHowNamesAreCompleted) {
  const ResolvConf conf = parse_resolv_conf(
      "nameserver 127.0.0.53\nsearch corp.example lab.example\n"
      "options edns0 trust-ad ndots:2 rotate\noptions timeout:1 attempts:x attempts:3\n");
  EXPECT_EQ(guest_resolv_conf(conf, kResolver),
            "# Made by cordon: this is the sandbox's own resolver.\n"
            "nameserver 10.77.0.3\n"
            "search corp.example lab.example\n"
            "options ndots:2 timeout:1 attempts:3\n");
}

TEST(GuestResolvConf, WithoutAnythingOnTheHostHasTheResolverAlone) {
  EXPECT_TRUE(guest_resolv_conf(ResolvConf{}, kResolver).ends_with("\nnameserver 10.77.0.3\n"));
}

TEST(GuestResolvConf, TakesNoBytesOverThatANameCannotHold) {
  const ResolvConf conf = parse_resolv_conf("search a.example b\x1b[2J c.example\n");
  EXPECT_EQ(conf.search, "a.example c.example");
}

TEST(GuestResolvConf, WithDnsOffNamesNoServer) {
  EXPECT_TRUE(parse_resolv_conf(guest_resolv_conf_without_dns()).servers.empty());
  EXPECT_FALSE(guest_resolv_conf_without_dns().empty());
}

TEST(ResolvConf, SearchDomainsAreThoseThatAreNames) {
  std::vector<std::string> names;
  for (const DnsName& domain :
       search_domains(parse_resolv_conf("search Corp.Example a..b lab.example. .\n"))) {
    names.push_back(domain.to_string());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"corp.example", "lab.example", "."}));
  EXPECT_TRUE(search_domains(ResolvConf()).empty());
}

}  // namespace
}  // namespace cordon
