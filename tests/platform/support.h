// What the platform tests share: a tap, sockets by plain text addresses, the ip and nft programs.
// The whole executable runs in a user and network namespace of its own (main.cc), so a test may
// change whatever it likes; it puts things back for the next one by NetworkTest's TearDown.
#pragma once

#include <cstdint>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <vector>

#include <gtest/gtest.h>

#include "netstack/host/descriptor/unique_fd.h"

namespace cordon::platform {

/// An IPv4 or IPv6 address with a port, as the socket calls want it.
struct Address {
  Address(const std::string& text, std::uint16_t port);
  Address() = default;

  [[nodiscard]] const sockaddr* data() const {
    return reinterpret_cast<const sockaddr*>(&storage);  // NOLINT: what the socket calls take
  }
  [[nodiscard]] sockaddr* data() { return reinterpret_cast<sockaddr*>(&storage); }  // NOLINT
  [[nodiscard]] int family() const { return storage.ss_family; }
  /// "198.51.100.17:80", "[2001:db8::1]:80".
  [[nodiscard]] std::string text() const;

  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
};

Address own_address(int socket);
Address peer_address(int socket);

/// Runs `line` by the shell; a failure fails the test.
void command(const std::string& line);
/// The first line that `line` prints.
std::string output_of(const std::string& line);
/// Writes a sysctl of this network namespace, "net.ipv4.ip_forward".
void set_sysctl(const std::string& name, const std::string& value);

/// A tap device of this namespace without packet information; flags are added to IFF_TAP |
/// IFF_NO_PI.
UniqueFd open_tap(const std::string& name, int flags = 0);
UniqueFd open_socket(int family, int type, int protocol = 0);
void set_option(int socket, int level, int name, int value);
/// Waits until `events` show on fd; false after `milliseconds`.
bool wait_for(int fd, short events, int milliseconds);
/// Sends all of `bytes`, and reads exactly `size` within two seconds.
void send_text(int socket, const std::string& text);
std::string receive_text(int socket, std::size_t size);

/// The network namespace in which the tests were started, opened before they left it (main.cc).
int origin_network_namespace();

/// Each test has an empty network namespace of its own, with lo up.
class NetworkTest : public ::testing::Test {
 protected:
  void SetUp() override;
};

}  // namespace cordon::platform
