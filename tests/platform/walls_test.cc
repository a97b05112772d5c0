// Namespaces, filters and signals that the sandbox leans on.
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <linux/landlock.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <seccomp.h>

#include "tests/platform/support.h"

namespace cordon::platform {
namespace {

/// Runs `body` in a child; its return value is the child's exit status. 128 + N where a signal
/// ended it.
int in_child(const std::function<int()>& body, unsigned long namespaces = 0) {
  const pid_t child = static_cast<pid_t>(syscall(
      SYS_clone, namespaces | static_cast<unsigned long>(SIGCHLD), nullptr, nullptr, nullptr, 0));
  if (child == 0) {
    _exit(body());
  }
  EXPECT_GT(child, 0) << std::strerror(errno);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool write_file(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) {
    return false;
  }
  const bool is_written = write(fd, text, std::strlen(text)) > 0;
  close(fd);
  return is_written;
}

bool enter_user_namespace() {
  return unshare(CLONE_NEWUSER) == 0 && write_file("/proc/self/setgroups", "deny") &&
         write_file("/proc/self/uid_map", "0 0 1") && write_file("/proc/self/gid_map", "0 0 1");
}

/// Loads a filter that allows everything but the one rule that `add` makes.
bool load_filter(const std::function<int(scmp_filter_ctx)>& add) {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  const bool is_loaded = filter != nullptr && add(filter) == 0 && seccomp_load(filter) == 0;
  seccomp_release(filter);
  return is_loaded;
}

TEST(Namespaces, NobodyComesBackToTheNetworkThatWasLeft) {
  EXPECT_EQ(setns(origin_network_namespace(), CLONE_NEWNET), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST(Namespaces, AThreadMayLiveInAnotherNetworkAndItsSocketsWorkFromThisOne) {
  UniqueFd listener;
  std::thread elsewhere([&] {
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    command("ip link set lo up");
    listener = open_socket(AF_INET, SOCK_STREAM);
    const Address local("127.0.0.1", 4711);
    ASSERT_EQ(bind(listener.get(), local.data(), local.size), 0);
    ASSERT_EQ(listen(listener.get(), 1), 0);
    const UniqueFd client = open_socket(AF_INET, SOCK_STREAM);
    ASSERT_EQ(connect(client.get(), local.data(), local.size), 0);
  });
  elsewhere.join();
  EXPECT_TRUE(wait_for(listener.get(), POLLIN, 2000));
  const UniqueFd here = open_socket(AF_INET, SOCK_STREAM);
  const Address local("127.0.0.1", 4711);
  EXPECT_EQ(connect(here.get(), local.data(), local.size), -1)
      << "that listener is not in this network";
}

TEST(Namespaces, MaxUserNamespacesOfZeroSticks) {
  const int status = in_child([] {
    if (!enter_user_namespace()) {
      return 1;
    }
    if (!write_file("/proc/sys/user/max_user_namespaces", "0")) {
      return 2;
    }
    if (unshare(CLONE_NEWUSER) != -1 || errno != ENOSPC) {
      return 3;
    }
    return 0;
  });
  EXPECT_EQ(status, 0);
}

TEST(Namespaces, TheInnerNamespaceCannotRaiseTheLimitOfTheOuterOne) {
  const int status = in_child([] {
    std::array<int, 2> gate{};
    if (!enter_user_namespace() || pipe2(gate.data(), O_CLOEXEC) != 0) {
      return 1;
    }
    const pid_t inner = fork();
    if (inner == 0) {
      char octet = 0;
      close(gate[1]);
      const bool is_inside = enter_user_namespace() && read(gate[0], &octet, 1) == 0;
      write_file("/proc/sys/user/max_user_namespaces", "100");
      _exit(is_inside && unshare(CLONE_NEWUSER) == -1 && errno == ENOSPC ? 0 : 1);
    }
    usleep(50'000);  // until the inner one has its namespace; the gate says when to go on
    const bool is_shut = write_file("/proc/sys/user/max_user_namespaces", "0");
    close(gate[1]);
    int inner_status = 1;
    waitpid(inner, &inner_status, 0);
    return is_shut && inner_status == 0 ? 0 : 2;
  });
  EXPECT_EQ(status, 0);
}

TEST(Namespaces, FirstProcessIgnoresSignalsThatItDoesNotHandle) {
  const int status = in_child(
      [] {
        kill(getpid(), SIGTERM);
        kill(getpid(), SIGINT);
        return getpid() == 1 ? 7 : 1;
      },
      CLONE_NEWPID);
  EXPECT_EQ(status, 7);
}

TEST(Filter, MaskedComparisonAlsoSeesTheHighBits) {
  const int status = in_child([] {
    const bool is_loaded = load_filter([](scmp_filter_ctx filter) {
      return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                              SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffU, TIOCSTI));
    });
    if (!is_loaded) {
      return 1;
    }
    char letter = 'x';
    if (syscall(SYS_ioctl, 0, static_cast<unsigned long>(TIOCSTI), &letter) != -1 ||
        errno != EPERM) {
      return 2;
    }
    const unsigned long high = static_cast<unsigned long>(TIOCSTI) | 1UL << 32;
    return syscall(SYS_ioctl, 0, high, &letter) == -1 && errno == EPERM ? 0 : 3;
  });
  EXPECT_EQ(status, 0);
}

TEST(Filter, ThreadsWorkWithoutClone3) {
  const int status = in_child([] {
    const bool is_loaded = load_filter([](scmp_filter_ctx filter) {
      return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    });
    int answer = 0;
    std::thread([&] { answer = 42; }).join();
    return is_loaded && answer == 42 ? 0 : 1;
  });
  EXPECT_EQ(status, 0);
}

TEST(Filter, CoversThreadsThatAlreadyRun) {
  const int status = in_child([] {
    std::array<int, 2> gate{};
    if (pipe(gate.data()) != 0) {
      return 1;
    }
    int error = 0;
    std::thread early([&] {
      char octet = 0;
      if (read(gate[0], &octet, 1) == 1 && syscall(SYS_getppid) == -1) {
        error = errno;
      }
    });
    const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    const bool is_loaded =
        seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOTSUP), SCMP_SYS(getppid), 0) == 0 &&
        seccomp_load(filter) == 0;
    seccomp_release(filter);
    const bool is_told = write(gate[1], "x", 1) == 1;
    early.join();
    return is_loaded && is_told && error == ENOTSUP ? 0 : 2;
  });
  EXPECT_EQ(status, 0);
}

TEST(Landlock, IsThere) {
  const long abi =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  EXPECT_GE(abi, 1) << std::strerror(errno);
}

TEST(Pipes, AreWidenedUpToTheLimitOfAnUnprivilegedUser) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  EXPECT_GE(fcntl(write_end.get(), F_SETPIPE_SZ, 256 * 1024), 256 * 1024);
}

