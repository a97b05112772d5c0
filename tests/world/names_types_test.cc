// Types of records beside addresses, where names are enforced: which are answered, which are told,
// and what of them is passed on.
#include <string>

#include <gtest/gtest.h>

#include "tests/world/leak_zone.h"

namespace cordon::world {
namespace {

// T3, T12: types that no rule lists, for a name that is allowed.
TEST(NamesTypes, ThatNoRuleListsHaveNoDataAndAreNotPassedOn) {
  Naming world(leak_policy());
  fill(world);
  for (const std::uint16_t type : {16, 10, 15, 33, 64, 65, 2, 5, 6, 12, 99, 257, 65280}) {
    const DnsSeen answer = world.resolves("ok.example", type);
    EXPECT_EQ(answer.rcode, 0) << type;
    EXPECT_EQ(answer.answers, 0) << type;
  }
  for (const std::uint16_t type : {255, 252, 251}) {  // ANY, AXFR, IXFR
    EXPECT_EQ(world.resolves("ok.example", type).rcode, 4) << type;
  }
  Octets chaos = dns_query(1, "ok.example", 16);
  chaos[chaos.size() - 1] = 3;
  world.guest_sends(Udp().to("8.8.8.8:53").payload(chaos));
  EXPECT_EQ(read_dns(world.expect_udp().payload).rcode, 4);
  EXPECT_EQ(world.host_contacts(), 0U);
}

TEST(NamesTypes, ThatARuleCouldListAreTold) {
  Naming world(leak_policy());
  fill(world);
  for (int i = 0; i < 2; ++i) {
    for (const std::uint16_t type : {16, 33, 65, 64, 12}) {
      EXPECT_EQ(world.resolves("ok.example", type).rcode, 0) << type;
    }
  }
  EXPECT_EQ(world.host_contacts(), 0U);
  ASSERT_EQ(world.events.denials.size(), 2U) << "once each";
  EXPECT_EQ(world.events.denials[0].verdict.reason, Reason::kType);
  EXPECT_EQ(world.events.denials[0].query_type, 16);
  EXPECT_EQ(world.events.denials[1].query_type, 33);
  // In report mode they go on.
  Naming reporting({.allow = {"ok.example"}, .mode = PolicyMode::kReport});
  reporting.asks("ok.example", 16);
  EXPECT_EQ(reporting.sockets.opened(OwnerKind::kDns), 1U);
  ASSERT_EQ(reporting.events.denials.size(), 1U);
  EXPECT_TRUE(reporting.events.denials[0].is_only_reported);
}

TEST(NamesTypes, ThatARuleListsArePassedOnAlone) {
  Naming world({.allow = {"ok.example"}, .each_rule = [](Rule& rule) {
                  rule.dns_types = {15, 33, 16};
                }});
  world.asks("OK.example", 15);
  const Octets query = world.dns_socket().sent.back().payload;
  EXPECT_EQ(read_dns(query).name, "ok.example");
  EXPECT_EQ(read_dns(query).type, 15);
  // MX with a compressed target, and an address in the additional section.
  Octets answer = dns_answer(query, 0);
  const auto append = [&](std::initializer_list<int> octets) {
    for (const int octet : octets) answer.push_back(static_cast<std::uint8_t>(octet));
  };
  append({0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, 9, 0, 10, 4, 'm', 'a', 'i', 'l', 0xc0, 12});
  append({4, 'm', 'a', 'i', 'l', 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 9});
  answer[7] = 1;
  answer[11] = 1;
  world.datagram_arrives(world.dns_socket().handle, endpoint("198.51.100.53:53"), answer);
  const Seen seen = world.expect_udp();
  const DnsSeen copy = read_dns(seen.payload);
  EXPECT_EQ(copy.rcode, 0);
  EXPECT_EQ(copy.answers, 1);
  EXPECT_EQ(copy.name, "OK.example");
  EXPECT_TRUE(copy.addresses.empty()) << "the additional section stays outside";
  const std::string text(seen.payload.begin(), seen.payload.end());
  EXPECT_NE(text.find(std::string("\x04mail\x02ok\x07"
                                  "example\0",
                                  17)),
            std::string::npos);
}

// With the public internet open a name's records are no more than its addresses are.
TEST(NamesTypes, PassWhereEverythingPublicIsOpen) {
  Naming world({.deny = {"evil.example"}, .ask = {"maybe.example"}});
  fill(world);
  for (const std::uint16_t type : {15, 16, 33, 35, 257, 6, 12, 5, 48, 65280}) {
    const std::size_t asked = world.questions.size();
    EXPECT_EQ(world.resolves("other.example", type).rcode, 3) << "what upstream says";
    ASSERT_EQ(world.questions.size(), asked + 1) << type;
    EXPECT_EQ(world.questions.back(), (NameQuestion{"other.example", type}));
    EXPECT_EQ(world.events.records.back(),
              (FakeEvents::Records{.name = "other.example", .type = type, .has_data = false}));
  }
  const std::size_t asked = world.questions.size();
  for (const std::uint16_t type : {64, 65}) {  // SVCB, HTTPS
    EXPECT_EQ(world.resolves("other.example", type).rcode, 0);
  }
  EXPECT_EQ(world.resolves("evil.example", 16).extended_error, 17);
  EXPECT_EQ(world.resolves("maybe.example", 16).answers, 0) << "nobody has said yes";
  EXPECT_EQ(world.questions.size(), asked);
  EXPECT_EQ(world.events.records.size(), 10U);
  // Told once, not with every question.
  (void)world.resolves("other.example", 65280);
  EXPECT_EQ(world.events.records.size(), 10U);
}

TEST(NamesTypes, NamesInTheirDataAreWrittenOut) {
  Naming world({.deny = {"evil.example"}});
  const auto ask = [&](std::uint16_t type, std::initializer_list<int> data) {
    world.asks("ok.example", type);
    Octets answer = dns_answer(world.dns_socket().sent.back().payload, 0);
    for (const int octet : {0xc0, 12, 0, static_cast<int>(type), 0, 1, 0, 0, 0, 60, 0}) {
      answer.push_back(static_cast<std::uint8_t>(octet));
    }
    answer.push_back(static_cast<std::uint8_t>(data.size()));
    for (const int octet : data) answer.push_back(static_cast<std::uint8_t>(octet));
    answer[7] = 1;
    world.datagram_arrives(world.dns_socket().handle, endpoint("198.51.100.53:53"), answer);
    const Seen seen = world.expect_udp();
    EXPECT_EQ(read_dns(seen.payload).answers, 1) << type;
    return std::string(seen.payload.begin(), seen.payload.end());
  };
  const std::string whole(
      "\x02ok\x07"
      "example\0",
      12);
  // SOA: two names, then serial, refresh, retry, expire, minimum.
  const std::string soa = ask(6, {2, 'n', 's', 0xc0, 12, 1, 'm', 0xc0, 12, 0, 0, 0, 9, 0, 0,
                                  0, 8,   0,   0,    0,  7, 0,   0,    0,  6, 0, 0, 0, 5});
  EXPECT_NE(soa.find("\x02ns" + whole + "\x01m" + whole + std::string("\0\0\0\x09", 4)),
            std::string::npos);
  // CNAME as such is the alias, not where it leads.
  EXPECT_NE(ask(5, {3, 'w', 'w', 'w', 0xc0, 12}).find("\x03www" + whole), std::string::npos);
  EXPECT_NE(ask(17, {1, 'a', 0xc0, 12, 1, 'b', 0xc0, 12})
                .find("\x01"
                      "a" +
                      whole +
                      "\x01"
                      "b"),
            std::string::npos);
  EXPECT_EQ(world.events.records.size(), 3U);
  EXPECT_TRUE(world.events.records.back().has_data);
}

}  // namespace
}  // namespace cordon::world
