#include "netstack/names/local_names.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace cordon {
namespace {

IpAddress address(std::string_view text) { return IpAddress::parse(text).value(); }

const std::vector<LinkFamily> kLinks{
    {.subnet = Prefix::parse("10.0.2.0/24").value(),
     .guest = address("10.0.2.15"),
     .gateway = address("10.0.2.2"),
     .resolver = address("10.0.2.3"),
     .host_door = address("10.0.2.4")},
    {.subnet = Prefix::parse("fd00:c0::/64").value(),
     .guest = address("fd00:c0::15"),
     .gateway = address("fd00:c0::2"),
     .resolver = address("fd00:c0::3"),
     .host_door = address("fd00:c0::4")},
};

// "none", "nxdomain", or the addresses and the name of the answer.
std::string ask(const LocalNames& names, std::string_view name, std::uint16_t type,
                std::uint16_t question_class = kDnsClassIn) {
  const DnsQuestion question{
      .name = DnsName::parse(name).value(), .type = type, .question_class = question_class};
  const std::optional<LocalAnswer> answer = names.answer(question);
  if (!answer) return "none";
  if (answer->rcode == DnsRcode::kNxDomain) return "nxdomain";
  DnsQuery query{.question = question};
  std::vector<std::uint8_t> out(512);
  out.resize(write_dns_reply(query, answer->reply(), out));
  std::string text;
  DnsRecords records(out);
  while (const auto record = records.next()) {
    if (!text.empty()) text += " ";
    std::size_t offset = record->data_offset;
    text += record->type == dns_type::kPtr ? DnsName::read(out, offset)->to_string()
                                           : IpAddress::from_octets(record->data).to_string();
  }
  return text.empty() ? "nodata" : text;
}

struct Row {
  const char* name;
  std::uint16_t type;
  const char* answer;
};

TEST(LocalNames, AreAnsweredHereAndOthersAreNot) {
  const LocalNames names(kLinks);
  const Row rows[] = {
      {"localhost", dns_type::kA, "127.0.0.1"},
      {"LocalHost", dns_type::kAaaa, "::1"},
      {"localhost", dns_type::kTxt, "nodata"},
      {"a.b.localhost", dns_type::kA, "127.0.0.1"},
      {"notlocalhost", dns_type::kA, "none"},
      {"localhost.example", dns_type::kA, "none"},
      {"host.cordon.internal", dns_type::kA, "10.0.2.4"},
      {"HOST.Cordon.Internal", dns_type::kAaaa, "fd00:c0::4"},
      {"host.cordon.internal", dns_type::kHttps, "nodata"},
      {"gateway.cordon.internal", dns_type::kA, "10.0.2.2"},
      {"resolver.cordon.internal", dns_type::kAaaa, "fd00:c0::3"},
      {"guest.cordon.internal", dns_type::kA, "10.0.2.15"},
      {"cordon.internal", dns_type::kA, "nodata"},
      {"other.cordon.internal", dns_type::kA, "nxdomain"},
      {"a.host.cordon.internal", dns_type::kA, "nxdomain"},
      {"cordon.internal.example", dns_type::kA, "none"},
      {"internal", dns_type::kA, "none"},
      {"ok.example", dns_type::kA, "none"},
      {".", dns_type::kA, "none"},
      {"4.2.0.10.in-addr.arpa", dns_type::kPtr, "host.cordon.internal"},
      {"2.2.0.10.in-addr.arpa", dns_type::kPtr, "gateway.cordon.internal"},
      {"3.2.0.10.in-addr.arpa", dns_type::kPtr, "resolver.cordon.internal"},
      {"15.2.0.10.in-addr.arpa", dns_type::kPtr, "guest.cordon.internal"},
      {"4.2.0.10.in-addr.arpa", dns_type::kA, "nodata"},
      {"99.2.0.10.in-addr.arpa", dns_type::kPtr, "nxdomain"},
      {"4.3.0.10.in-addr.arpa", dns_type::kPtr, "none"},
      {"1.0.0.127.in-addr.arpa", dns_type::kPtr, "localhost"},
      {"9.0.0.127.in-addr.arpa", dns_type::kPtr, "nxdomain"},
      {"9.9.9.9.in-addr.arpa", dns_type::kPtr, "none"},
  };
  for (const Row& row : rows) EXPECT_EQ(ask(names, row.name, row.type), row.answer) << row.name;
}

TEST(LocalNames, PointersOfIpv6) {
  const LocalNames names(kLinks);
  const auto reverse = [](std::string_view text) {
    return DnsName::of_address(address(text)).to_string();
  };
  EXPECT_EQ(ask(names, reverse("fd00:c0::4"), dns_type::kPtr), "host.cordon.internal");
  EXPECT_EQ(ask(names, reverse("fd00:c0::99"), dns_type::kPtr), "nxdomain");
  EXPECT_EQ(ask(names, reverse("::1"), dns_type::kPtr), "localhost");
  EXPECT_EQ(ask(names, reverse("2a00::9"), dns_type::kPtr), "none");
}

TEST(LocalNames, OfAnIpv4OnlyGuest) {
  const LocalNames names({&kLinks[0], 1});
  EXPECT_EQ(ask(names, "host.cordon.internal", dns_type::kA), "10.0.2.4");
  EXPECT_EQ(ask(names, "host.cordon.internal", dns_type::kAaaa), "nodata");
}

TEST(LocalNames, OtherClassesAreNotTheirs) {
  const LocalNames names(kLinks);
  EXPECT_EQ(ask(names, "localhost", dns_type::kA, 3), "none");
}

}  // namespace
}  // namespace cordon
