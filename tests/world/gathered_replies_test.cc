// Answers of one turn to one port of the guest go as one train, and each of them arrives as it was.
#include <gtest/gtest.h>

#include "tests/world/dns.h"
#include "tests/world/world.h"

namespace cordon::world {
namespace {

Packet question(std::uint16_t id, std::string_view name, std::uint16_t port = 5000,
                Family family = Family::kIpv4) {
  return Udp()
      .from_port(port)
      .to(Endpoint{.address = resolver_address(family), .port = 53})
      .payload(dns_query(id, name));
}

struct Reply {
  std::uint16_t port;
  DnsSeen message;
};

// Every reply that the guest gets, cut as its kernel cuts them, and in how many frames they came.
std::vector<Reply> replies_to(World& world, std::size_t& frames) {
  std::vector<Reply> replies;
  for (frames = 0; const std::optional<Seen> seen = world.next_packet(); ++frames) {
    EXPECT_EQ(seen->source_port, 53);
    const std::size_t segment = seen->segment_size == 0 ? seen->payload.size() : seen->segment_size;
    for (std::size_t at = 0; at < seen->payload.size(); at += segment) {
      const std::size_t end = std::min(at + segment, seen->payload.size());
      replies.push_back(
          {.port = seen->destination_port,
           .message = read_dns(Octets(seen->payload.begin() + static_cast<std::ptrdiff_t>(at),
                                      seen->payload.begin() + static_cast<std::ptrdiff_t>(end)))});
    }
  }
  return replies;
}

TEST(GatheredReplies, ToOnePortAreOneFrame) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    World world;
    std::vector<Packet> questions;
    for (std::uint16_t id = 0; id < 70; ++id) {
      questions.push_back(question(id, "localhost", 5000, family));
    }
    world.guest_sends_at_once(questions);
    std::size_t frames = 0;
    const std::vector<Reply> replies = replies_to(world, frames);
    EXPECT_EQ(frames, 2U);  // 64 are the most
    ASSERT_EQ(replies.size(), questions.size());
    for (std::uint16_t id = 0; id < 70; ++id) {
      EXPECT_EQ(replies[id].message.id, id);
      EXPECT_EQ(replies[id].message.name, "localhost");
      EXPECT_EQ(replies[id].message.addresses, std::vector<IpAddress>{address("127.0.0.1")});
    }
  }
}

TEST(GatheredReplies, OfManySizesToManyPortsKeepTheirOrder) {
  for (const bool has_udp_trains : {true, false}) {
    World world({.has_udp_trains = has_udp_trains});
    const std::vector<std::pair<std::string, std::uint16_t>> asked{
        {"a.localhost", 5000}, {"b.localhost", 5000},    {"localhost", 5000},
        {"c.localhost", 5000}, {"long.localhost", 5000}, {"d.localhost", 5001},
        {"e.localhost", 5001}, {"f.localhost", 5000}};
    std::vector<Packet> questions;
    for (const auto& [name, port] : asked) questions.push_back(question(7, name, port));
    world.guest_sends_at_once(questions);
    std::size_t frames = 0;
    const std::vector<Reply> replies = replies_to(world, frames);
    EXPECT_EQ(frames, has_udp_trains ? 5U : asked.size());
    ASSERT_EQ(replies.size(), asked.size());
    for (std::size_t i = 0; i < asked.size(); ++i) {
      EXPECT_EQ(replies[i].message.name, asked[i].first);
      EXPECT_EQ(replies[i].port, asked[i].second);
    }
  }
}

TEST(GatheredReplies, WaitForNoOtherTurn) {
  World world;
  world.guest_sends(question(1, "localhost"));
  EXPECT_EQ(read_dns(world.expect_udp().payload).id, 1);
  EXPECT_GT(world.translator.next_deadline(), world.now);
}

TEST(GatheredReplies, GoAroundOneThatIsLong) {
  World world;
  const auto ask = [](std::uint16_t id) {
    return Udp()
        .from_port(5000)
        .to(Endpoint{.address = resolver_address(Family::kIpv4), .port = 53})
        .payload(dns_query(id, "big.example", 16, 4096));
  };
  world.guest_sends(ask(1));
  FakeSocket& asked = world.dns_socket();
  Octets answer = dns_answer(asked.sent.back().payload, 0);
  // A TXT record of some hundred octets behind the question.
  answer[7] = 1;
  const Octets record{0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 2, 0x58};
  answer.insert(answer.end(), record.begin(), record.end());
  for (int i = 0; i < 3; ++i) {
    answer.push_back(199);
    answer.insert(answer.end(), 199, 't');
  }
  world.datagram_arrives(asked.handle, asked.sent.back().destination, answer);
  const Seen reply = world.expect_udp();
  EXPECT_GT(reply.payload.size(), 600U);
  EXPECT_EQ(read_dns(reply.payload).answers, 1);
  world.expect_nothing();
}

}  // namespace
}  // namespace cordon::world