class Ping : public NetworkTest {};

TEST_F(Ping, SocketsObeyThePingGroupRange) {
  // A fresh network namespace allows nobody.
  EXPECT_EQ(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP), -1);
  EXPECT_EQ(errno, EACCES);
  set_sysctl("net.ipv4.ping_group_range", "0 0");
  EXPECT_TRUE(open_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP).is_open());
  EXPECT_TRUE(open_socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6).is_open());
}

TEST_F(Ping, SocketsChooseTheirOwnIdentifier) {
  set_sysctl("net.ipv4.ping_group_range", "0 0");
  const UniqueFd fd = open_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
  const Address remote("127.0.0.1", 0);
  icmphdr echo{};
  echo.type = ICMP_ECHO;
  echo.un.echo.id = htons(7);
  echo.un.echo.sequence = htons(9);
  ASSERT_EQ(sendto(fd.get(), &echo, sizeof echo, 0, remote.data(), remote.size),
            static_cast<ssize_t>(sizeof echo));
  icmphdr reply{};
  ASSERT_TRUE(wait_for(fd.get(), POLLIN, 2000));
  ASSERT_EQ(recv(fd.get(), &reply, sizeof reply, 0), static_cast<ssize_t>(sizeof reply));
  EXPECT_EQ(reply.type, ICMP_ECHOREPLY);
  EXPECT_EQ(reply.un.echo.sequence, htons(9)) << "the sequence number stays";
  EXPECT_NE(reply.un.echo.id, htons(7)) << "the identifier is the kernel's, a port of its own";
}

}  // namespace
}  // namespace cordon::platform
