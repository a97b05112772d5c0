// The guest's link as a whole: who may speak on it, what is answered there, and what never gets any
// further.
#include <gtest/gtest.h>

#include "tests/world/world.h"

namespace cordon::world {
namespace {

Octets arp_request(const IpAddress& sender, const IpAddress& target,
                   const MacAddress& mac = kGuestMac) {
  Octets frame(6, 0xff);
  const auto put = [&](Bytes bytes) { frame.insert(frame.end(), bytes.begin(), bytes.end()); };
  put(mac);
  put(octets(std::string_view("\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01", 10)));
  put(mac);
  put(sender.octets());
  put(MacAddress{});
  put(target.octets());
  return frame;
}

TEST(LinkArp, AnswersForOurAddressesWithTheGatewaysMac) {
  World world;
  for (const IpAddress& ours : {gateway_address(Family::kIpv4), resolver_address(Family::kIpv4),
                                door_address(Family::kIpv4)}) {
    world.guest_sends_frame(arp_request(guest_address(Family::kIpv4), ours));
    const Octets reply = world.expect_frame();
    ASSERT_GE(reply.size(), 42U);
    EXPECT_TRUE(std::equal(kGuestMac.begin(), kGuestMac.end(), reply.begin()));
    EXPECT_EQ(reply[21], 2);
    EXPECT_TRUE(std::equal(kGatewayMac.begin(), kGatewayMac.end(), reply.begin() + 22));
    EXPECT_EQ(IpAddress::from_octets(Bytes(reply).subspan(28, 4)), ours);
  }
}

TEST(LinkArp, IsSilentAboutTheGuestAndAboutStrangers) {
  World world;
  const IpAddress guest = guest_address(Family::kIpv4);
  world.guest_sends_frame(arp_request(address("0.0.0.0"), guest));  // RFC 5227 probe
  world.guest_sends_frame(arp_request(guest, guest));               // announcement
  world.guest_sends_frame(arp_request(guest, address("10.0.2.77")));
  world.guest_sends_frame(arp_request(guest, address("198.51.100.17")));
  EXPECT_TRUE(world.tap.frames.empty());
}

TEST(LinkNdp, AnswersASolicitationForTheGateway) {
  World world;
  Packet solicitation = Ping();
  solicitation.to("ff02::1:ff00:1").type(135).ttl(255).id(0).sequence(0);
  Octets body;
  const IpAddress gateway = gateway_address(Family::kIpv6);
  const Bytes target = gateway.octets();
  body.insert(body.end(), target.begin(), target.end());
  body.insert(body.end(), {1, 1});
  body.insert(body.end(), kGuestMac.begin(), kGuestMac.end());
  solicitation.payload(body).destination_mac({0x33, 0x33, 0xff, 0, 0, 1});
  world.guest_sends(solicitation);
  const Seen advertisement = world.expect_icmp(136, 0);
  EXPECT_EQ(advertisement.ttl, 255);
  EXPECT_EQ(advertisement.source, gateway_address(Family::kIpv6));
  ASSERT_GE(advertisement.payload.size(), 24U);
  EXPECT_EQ(IpAddress::from_octets(Bytes(advertisement.payload).first(16)),
            gateway_address(Family::kIpv6));

  // With any other hop limit it came from beyond the link (RFC 4861 section 7.1.1).
  world.guest_sends(solicitation.ttl(254));
  world.expect_nothing();
  EXPECT_EQ(world.drops(Drop::kBadNdp), 1U);
}

TEST(LinkNdp, AdvertisementsAndRedirectsOfTheGuestGoNowhere) {
  World world;
  for (const std::uint8_t type : {133, 134, 136, 137, 143}) {
    world.guest_sends(Ping().to("ff02::2").type(type).ttl(255).payload(Octets(40, 0)));
  }
  world.expect_nothing();
  EXPECT_EQ(world.flow_sockets(), 0U);
}

TEST(Link, AForeignMacIsNotTheGuest) {
  World world;
  const MacAddress foreign{0x02, 0, 0, 0, 0, 0x99};
  world.guest_sends(Syn().to("198.51.100.17:80").source_mac(foreign));
  world.guest_sends_frame(
      arp_request(guest_address(Family::kIpv4), gateway_address(Family::kIpv4), foreign));
  EXPECT_EQ(world.drops(Drop::kForeignMac), 2U);
  EXPECT_TRUE(world.host.dialled.empty());
  EXPECT_TRUE(world.tap.frames.empty());
}

TEST(Link, AFrameForAnotherStationIsNotForUs) {
  World world;
  world.guest_sends(
      Syn().to("198.51.100.17:80").destination_mac(MacAddress{0x02, 0, 0, 0, 0, 0x98}));
  EXPECT_EQ(world.drops(Drop::kNotForUs), 1U);
  EXPECT_TRUE(world.host.dialled.empty());
}

TEST(Link, AForeignSourceGoesNowhere) {  // BCP 38
  World world;
  for (const char* from :
       {"10.0.2.101", "198.51.100.17", "10.0.2.1", "fd00:c0de::101", "2001:db8::9", "fe80::2"}) {
    const char* const to = address(from).is_v4() ? "198.51.100.17:80" : "[2001:db8::17]:80";
    world.guest_sends(Syn().to(to).from(from));
    world.guest_sends(Udp().to(to).from(from));
    world.guest_sends(
        Ping().to(address(from).is_v4() ? "198.51.100.17" : "2001:db8::17").from(from));
  }
  EXPECT_EQ(world.drops(Drop::kForeignSource), 18U);
  EXPECT_EQ(world.sockets.open_count(), 0U);
  world.expect_nothing();
}

TEST(Link, TheGuestsLinkLocalAddressReachesNothingBeyondTheLink) {  // RFC 4007
  World world;
  world.guest_sends(Syn().from("fe80::ff:fe00:2").to("[2001:db8::17]:80"));
  (void)world.expect_reset();
  world.guest_sends(Syn().to("[fe80::77]:80"));
  (void)world.expect_reset();
  ASSERT_EQ(world.events.denials.size(), 2U);
  EXPECT_EQ(world.events.denials[0].verdict.reason, Reason::kScope);
  EXPECT_EQ(world.events.denials[1].verdict.reason, Reason::kScope);
  EXPECT_EQ(world.sockets.open_count(), 0U);
}

TEST(Link, UnknownTransportsNeverLeave) {
  World world({.allow = {"198.51.100.0/24"}});
  for (const std::uint8_t protocol :
       {2, 4, 41, 46, 47, 50, 51, 88, 89, 103, 112, 115, 132, 136, 255}) {
    world.guest_sends(Transport(protocol).to("198.51.100.17").payload(Octets(64, 1)));
    world.guest_sends(Transport(protocol).to("2001:db8::17").payload(Octets(64, 1)));
  }
  EXPECT_EQ(world.sockets.open_count(), 0U);
  EXPECT_TRUE(world.host.dialled.empty());
  EXPECT_GE(world.drops(Drop::kUnknownTransport), 26U);
  world.expect_nothing();
}

TEST(LinkFragments, AreJudgedAsTheWholeTheyMake) {
  World world({.deny = {"198.51.100.66", "2001:db8::66"}});
  for (const char* to : {"198.51.100.17:4000", "[2001:db8::17]:4000"}) {
    const std::string data(4000, 'f');
    for (const Octets& fragment : Udp(data).to(to).fragments(1480, 77)) {
      EXPECT_EQ(world.translator.flows(), to == std::string_view("198.51.100.17:4000") ? 0U : 1U);
      world.guest_sends_frame(fragment);
    }
    ASSERT_EQ(world.udp_socket().sent.size(), 1U);
    EXPECT_EQ(world.udp_socket().sent[0].payload, octets(data));
    EXPECT_TRUE(world.udp_socket().sent[0].fields.may_fragment);
  }
  for (const char* to : {"198.51.100.66:4000", "[2001:db8::66]:4000"}) {
    for (const Octets& fragment : Udp(std::string(4000, 'f')).to(to).fragments(1480, 78)) {
      world.guest_sends_frame(fragment);
    }
    const bool is_v6 = endpoint(to).address.is_v6();
    (void)world.expect_icmp(is_v6 ? 1 : 3, is_v6 ? 1 : 13);
  }
  EXPECT_EQ(world.events.denials.size(), 2U);
  EXPECT_EQ(world.sockets.opened(OwnerKind::kUdp), 2U);
  world.expect_nothing();
}

TEST(LinkFragments, OfASynAreReassembledBeforeTheDial) {
  World world({.deny = {"198.51.100.66"}});
  for (const Octets& fragment :
       Syn().to("198.51.100.66:80").payload(std::string(64, 'x')).fragments(24, 5)) {
    world.guest_sends_frame(fragment);
  }
  (void)world.expect_reset();
  EXPECT_TRUE(world.host.dialled.empty());
}

TEST(LinkFragments, ThatNeverGetWholeEndInTimeExceeded) {  // RFC 792, RFC 4443 section 3.3
  for (const char* to : {"198.51.100.17:4000", "[2001:db8::17]:4000"}) {
    World world;
    const bool is_v6 = endpoint(to).address.is_v6();
    world.guest_sends_frame(Udp(std::string(4000, 'f')).to(to).fragments(1480, 9)[0]);
    world.advance(60s - 1ms);
    world.expect_nothing();
    world.advance(1ms);
    (void)world.expect_icmp(is_v6 ? 3 : 11, 1);
    EXPECT_EQ(world.drops(Drop::kFragmentTimeout), 1U);
    // Without the first fragment there is nothing to quote, and no error.
    world.guest_sends_frame(Udp(std::string(4000, 'f')).to(to).fragments(1480, 10)[1]);
    world.advance(61s);
    world.expect_nothing();
  }
}

TEST(LinkFragments, ThatOverlapAreDropped) {  // RFC 5722
  World world;
  const std::vector<Octets> one =
      Udp(std::string(3000, 'a')).to("198.51.100.17:9").fragments(1480, 3);
  const std::vector<Octets> other =
      Udp(std::string(3000, 'b')).to("198.51.100.17:9").fragments(1472, 3);
  world.guest_sends_frame(one[0]);
  world.guest_sends_frame(other[1]);
  world.guest_sends_frame(one[1]);
  world.guest_sends_frame(one[2]);
  EXPECT_EQ(world.sockets.open_count(), 0U);
  EXPECT_GE(world.drops(Drop::kFragmentOverlap), 1U);
}

TEST(LinkIcmpErrors, AreLimitedToAHundredASecond) {  // RFC 4443 section 2.4 f
  World world;
  for (int i = 0; i < 1000; ++i) {
    world.guest_sends(Udp().to(Endpoint{.address = gateway_address(Family::kIpv4), .port = 9}));
  }
  EXPECT_EQ(world.tap.frames.size(), 50U);
  EXPECT_EQ(world.drops(Drop::kIcmpRate), 950U);
  world.tap.frames.clear();
  world.advance(1s);
  for (int i = 0; i < 1000; ++i) {
    world.guest_sends(Udp().to(Endpoint{.address = gateway_address(Family::kIpv4), .port = 9}));
  }
  EXPECT_EQ(world.tap.frames.size(), 50U);
}

TEST(LinkIcmpErrors, OfDenialsAreLimitedToo) {
  World world({.deny = {"198.51.100.66"}});
  for (std::uint16_t i = 0; i < 1000; ++i) {
    world.guest_sends(Udp().from_port(1000 + i).to("198.51.100.66:9"));
  }
  EXPECT_LE(world.tap.frames.size(), 50U);
}

TEST(LinkGarbage, OfEveryLengthIsSurvived) {
  World world;
  FakeEntropy entropy(7);
  for (std::size_t size = 0; size < 200; ++size) {
    for (int i = 0; i < 20; ++i) {
      Octets frame(size);
      for (std::uint8_t& octet : frame) octet = static_cast<std::uint8_t>(entropy.next());
      world.guest_sends_frame(frame);
      // The same behind a header that gets in.
      Octets inside = Ping().to("198.51.100.17").frame();
      inside.resize(14);
      inside.push_back(i % 2 == 0 ? 0x45 : 0x60);
      if (i % 2 == 1) inside[12] = 0x86, inside[13] = 0xdd;
      inside.insert(inside.end(), frame.begin(), frame.end());
      world.guest_sends_frame(inside);
    }
  }
  EXPECT_EQ(world.sockets.open_count(), 0U);
}

}  // namespace
}  // namespace cordon::world
