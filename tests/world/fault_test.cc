// Each call to the host fails once, at each of its turns, with each errno: a whole life goes on
// around it. Nothing that was begun is left behind, nothing is used after its end, and what comes
// afterwards works. (libslirp's CVE-2017-13711 was a pointer kept over such an error.)
#include <cerrno>

#include <gtest/gtest.h>

#include "tests/world/dns.h"
#include "tests/world/world.h"

namespace cordon::world {
namespace {

constexpr int kErrors[] = {ECONNREFUSED, ECONNRESET,    ENETUNREACH,  EHOSTUNREACH, EACCES,
                           EPERM,        ETIMEDOUT,     EMFILE,       ENFILE,       ENOBUFS,
                           ENOMEM,       EADDRNOTAVAIL, EAFNOSUPPORT, EMSGSIZE,     EAGAIN,
                           EINTR,        EINPROGRESS,   ENETDOWN,     ENODEV,       EINVAL,
                           EPIPE,        EADDRINUSE,    ECONNABORTED};

// The last socket of that kind, if one was opened and is still there.
std::optional<SocketHandle> alive(World& world, OwnerKind kind) {
  if (world.sockets.opened(kind) == 0) return std::nullopt;
  const SocketHandle handle = world.sockets.last(kind).handle;
  if (!world.sockets.is_open(handle)) return std::nullopt;
  return handle;
}

void tell_outcome(World& world, OwnerKind kind) {
  for (int i = 0; i < 3; ++i) {
    if (const auto socket = alive(world, kind)) {
      world.sockets.at(*socket, "outcome").dial_result = 0;
      world.is_ready(*socket, Readiness{.is_writable = true});
    }
    world.advance(20ms);
  }
}

void live(World& world) {
  world.guest_sends(Syn().to("198.51.100.17:80"));
  tell_outcome(world, OwnerKind::kTcpHost);
  if (const auto host = alive(world, OwnerKind::kTcpHost)) world.arrives(*host, 100);
  if (const auto guest = alive(world, OwnerKind::kTcpGuest)) world.fin_arrives(*guest);
  if (const auto host = alive(world, OwnerKind::kTcpHost)) world.fin_arrives(*host);

  world.guest_sends(Syn().to("[2001:db8::17]:53"));
  tell_outcome(world, OwnerKind::kTcpHost);

  world.client_connects("198.51.100.200:5000");
  tell_outcome(world, OwnerKind::kTcpGuest);
  world.client_connects("[2001:db8::200]:5000");
  tell_outcome(world, OwnerKind::kTcpGuest);

  for (int i = 0; i < 3; ++i) world.guest_sends(Udp("x").to("198.51.100.17:4000"));
  if (const auto udp = alive(world, OwnerKind::kUdp)) {
    world.datagram_arrives(*udp, "198.51.100.17:4000", "y");
  }
  for (int i = 0; i < 3; ++i) world.guest_sends(Ping().to("2001:db8::17"));
  world.guest_sends(Udp().to("198.51.100.9:53").payload(dns_query(1, "example.org")));
  world.datagram_arrives(world.published_udp(0), "198.51.100.200:9", "q");
  world.guest_sends(Udp("a").from_port(53530).to("198.51.100.200:9"));
  world.advance(2s);
}

class HostFault : public testing::TestWithParam<int> {};

TEST_P(HostFault, AtEveryTurnWithEveryErrnoLeavesNothingBehind) {
  const Call call = static_cast<Call>(GetParam());
  int turns = 0;
  {
    World world({.published_tcp = {80}, .published_udp = {53530}});
    world.script.set_chaos([&](Call called) {
      if (called == call) ++turns;
      return 0;
    });
    live(world);
  }
  EXPECT_GE(turns, 1);
  for (const int error : kErrors) {
    for (int faulty = 0; faulty < turns; ++faulty) {
      SCOPED_TRACE(testing::Message() << "errno " << error << " at turn " << faulty);
      World world({.published_tcp = {80}, .published_udp = {53530}});
      int turn = 0;
      world.script.set_chaos(
          [&](Call called) { return called == call && turn++ == faulty ? error : 0; });
      live(world);
      world.expect_sound();
      world.script.set_chaos({});
      world.tap.frames.clear();
      world.guest_connects("198.51.100.99:443", 45000);
      EXPECT_EQ(world.guest.adoptions.back().remote, endpoint("198.51.100.99:443"));
      world.advance(25h);
      EXPECT_EQ(world.translator.flows(), 0U);
      EXPECT_EQ(world.flow_sockets(), 0U);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Calls, HostFault, testing::Range(0, kCalls));

TEST(TapFault, ThatLastsFiveSecondsLosesNoConnection) {
  World world;
  world.guest_connects("198.51.100.17:80");
  const SocketHandle host = world.host_socket().handle;
  const SocketHandle guest = world.guest_socket().handle;
  world.tap.answer = TapSend::kFull;
  for (int i = 0; i < 50; ++i) {
    world.arrives(host, 1000);
    world.guest_sends(
        Syn().from_port(static_cast<std::uint16_t>(41000 + i)).to("198.51.100.18:80"));
    world.dial_succeeds();
    world.advance(100ms);
  }
  EXPECT_EQ(world.sockets.was(guest).written, 50000U);
  EXPECT_EQ(world.drops(Drop::kTapFull), 50U);
  world.tap.answer = TapSend::kSent;
  // The SYN-ACK that was lost is sent again when the guest asks.
  world.guest_sends(Syn().from_port(41000).to("198.51.100.18:80"));
  (void)world.expect_syn_ack();
  EXPECT_EQ(world.host.dialled.size(), 51U);
}

}  // namespace
}  // namespace cordon::world
