#include "netstack/wire/dns_name.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace cordon {
namespace {

std::vector<std::uint8_t> octets_of(std::string_view text) { return {text.begin(), text.end()}; }

// A message of a header's length in zeros, then `body`.
std::vector<std::uint8_t> message(std::string_view body) {
  std::string whole(12, '\0');
  whole += body;
  return octets_of(whole);
}

std::optional<std::string> read_text(const std::vector<std::uint8_t>& bytes, std::size_t offset) {
  const std::optional<DnsName> name = DnsName::read(bytes, offset);
  if (!name) return std::nullopt;
  return name->to_string();
}

using namespace std::string_literals;

TEST(DnsNameParse, TextAndBack) {
  for (const char* const text : {"example", "ok.example", "_dns.resolver.arpa", "*.wild.example",
                                 "xn--bcher-kva.example", "1and1.example", "A.b.C"}) {
    const std::optional<DnsName> name = DnsName::parse(text);
    ASSERT_TRUE(name) << text;
    EXPECT_EQ(name->to_string(), text);
    EXPECT_EQ(DnsName::parse(std::string(text) + "."), name);
  }
  EXPECT_TRUE(DnsName::parse(".")->is_root());
  EXPECT_EQ(DnsName().to_string(), ".");
}

TEST(DnsNameParse, WhatIsNoNameIsRefused) {
  for (const char* const text :
       {"", "..", ".a", "a..b", "a.b..", "a b", "a\\.b", "\x7f", "b\xc3\xbc"}) {
    EXPECT_FALSE(DnsName::parse(text)) << text;
  }
}

TEST(DnsNameParse, LabelsEndAt63AndNamesAt255) {
  const std::string label(63, 'a');
  EXPECT_TRUE(DnsName::parse(label));
  EXPECT_FALSE(DnsName::parse(label + "a"));
  const std::string three = label + "." + label + "." + label + ".";
  const std::optional<DnsName> longest = DnsName::parse(three + std::string(61, 'b'));
  ASSERT_TRUE(longest);
  EXPECT_EQ(longest->wire().size(), 255U);
  EXPECT_FALSE(DnsName::parse(three + std::string(62, 'b')));
}

TEST(DnsNameRead, PlainAndCompressed) {
  const auto bytes = message("\3www\2ok\7example\0\4mail\xc0\x10\xc0\x1e"s);
  std::size_t offset = 12;
  EXPECT_EQ(DnsName::read(bytes, offset)->to_string(), "www.ok.example");
  EXPECT_EQ(offset, 28U);
  EXPECT_EQ(DnsName::read(bytes, offset)->to_string(), "mail.ok.example");
  EXPECT_EQ(offset, 35U);
  EXPECT_FALSE(DnsName::read(bytes, offset)) << "points into the middle of a label";
}

TEST(DnsNameRead, PointersLeadBackwardsAndNotIntoTheHeader) {
  EXPECT_FALSE(read_text(message("\xc0\x0c"s), 12)) << "to itself";
  EXPECT_FALSE(read_text(message("\1a\xc0\x0c"s), 12)) << "to its own labels";
  EXPECT_FALSE(read_text(message("\xc0\x0e\1a\0"s), 12)) << "forwards";
  EXPECT_FALSE(read_text(message("\xc0\x00\0"s), 12)) << "into the header";
  EXPECT_FALSE(read_text(message("\xc0\x0b\0"s), 12)) << "into the header";
  EXPECT_FALSE(read_text(message("\xff\xff"s), 12)) << "past the end";
  EXPECT_FALSE(read_text(message("\xc0\x0e\xc0\x0c"s), 14)) << "a ring of two";
  EXPECT_FALSE(read_text(message("\xc0"s), 12)) << "half a pointer";
  EXPECT_EQ(read_text(message("\1a\0\xc0\x0c"s), 15), "a");
}

TEST(DnsNameRead, AFailureLeavesTheOffset) {
  const auto bytes = message("\3www\xc0\x0c"s);
  std::size_t offset = 12;
  EXPECT_FALSE(DnsName::read(bytes, offset));
  EXPECT_EQ(offset, 12U);
}

TEST(DnsNameRead, ReservedLabelTypesAreRefused) {
  EXPECT_FALSE(read_text(message("\x40"s + std::string(64, 'a') + "\0"s), 12));
  EXPECT_FALSE(read_text(message("\x80"s + std::string(128, 'a') + "\0"s), 12));
}

TEST(DnsNameRead, EveryTruncationIsRefused) {
  const auto bytes = message("\3www\2ok\7example\0"s);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    std::size_t offset = 12;
    EXPECT_FALSE(DnsName::read(Bytes(bytes).first(size), offset)) << size;
  }
}

