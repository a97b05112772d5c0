#include "tests/platform/support.h"

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <memory>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace cordon::platform {

Address::Address(const std::string& text, std::uint16_t port) {
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    size = sizeof *v4;
  } else {
    EXPECT_EQ(inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr), 1) << text;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    size = sizeof *v6;
  }
}

std::string Address::text() const {
  std::array<char, INET6_ADDRSTRLEN> name{};
  if (storage.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
    inet_ntop(AF_INET, &v4->sin_addr, name.data(), name.size());
    return std::string(name.data()) + ":" + std::to_string(ntohs(v4->sin_port));
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
  inet_ntop(AF_INET6, &v6->sin6_addr, name.data(), name.size());
  return "[" + std::string(name.data()) + "]:" + std::to_string(ntohs(v6->sin6_port));
}

Address own_address(int socket) {
  Address address;
  EXPECT_EQ(getsockname(socket, address.data(), &address.size), 0) << std::strerror(errno);
  return address;
}

Address peer_address(int socket) {
  Address address;
  EXPECT_EQ(getpeername(socket, address.data(), &address.size), 0) << std::strerror(errno);
  return address;
}

void command(const std::string& line) { ASSERT_EQ(std::system(line.c_str()), 0) << line; }

std::string output_of(const std::string& line) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(line.c_str(), "re"), pclose);
  std::array<char, 512> text{};
  if (pipe == nullptr || std::fgets(text.data(), text.size(), pipe.get()) == nullptr) {
    return "";
  }
  return text.data();
}

void set_sysctl(const std::string& name, const std::string& value) {
  std::string path = "/proc/sys/" + name;
  for (char& letter : path) {
    letter = letter == '.' ? '/' : letter;
  }
  std::ofstream file(path);
  file << value << std::flush;
  ASSERT_TRUE(file.good()) << path << " = " << value;
}

UniqueFd open_tap(const std::string& name, int flags) {
  UniqueFd tap(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  EXPECT_TRUE(tap.is_open()) << "/dev/net/tun: " << std::strerror(errno);
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | flags);
  EXPECT_EQ(ioctl(tap.get(), TUNSETIFF, &request), 0) << std::strerror(errno);
  return tap;
}

UniqueFd open_socket(int family, int type, int protocol) {
  UniqueFd fd(socket(family, type | SOCK_CLOEXEC, protocol));
  EXPECT_TRUE(fd.is_open()) << std::strerror(errno);
  return fd;
}

void set_option(int socket, int level, int name, int value) {
  EXPECT_EQ(setsockopt(socket, level, name, &value, sizeof value), 0)
      << "level " << level << " option " << name << ": " << std::strerror(errno);
}

bool wait_for(int fd, short events, int milliseconds) {
  pollfd entry{fd, events, 0};
  return poll(&entry, 1, milliseconds) == 1;
}

void send_text(int socket, const std::string& text) {
  EXPECT_EQ(send(socket, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()))
      << std::strerror(errno);
}

std::string receive_text(int socket, std::size_t size) {
  std::string text;
  std::array<char, 4096> buffer{};
  while (text.size() < size && wait_for(socket, POLLIN, 2000)) {
    const ssize_t length = recv(socket, buffer.data(), buffer.size(), 0);
    if (length <= 0) {
      break;
    }
    text.append(buffer.data(), static_cast<std::size_t>(length));
  }
  return text;
}

void NetworkTest::SetUp() {
  ASSERT_EQ(unshare(CLONE_NEWNET), 0) << std::strerror(errno);
  command("ip link set lo up");
}

}  // namespace cordon::platform
