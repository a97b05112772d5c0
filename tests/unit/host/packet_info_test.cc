#include "netstack/host/packet_info.h"

#include <netinet/in.h>

#include <gtest/gtest.h>

namespace cordon {
namespace {

HostEnd end_of(const char* address, std::uint32_t zone = 0) {
  return {.address = *IpAddress::parse(address), .zone = zone};
}

TEST(PacketInfo, ComesBackAsItWasWritten) {
  for (const HostEnd& end : {end_of("198.51.100.2"), end_of("2001:db8::2"), end_of("fe80::2", 7)}) {
    const PacketInfo info = packet_info(end);
    EXPECT_EQ(info.level, end.address.is_v4() ? IPPROTO_IP : IPPROTO_IPV6);
    EXPECT_EQ(read_packet_info(info.level, info.type, info.data()), end);
  }
}

TEST(PacketInfo, OfAnAddressThatHasNoZoneNamesNoLink) {
  const PacketInfo info = packet_info(end_of("2001:db8::2", 7));
  EXPECT_EQ(read_packet_info(info.level, info.type, info.data()), end_of("2001:db8::2"));
}

TEST(PacketInfo, IsNotReadFromLessThanAWholeOneNorFromAnotherMessage) {
  for (const HostEnd& end : {end_of("198.51.100.2"), end_of("fe80::2", 7)}) {
    const PacketInfo info = packet_info(end);
    for (std::size_t size = 0; size < info.size; ++size) {
      EXPECT_FALSE(read_packet_info(info.level, info.type, info.data().first(size)));
    }
    EXPECT_FALSE(read_packet_info(info.level, info.type + 100, info.data()));
    EXPECT_FALSE(read_packet_info(IPPROTO_UDP, info.type, info.data()));
  }
}

}  // namespace
}  // namespace cordon
