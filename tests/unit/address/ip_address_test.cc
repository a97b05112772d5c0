#include "netstack/address/ip_address.h"

#include <gtest/gtest.h>

namespace cordon {
namespace {

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

TEST(IpAddress, TextThatIsReadIsWrittenCanonically) {
  struct Row {
    const char* name;
    const char* text;
    const char* written;
  };
  const Row rows[] = {
      {"dotted quad", "198.51.100.2", "198.51.100.2"},
      {"zero", "0.0.0.0", "0.0.0.0"},
      {"all ones", "255.255.255.255", "255.255.255.255"},
      {"RFC 4291 2.2: full", "2001:db8:0:0:8:800:200c:417a", "2001:db8::8:800:200c:417a"},
      {"RFC 4291 2.2: unspecified", "::", "::"},
      {"RFC 4291 2.2: loopback", "::1", "::1"},
      {"RFC 4291 2.2: a gap at the end", "2001:db8::", "2001:db8::"},
      {"RFC 4291 2.2: a quad at the end", "::ffff:198.51.100.2", "::ffff:c633:6402"},
      {"RFC 4291 2.2: a quad without a gap", "1:2:3:4:5:6:198.51.100.2", "1:2:3:4:5:6:c633:6402"},
      {"RFC 5952 4.1: leading zeros", "2001:0db8::0001", "2001:db8::1"},
      {"RFC 5952 4.2.2: one group is not shortened", "2001:db8:0:1:1:1:1:1",
       "2001:db8:0:1:1:1:1:1"},
      {"a gap for one group is read", "2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
      {"RFC 5952 4.2.3: the longest run", "2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
      {"RFC 5952 4.2.3: the first of two", "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
      {"RFC 5952 4.3: lower case", "2001:DB8::ABCD", "2001:db8::abcd"},
      {"a run at both ends", "0:0:1::", "0:0:1::"},
  };
  for (const Row& row : rows) {
    const std::optional<IpAddress> address = IpAddress::parse(row.text);
    ASSERT_TRUE(address) << row.name;
    EXPECT_EQ(address->to_string(), row.written) << row.name;
    EXPECT_EQ(IpAddress::parse(address->to_string()), address) << row.name;
  }
}

TEST(IpAddress, WhatIsNoAddressIsRefused) {
  const char* texts[] = {
      "",
      " ",
      "1",
      "1.2.3",
      "1.2.3.4.5",
      "1.2.3.256",
      "1.2.3.-4",
      "1.2.3.+4",
      "1.2.3.4 ",
      " 1.2.3.4",
      "1..3.4",
      "1.2.3.",
      ".1.2.3",
      "010.1.2.3",
      "1.2.3.04",
      "0x1.2.3.4",
      "1.2.3.4/24",
      "3325256706",
      ":",
      ":::",
      "1:2:3",
      "1::2::3",
      "1:2:3:4:5:6:7:8:9",
      "1:2:3:4:5:6:7:8::",
      "::1:2:3:4:5:6:7:8",
      "12345::",
      "g::",
      "1:2:3:4:5:6:7:",
      ":1:2:3:4:5:6:7",
      "fe80::1%eth0",
      "::1.2.3",
      "::1.2.3.4.5",
      "::1.2.3.256",
      "1.2.3.4::",
      "1.2.3.4:1::",
      "::+1",
      "::-1",
      "[::1]",
      "::1/64",
      "1:2:3:4:5:6:7:1.2.3.4",
  };
  for (const char* text : texts) EXPECT_FALSE(IpAddress::parse(text)) << text;
}

TEST(IpAddress, TheTwoFamiliesAreNeverEqual) {
  EXPECT_NE(ip("0.0.0.0"), ip("::"));
  EXPECT_NE(ip("198.51.100.2"), ip("::ffff:198.51.100.2"));
  EXPECT_LT(ip("255.255.255.255"), ip("::")) << "IPv4 first";
}

TEST(IpAddress, NumbersAndOctetsAreInNetworkOrder) {
  EXPECT_EQ(IpAddress::v4(0x7f000001), ip("127.0.0.1"));
  EXPECT_EQ(ip("198.51.100.2").v4_number(), 0xc6336402U);
  EXPECT_EQ(ip("::1").v4_number(), 0U);
  EXPECT_EQ(ip("::1").octets().size(), 16U);
  EXPECT_EQ(ip("1.2.3.4").octets().size(), 4U);
  EXPECT_EQ(ip("1.2.3.4").bits(), 32U);
  EXPECT_EQ(ip("::").bits(), 128U);
  EXPECT_EQ(IpAddress::from_octets(ip("2001:db8::9").octets()), ip("2001:db8::9"));
  EXPECT_EQ(IpAddress::from_octets(ip("1.2.3.4").octets()), ip("1.2.3.4"));
  EXPECT_EQ(IpAddress::from_octets(ip("::1").octets().first(5)), IpAddress());
}

TEST(IpAddress, KindsOfAddresses) {
  struct Row {
    const char* text;
    bool is_unspecified, is_group, is_loopback, is_link_local;
  };
  const Row rows[] = {
      {"0.0.0.0", true, false, false, false},
      {"::", true, false, false, false},
      {"0.0.0.1", false, false, false, false},
      {"127.0.0.1", false, false, true, false},
      {"127.255.255.255", false, false, true, false},
      {"128.0.0.1", false, false, false, false},
      {"::1", false, false, true, false},
      {"::2", false, false, false, false},
      {"1::1", false, false, false, false},
      {"224.0.0.0", false, true, false, false},
      {"239.255.255.255", false, true, false, false},
      {"240.0.0.0", false, false, false, false},
      {"255.255.255.255", false, true, false, false},
      {"255.255.255.254", false, false, false, false},
      {"ff02::1", false, true, false, false},
      {"fe80::1", false, false, false, true},
      {"febf::1", false, false, false, true},
      {"fec0::1", false, false, false, false},
      {"169.254.1.1", false, false, false, true},
      {"169.255.1.1", false, false, false, false},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(ip(row.text).is_unspecified(), row.is_unspecified) << row.text;
    EXPECT_EQ(ip(row.text).is_multicast_or_broadcast(), row.is_group) << row.text;
    EXPECT_EQ(ip(row.text).is_loopback(), row.is_loopback) << row.text;
    EXPECT_EQ(ip(row.text).is_link_local(), row.is_link_local) << row.text;
  }
}

TEST(Endpoint, IsWrittenAsInAUrl) {
  EXPECT_EQ((Endpoint{ip("198.51.100.2"), 80}).to_string(), "198.51.100.2:80");
  EXPECT_EQ((Endpoint{ip("2001:db8::1"), 443}).to_string(), "[2001:db8::1]:443");
}

TEST(IpAddress, SharesBitsUpToTheFirstThatDiffersAndNoFurther) {
  for (const char* text : {"198.51.100.2", "2001:db8::f00f"}) {
    const IpAddress address = ip(text);
    EXPECT_TRUE(address.shares_bits(address, address.bits()));
    for (unsigned bit = 0; bit < address.bits(); ++bit) {
      std::vector<std::uint8_t> octets(address.octets().begin(), address.octets().end());
      octets[bit / 8] ^= static_cast<std::uint8_t>(0x80 >> (bit % 8));
      const IpAddress other = IpAddress::from_octets(octets);
      for (unsigned length = 0; length <= address.bits(); ++length) {
        EXPECT_EQ(address.shares_bits(other, length), length <= bit) << text << '/' << length;
      }
    }
  }
  EXPECT_FALSE(ip("0.0.0.0").shares_bits(ip("::"), 0));
}

TEST(Prefix, TextThatIsRead) {
  struct Row {
    const char* text;
    const char* written;
  };
  for (const Row& row : {Row{"10.0.0.0/8", "10.0.0.0/8"}, Row{"0.0.0.0/0", "0.0.0.0/0"},
                         Row{"198.51.100.2", "198.51.100.2/32"}, Row{"::/0", "::/0"},
                         Row{"2001:db8::/33", "2001:db8::/33"}, Row{"::1", "::1/128"}}) {
    const std::optional<Prefix> prefix = Prefix::parse(row.text);
    ASSERT_TRUE(prefix) << row.text;
    EXPECT_EQ(prefix->to_string(), row.written);
  }
}

TEST(Prefix, SetHostBitsAndBadLengthsAreRefused) {
  for (const char* text :
       {"10.0.0.1/8", "2001:db8::1/64", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/08",
        "10.0.0.0/-1", "10.0.0.0/8/8", "/8", "10/8", "10.0.0.0/8 ", "10.0.0.0/999"}) {
    EXPECT_FALSE(Prefix::parse(text)) << text;
  }
}

TEST(Prefix, MakingOneClearsTheHostBits) {
  EXPECT_EQ(Prefix(ip("198.51.100.77"), 28).to_string(), "198.51.100.64/28");
  EXPECT_EQ(Prefix(ip("2001:db8:ffff::1"), 33).to_string(), "2001:db8:8000::/33");
  EXPECT_EQ(Prefix(ip("1.2.3.4"), 99).length(), 32U);
  EXPECT_EQ(Prefix(ip("1.2.3.4"), 0).to_string(), "0.0.0.0/0");
}

TEST(Prefix, ContainsExactlyItsAddressesForEveryLength) {
  for (const char* text : {"198.51.100.2", "2001:db8::f00f"}) {
    const IpAddress address = ip(text);
    for (unsigned length = 0; length <= address.bits(); ++length) {
      const Prefix prefix(address, length);
      EXPECT_TRUE(prefix.contains(address)) << prefix.to_string();
      if (length == 0) continue;
      // The last bit of the prefix decides.
      std::vector<std::uint8_t> octets(address.octets().begin(), address.octets().end());
      octets[(length - 1) / 8] ^= static_cast<std::uint8_t>(0x80 >> ((length - 1) % 8));
      EXPECT_FALSE(prefix.contains(IpAddress::from_octets(octets))) << prefix.to_string();
    }
  }
}

TEST(Prefix, TheFamiliesDoNotContainEachOther) {
  EXPECT_FALSE(Prefix(ip("0.0.0.0"), 0).contains(ip("::")));
  EXPECT_FALSE(Prefix(ip("::"), 0).contains(ip("0.0.0.0")));
}

TEST(Prefix, OverlapIsContainmentEitherWay) {
  const Prefix wide(ip("198.51.100.0"), 24);
  const Prefix narrow(ip("198.51.100.16"), 28);
  const Prefix other(ip("198.51.100.32"), 28);
  EXPECT_TRUE(wide.overlaps(narrow));
  EXPECT_TRUE(narrow.overlaps(wide));
  EXPECT_FALSE(narrow.overlaps(other));
}

}  // namespace
}  // namespace cordon