TEST(DnsNameRead, NamesEndAt255Octets) {
  const std::string label = "\x3f"s + std::string(63, 'a');
  const auto longest = message(label + label + label + "\x3d"s + std::string(61, 'b') + "\0"s);
  const auto too_long = message(label + label + label + "\x3e"s + std::string(62, 'b') + "\0"s);
  EXPECT_TRUE(read_text(longest, 12));
  EXPECT_FALSE(read_text(too_long, 12));
  // Grown by a pointer.
  auto grown =
      message(label + label + label + "\0"s + "\x3f"s + std::string(63, 'c') + "\xc0\x0c"s);
  EXPECT_FALSE(read_text(grown, 12 + 193));
}

TEST(DnsNameRead, AChainOfPointersEndsAt127) {
  for (std::size_t length = 1; length <= 255; ++length) {
    std::string body = "\1a\0"s;
    std::size_t previous = 12;
    for (std::size_t i = 0; i < length; ++i) {
      const std::size_t here = 12 + body.size();
      body += static_cast<char>(0xc0 | (previous >> 8));
      body += static_cast<char>(previous & 0xff);
      previous = here;
    }
    EXPECT_EQ(read_text(message(body), previous).has_value(), length <= 127) << length;
  }
}

TEST(DnsNameText, OctetsThatCannotBePrintedAreEscaped) {
  const auto bytes = message("\7a.b\\\0\x1b\xff\0"s);
  EXPECT_EQ(read_text(bytes, 12), "a\\.b\\\\\\000\\027\\255");
}

TEST(DnsNameText, IsNeverLongerThanALogLine) {
  const std::string label = "\x3f"s + std::string(63, '\xff');
  const auto bytes = message(label + label + label + "\x3d"s + std::string(61, '\xff') + "\0"s);
  EXPECT_EQ(read_text(bytes, 12)->size(), 1003U);
}

TEST(DnsNameCompare, IgnoresTheCaseOfAsciiLettersOnly) {
  EXPECT_EQ(DnsName::parse("Ok.EXAMPLE"), DnsName::parse("oK.example"));
  EXPECT_NE(DnsName::parse("ok.example"), DnsName::parse("ok.examplf"));
  EXPECT_NE(DnsName::parse("ok.example"), DnsName::parse("okexample"));
  EXPECT_NE(DnsName::parse("a@b"), DnsName::parse("a`b"));
  EXPECT_EQ(DnsName::parse("Ok.EXAMPLE")->lower_case().to_string(), "ok.example");
  std::size_t offset = 0;
  EXPECT_NE(DnsName::read(octets_of("\1\xc1\0"s), offset), DnsName::parse("a"));
}

TEST(DnsNameCompare, EndsWithWholeLabels) {
  const DnsName name = DnsName::parse("a.ok.example").value();
  EXPECT_TRUE(name.ends_with(name));
  EXPECT_TRUE(name.ends_with(*DnsName::parse("OK.example")));
  EXPECT_TRUE(name.ends_with(DnsName()));
  EXPECT_FALSE(name.ends_with(*DnsName::parse("k.example")));
  EXPECT_FALSE(name.ends_with(*DnsName::parse("b.a.ok.example")));
  EXPECT_FALSE(name.ends_with(*DnsName::parse("other.example")));
  EXPECT_FALSE(DnsName().ends_with(name));
}

TEST(DnsNameAddress, ReverseNamesBothWays) {
  EXPECT_EQ(DnsName::of_address(IpAddress::v4({192, 0, 2, 7})).to_string(),
            "7.2.0.192.in-addr.arpa");
  // RFC 3596 section 2.5.
  const IpAddress rfc = IpAddress::parse("4321:0:1:2:3:4:567:89ab").value();
  const DnsName reverse = DnsName::of_address(rfc);
  EXPECT_EQ(reverse.to_string(),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa");
  EXPECT_EQ(reverse.to_address(), rfc);
  EXPECT_EQ(DnsName::parse("7.2.0.192.IN-ADDR.Arpa")->to_address(), IpAddress::v4({192, 0, 2, 7}));
}

TEST(DnsNameAddress, OtherNamesAreNone) {
  for (const char* const text :
       {".", "arpa", "in-addr.arpa", "2.0.192.in-addr.arpa", "1.7.2.0.192.in-addr.arpa",
        "256.2.0.192.in-addr.arpa", "07.2.0.192.in-addr.arpa", "x.2.0.192.in-addr.arpa",
        "7.2.0.192.in-addr.example", "7.2.0.192.ip6.arpa", "7.2.0.192.in-addr.arpa.example",
        "g.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa",
        "10.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa"}) {
    EXPECT_EQ(DnsName::parse(text)->to_address(), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace cordon
