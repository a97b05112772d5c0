#include "launcher/policy/policy_values.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "launcher/policy/policy_words.h"
#include "netstack/names/dns_message.h"

namespace cordon {
namespace {

TEST(PolicyValues, OctetsAreANumberAndAUnit) {
  const std::pair<const char*, std::uint64_t> rows[] = {
      {"1B", 1},
      {"5MB", 5'000'000},
      {"5 MB", 5'000'000},
      {"1.5GB", 1'500'000'000},
      {"512KiB", 524'288},
      {"2kB", 2'000},
      {"2KB", 2'000},
      {"0.5KiB", 512},
      {"16TiB", std::uint64_t{16} << 40},
  };
  for (const auto& [text, octets] : rows) {
    const auto parsed = parse_octets(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(*parsed, octets) << text;
  }
}

TEST(PolicyValues, OctetsThatSayNothingClearAreRefused) {
  for (const char* text :
       {"", "5", "MB", "5 megs", "5M", "-5MB", "5  MB", "0MB", "1.MB", ".5MB", "0.3B",
        "99999999999TB", "18446744073709551616B", "5MB ", " 5MB", "5mb"}) {
    EXPECT_FALSE(parse_octets(text)) << text;
  }
}

TEST(PolicyValues, ARateIsDataASecond) {
  EXPECT_EQ(parse_rate("1MB/s").value_or(0), 1'000'000U);
  for (const char* text : {"1MB", "1MB/m", "/s", "1/s", "0MB/s"})
    EXPECT_FALSE(parse_rate(text)) << text;
}

TEST(PolicyValues, ATimeIsUnitsFromLongToShort) {
  EXPECT_EQ(parse_duration("90s").value_or(0), 90U);
  EXPECT_EQ(parse_duration("1h30m").value_or(0), 5'400U);
  EXPECT_EQ(parse_duration("2d").value_or(0), 172'800U);
  for (const char* text : {"", "10", "m", "10m1h", "1h1h", "0s", "10 m", "1.5h", "99999999d"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(PolicyValues, ABudgetOfNamesIsAMinutes) {
  EXPECT_EQ(parse_per_minute("60/min").value_or(0), 60U);
  for (const char* text : {"60", "60/m", "0/min", "x/min", "-1/min", "99999999/min"}) {
    EXPECT_FALSE(parse_per_minute(text)) << text;
  }
}

TEST(PolicyValues, WhatIsWrittenBackReadsTheSame) {
  for (const std::uint64_t octets : {1ULL, 999ULL, 1'000ULL, 1'024ULL, 5'000'000ULL, 1ULL << 40}) {
    EXPECT_EQ(parse_octets(format_octets(octets)).value_or(0), octets);
  }
  for (const std::uint32_t seconds : {1U, 90U, 3'600U, 86'399U, 86'400U, 4'000'000'000U}) {
    EXPECT_EQ(parse_duration(format_duration(seconds)).value_or(0), seconds);
  }
  EXPECT_EQ(format_octets(5'000'000), "5MB");
  EXPECT_EQ(format_octets(512 << 10), "512KiB");
  EXPECT_EQ(format_duration(5'400), "1h30m");
}

TEST(PolicyWords, OfRecordTypesAreThoseThatTheResolverTells) {
  ASSERT_EQ(kDnsTypes.size(), dns_type::kListable.size());
  for (const Word<std::uint16_t>& type : kDnsTypes) {
    EXPECT_EQ(std::ranges::count(dns_type::kListable, type.value), 1) << type.text;
  }
}

}  // namespace
}  // namespace cordon
