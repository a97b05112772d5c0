// Options of the SYN (RFC 9293 section 3.2, RFC 7323, RFC 2018): what the SYN-ACK answers, and what
// the socket is told that takes the connection over. The two must say the same.
#include <gtest/gtest.h>

#include "tests/world/world.h"

namespace cordon::world {
namespace {

struct OptionsRow {
  const char* name;
  Octets options;
  std::uint16_t mss_v4 = 536;
  std::uint16_t mss_v6 = 1220;
  std::optional<std::uint8_t> window_scale;
  bool has_sack = false;
  std::optional<std::uint32_t> timestamp;
};

std::vector<OptionsRow> rows() {
  const Octets linux_syn{2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7};
  const Octets full{2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7,
                    1, 1, 1, 1,   1, 1, 1, 1,  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  std::vector<OptionsRow> all;
  all.push_back({.name = "None"});
  all.push_back({.name = "Mss", .options = {2, 4, 5, 180}, .mss_v4 = 1460, .mss_v6 = 1460});
  all.push_back({.name = "MssZeroSaysNothing", .options = {2, 4, 0, 0}});
  all.push_back({.name = "MssOneIsRaised", .options = {2, 4, 0, 1}, .mss_v4 = 48, .mss_v6 = 48});
  all.push_back({.name = "Mss64Stays", .options = {2, 4, 0, 64}, .mss_v4 = 64, .mss_v6 = 64});
  all.push_back(
      {.name = "MssLargest", .options = {2, 4, 0xff, 0xff}, .mss_v4 = 65535, .mss_v6 = 65535});
  all.push_back({.name = "Scale0", .options = {3, 3, 0, 1}, .window_scale = 0});
  all.push_back({.name = "Scale7", .options = {1, 3, 3, 7}, .window_scale = 7});
  all.push_back({.name = "Scale14", .options = {1, 3, 3, 14}, .window_scale = 14});
  all.push_back({.name = "Scale15IsRead14", .options = {1, 3, 3, 15}, .window_scale = 14});
  all.push_back({.name = "Scale255IsRead14", .options = {1, 3, 3, 255}, .window_scale = 14});
  all.push_back({.name = "Sack", .options = {4, 2, 1, 1}, .has_sack = true});
  all.push_back({.name = "Timestamps",
                 .options = {1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0},
                 .timestamp = 0x01020304});
  all.push_back(
      {.name = "TimestampZero", .options = {1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0}, .timestamp = 0});
  all.push_back({.name = "Linux",
                 .options = linux_syn,
                 .mss_v4 = 1460,
                 .mss_v6 = 1460,
                 .window_scale = 7,
                 .has_sack = true,
                 .timestamp = 0x01020304});
  all.push_back({.name = "FortyOctets",
                 .options = full,
                 .mss_v4 = 1460,
                 .mss_v6 = 1460,
                 .window_scale = 7,
                 .has_sack = true,
                 .timestamp = 0x01020304});
  all.push_back({.name = "EndBeforeMss", .options = {0, 2, 4, 5, 180, 0, 0, 0}});
  all.push_back({.name = "LengthZeroEnds", .options = {3, 3, 7, 9, 0, 2, 4, 5}, .window_scale = 7});
  all.push_back({.name = "LengthOneEnds", .options = {3, 3, 7, 9, 1, 2, 4, 5}, .window_scale = 7});
  all.push_back({.name = "PastTheEnd", .options = {4, 2, 2, 40}, .has_sack = true});
  all.push_back(
      {.name = "MssOfWrongLength", .options = {2, 3, 9, 4, 2, 1, 1, 1}, .has_sack = true});
  all.push_back(
      {.name = "SackOfWrongLength", .options = {4, 3, 9, 3, 3, 5, 1, 1}, .window_scale = 5});
  all.push_back({.name = "UnknownKindIsPassedOver",
                 .options = {253, 4, 1, 2, 2, 4, 2, 24},
                 .mss_v4 = 536,
                 .mss_v6 = 536});
  all.push_back({.name = "MultipathIsNotAnswered",
                 .options = {30, 12, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 4, 2, 1, 1},
                 .has_sack = true});
  all.push_back({.name = "FastOpenIsNotAnswered",
                 .options = {34, 2, 2, 4, 5, 180, 1, 1},
                 .mss_v4 = 1460,
                 .mss_v6 = 1460});
  all.push_back({.name = "FastOpenCookie",
                 .options = {34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 4, 2},
                 .has_sack = true});
  all.push_back({.name = "Md5IsPassedOver",
                 .options = {19, 18, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 4, 2},
                 .has_sack = true});
  return all;
}

class TcpOptions : public testing::TestWithParam<std::tuple<OptionsRow, bool>> {};

TEST_P(TcpOptions, OfTheSynInSynAckAndAdoption) {
  const auto& [row, is_v6] = GetParam();
  World world;
  world.guest.timestamp = 777;
  world.guest_sends(Syn()
                        .to(is_v6 ? "[2001:db8::17]:80" : "198.51.100.17:80")
                        .seq(0xffffffff)
                        .window(12345)
                        .options(row.options));
  world.dial_succeeds();

  const Seen syn_ack = world.expect_syn_ack();
  EXPECT_EQ(syn_ack.mss, is_v6 ? 1440 : 1460);
  EXPECT_EQ(syn_ack.window_scale.has_value(), row.window_scale.has_value());
  EXPECT_EQ(syn_ack.has_sack_permitted, row.has_sack);
  EXPECT_EQ(syn_ack.timestamp.has_value(), row.timestamp.has_value());
  if (row.timestamp) {
    EXPECT_EQ(syn_ack.timestamp, 777U);  // the clock of the socket that takes over
  }
  EXPECT_EQ(syn_ack.timestamp_echo, row.timestamp);
  EXPECT_FALSE(syn_ack.has_other_option);
  EXPECT_EQ(syn_ack.ack, 0U);

  ASSERT_EQ(world.guest.adoptions.size(), 1U);
  const Adoption& adoption = world.guest.adoptions[0];
  EXPECT_EQ(adoption.mss, is_v6 ? row.mss_v6 : row.mss_v4);
  EXPECT_EQ(adoption.offered.window_scale, row.window_scale);
  EXPECT_EQ(adoption.offered.has_sack_permitted, row.has_sack);
  EXPECT_EQ(adoption.offered.timestamps.has_value(), row.timestamp.has_value());
  EXPECT_EQ(adoption.our_window_scale, syn_ack.window_scale.value_or(0));
  EXPECT_EQ(adoption.receive_window, syn_ack.window);
  EXPECT_EQ(adoption.send_window, 12345);
  EXPECT_EQ(adoption.irs.get(), 0xffffffffU);
  EXPECT_EQ(adoption.iss.get(), syn_ack.seq);
  EXPECT_EQ(adoption.remote.address, syn_ack.source);
  EXPECT_EQ(adoption.remote.port, 80);
  EXPECT_EQ(adoption.guest.address, syn_ack.destination);
  EXPECT_EQ(adoption.guest.port, 40000);
}

INSTANTIATE_TEST_SUITE_P(Rows, TcpOptions,
                         testing::Combine(testing::ValuesIn(rows()), testing::Bool()),
                         [](const auto& row) {
                           return std::string(std::get<0>(row.param).name) +
                                  (std::get<1>(row.param) ? "V6" : "V4");
                         });

TEST(TcpSynAck, HasTheMssOfTheLinksMtu) {
  for (const std::uint16_t mtu : {1280, 1500, 9000, 65520}) {
    World world({.mtu = mtu});
    world.guest_sends(Syn().to("198.51.100.17:80"));
    world.dial_succeeds();
    EXPECT_EQ(world.expect_syn_ack().mss, mtu - 40);
    world.guest_sends(Syn().to("[2001:db8::17]:80"));
    world.dial_succeeds();
    EXPECT_EQ(world.expect_syn_ack().mss, mtu - 60);
  }
}

TEST(TcpSynAck, OfARepeatedSynAnswersTheFirstSynsOptions) {  // RFC 9293 section 3.10.7.4
  World world;
  world.guest_sends(Syn().to("198.51.100.17:80").mss(1200).window_scale(3).timestamps(5));
  world.dial_succeeds();
  (void)world.expect_syn_ack();
  // A guest that hears nothing may leave its options out (Linux does, for broken middleboxes); the
  // kernel socket keeps to what was agreed with the first SYN.
  world.guest_sends(Syn().to("198.51.100.17:80"));
  const Seen again = world.expect_syn_ack();
  EXPECT_TRUE(again.window_scale);
  EXPECT_EQ(again.timestamp_echo, 5U);
}

}  // namespace
}  // namespace cordon::world
