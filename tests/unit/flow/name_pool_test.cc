#include "netstack/flow/name_pool.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "netstack/flow/limits.h"

namespace cordon {
namespace {

NamePool make_pool(const char* v4 = "198.18.0.0/15") {
  return NamePool(*Prefix::parse(v4), *Prefix::parse("fd00:1::/64"), SipKey{.k0 = 1, .k1 = 2});
}

DnsName name(const std::string& text) { return *DnsName::parse(text); }

TEST(NamePool, GivesEachNameAddressesOfItsOwnForGood) {
  NamePool pool = make_pool();
  const PooledName first = *pool.give(name("a.example"));
  EXPECT_EQ(first.v4, *IpAddress::parse("198.18.0.1"));
  EXPECT_EQ(first.v6, *IpAddress::parse("fd00:1::1"));
  const PooledName second = *pool.give(name("b.example"));
  EXPECT_NE(first.v4, second.v4);
  EXPECT_EQ(pool.give(name("A.Example"))->name, first.name);
  EXPECT_EQ(pool.find(name("b.EXAMPLE"))->v6, second.v6);
  EXPECT_FALSE(pool.find(name("c.example")));
}

TEST(NamePool, KnowsTheNameOfEachAddressAndOfNoOther) {
  NamePool pool = make_pool();
  std::set<IpAddress> seen;
  for (int i = 0; i < 2000; ++i) {
    const PooledName given = *pool.give(name("n" + std::to_string(i) + ".example"));
    EXPECT_EQ(pool.name_at(given.v4), given.name);
    EXPECT_EQ(pool.name_at(given.v6), given.name);
    EXPECT_TRUE(pool.contains(given.v4) && pool.contains(given.v6));
    const std::uint8_t last = given.v4.octets()[3];
    EXPECT_TRUE(last != 0 && last != 255);
    EXPECT_TRUE(seen.insert(given.v4).second && seen.insert(given.v6).second);
  }
  for (const char* text : {"198.18.0.0", "198.18.0.255", "198.18.200.1", "198.20.0.1", "10.0.0.1",
                           "fd00:1::", "fd00:1::ff", "fd00:1::1:0:0:1", "fd00:2::1"}) {
    EXPECT_EQ(pool.name_at(*IpAddress::parse(text)), nullptr) << text;
  }
}

TEST(NamePool, NamesNeverMove) {
  NamePool pool = make_pool();
  const DnsName* const first = pool.give(name("first.example"))->name;
  for (int i = 0; i < 10000; ++i) (void)pool.give(name("n" + std::to_string(i) + ".example"));
  EXPECT_EQ(pool.find(name("first.example"))->name, first);
  EXPECT_EQ(first->to_string(), "first.example");
}

TEST(NamePool, IsFullAtItsLimitOrItsPrefix) {
  NamePool small = make_pool("198.18.0.0/28");
  for (int i = 0; i < 14; ++i) EXPECT_TRUE(small.give(name("n" + std::to_string(i) + ".example")));
  EXPECT_FALSE(small.give(name("more.example")));
  EXPECT_TRUE(small.give(name("n3.example")));
  NamePool whole = make_pool();
  for (std::size_t i = 0; i < kMaxPooledNames; ++i) {
    ASSERT_TRUE(whole.give(name("n" + std::to_string(i) + ".example")));
  }
  EXPECT_FALSE(whole.give(name("more.example")));
  EXPECT_EQ(whole.size(), kMaxPooledNames);
}

}  // namespace
}  // namespace cordon
