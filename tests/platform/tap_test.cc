// What a tap device says in each state (reliability.md §5.5, §8.1).
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <thread>
#include <unistd.h>

#include "tests/platform/support.h"

namespace cordon::platform {
namespace {

class Tap : public NetworkTest {};

ssize_t write_frame(int tap, std::size_t size) {
  std::array<std::uint8_t, 64> frame{};
  frame.fill(0);
  frame[0] = 0x02;
  frame[12] = 0x08;
  return write(tap, frame.data(), size);
}

TEST_F(Tap, WriteWhileTheDeviceIsDownIsEio) {
  const UniqueFd tap = open_tap("tap0");
  EXPECT_EQ(write_frame(tap.get(), 60), -1);
  EXPECT_EQ(errno, EIO);
}

TEST_F(Tap, WriteAfterTheDeviceWasDeletedIsEbadfd) {
  const UniqueFd tap = open_tap("tap0");
  command("ip link set tap0 up && ip link del tap0");
  EXPECT_EQ(write_frame(tap.get(), 60), -1);
  EXPECT_EQ(errno, EBADFD);
}

TEST_F(Tap, WriteOfLessThanAHeaderIsEinval) {
  const UniqueFd tap = open_tap("tap0");
  command("ip link set tap0 up");
  EXPECT_EQ(write_frame(tap.get(), 13), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(write_frame(tap.get(), 60), 60);
}

TEST_F(Tap, ReadWithNothingThereIsEagain) {
  set_sysctl("net.ipv6.conf.default.disable_ipv6", "1");
  const UniqueFd tap = open_tap("tap0");
  command("ip link set tap0 up");
  set_sysctl("net.ipv6.conf.default.disable_ipv6", "0");
  std::array<char, 2048> frame{};
  EXPECT_EQ(read(tap.get(), frame.data(), frame.size()), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(Tap, TakesTheVirtioHeaderAndAllOffloads) {
  const UniqueFd tap = open_tap("tap0", IFF_VNET_HDR);
  constexpr unsigned kUso4 = 0x20;  // linux/if_tun.h has them since 6.2
  constexpr unsigned kUso6 = 0x40;
  EXPECT_EQ(ioctl(tap.get(), TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6), 0);
  // Older kernels refuse segmentation of datagrams: then it is done without.
  const int answer =
      ioctl(tap.get(), TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | kUso4 | kUso6);
  EXPECT_TRUE(answer == 0 || errno == EINVAL);
}

TEST_F(Tap, FramesAreReadFromAnotherNetworkNamespace) {
  const UniqueFd tap = open_tap("tap0");
  command("ip link set tap0 up && ip address add 10.0.2.15/24 dev tap0");
  bool has_frame = false;
  std::thread elsewhere([&] {
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    has_frame = wait_for(tap.get(), POLLIN, 2000);
  });
  elsewhere.join();
  EXPECT_TRUE(has_frame) << "neighbour discovery or router solicitation should have come";
}

TEST_F(Tap, DescriptorKeepsTheNamespaceAlive) {
  UniqueFd tap;
  std::thread maker([&] {
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    tap = open_tap("tap0");
    const UniqueFd control = open_socket(AF_INET, SOCK_DGRAM);
    ifreq request{};
    std::string("tap0").copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    ASSERT_EQ(ioctl(control.get(), SIOCSIFFLAGS, &request), 0);
  });
  maker.join();
  // Long enough for the kernel's clean-up of a namespace that nobody holds.
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(write_frame(tap.get(), 60), 60);
}

}  // namespace
}  // namespace cordon::platform
