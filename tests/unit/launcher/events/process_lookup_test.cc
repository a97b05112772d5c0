#include "launcher/events/process_lookup.h"

#include <gtest/gtest.h>

namespace cordon {
namespace {

Endpoint at(const char* address, std::uint16_t port) { return {*IpAddress::parse(address), port}; }

Request request(Protocol protocol = Protocol::kTcp) {
  Request result;
  result.protocol = protocol;
  result.guest = at("10.77.0.2", 40000);
  result.dialled = at("198.51.100.7", 443);
  return result;
}

SocketRow connecting(std::uint64_t inode) {
  return {.local = at("10.77.0.2", 40000),
          .remote = at("198.51.100.7", 443),
          .is_connection = true,
          .inode = inode};
}

using Rows = std::vector<SocketRow>;

TEST(ChooseSocket, FindsTheOneThatConnects) {
  EXPECT_EQ(choose_socket(Rows{connecting(5)}, request()), 5U);
  EXPECT_EQ(choose_socket(Rows{}, request()), std::nullopt);
}

TEST(ChooseSocket, TakesNoneThatDiffersInAnyPart) {
  Rows rows(6, connecting(5));
  rows[0].local.port = 40001;
  rows[1].local.address = *IpAddress::parse("10.77.0.9");
  rows[2].remote.port = 80;
  rows[3].remote.address = *IpAddress::parse("198.51.100.8");
  rows[4].is_connection = false;
  rows[5].inode = 0;
  for (const SocketRow& row : rows) EXPECT_EQ(choose_socket(Rows{row}, request()), std::nullopt);
}

TEST(ChooseSocket, AnswersNothingWhereTwoFit) {
  EXPECT_EQ(choose_socket(Rows{connecting(5), connecting(6)}, request()), std::nullopt);
  EXPECT_EQ(choose_socket(Rows{connecting(5), connecting(5)}, request()), 5U);
}

TEST(ChooseSocket, TheHostDoorHasAnotherAddressInside) {
  Request to_door = request();
  to_door.dialled = at("127.0.0.1", 443);
  EXPECT_EQ(choose_socket(Rows{connecting(5)}, to_door), std::nullopt);
  to_door.is_host_door = true;
  EXPECT_EQ(choose_socket(Rows{connecting(5)}, to_door), 5U);
}

TEST(ChooseSocket, ADatagramMayComeFromAnUnboundUnconnectedSocket) {
  const SocketRow row{.local = at("0.0.0.0", 40000), .remote = at("0.0.0.0", 0), .inode = 7};
  EXPECT_EQ(choose_socket(Rows{row}, request(Protocol::kUdp)), 7U);
  EXPECT_EQ(choose_socket(Rows{row}, request(Protocol::kTcp)), std::nullopt);
}

TEST(ChooseSocket, InboundFlowsHaveNoDiallingSocket) {
  Request inbound = request();
  inbound.direction = Direction::kInbound;
  EXPECT_EQ(choose_socket(Rows{connecting(5)}, inbound), std::nullopt);
}

TEST(ParsePingSockets, ReadsTheKernelsTable) {
  const Rows rows = parse_ping_sockets(
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
      "inode ref pointer drops\n"
      "    3: 02004D0A:9C40 00000000:0000 07 00000000:00000000 00:00000000 00000000 65534        0 "
      "12345 2 0000000000000000 0\n");
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].local, at("10.77.0.2", 40000));
  EXPECT_EQ(rows[0].inode, 12345U);
  EXPECT_EQ(choose_socket(rows, request(Protocol::kIcmp)), 12345U);
}

TEST(ParsePingSockets, ReadsTheTableOfIpv6) {
  const Rows rows = parse_ping_sockets(
      "    3: 726F63FD00006F640000000002000000:0007 00000000000000000000000000000000:0000 07 "
      "00000000:00000000 00:00000000 00000000 0 0 9 2 0 0\n");
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].local.to_string(), "[fd63:6f72:646f::2]:7");
}

TEST(ParsePingSockets, LeavesOutWhatItDoesNotUnderstand) {
  EXPECT_TRUE(parse_ping_sockets("").empty());
  EXPECT_TRUE(parse_ping_sockets("\n\n   \n1 2 3\n").empty());
  EXPECT_TRUE(parse_ping_sockets("1: XX004D0A:9C40 00000000:0000 07 a b c 0 0 12345\n").empty());
  EXPECT_TRUE(parse_ping_sockets("1: 02004D0A:9C40F 00000000:0000 07 a b c 0 0 12345\n").empty());
  EXPECT_TRUE(parse_ping_sockets("1: 02004D0A:9C40 00000000:0000 07 a b c 0 0 -1\n").empty());
}

TEST(ProcessLookup, WithoutASandboxFindsNothing) {
  ProcessLookup lookup(-1, -1, 0);
  EXPECT_FALSE(lookup.find(request()));
}

}  // namespace
}  // namespace cordon
