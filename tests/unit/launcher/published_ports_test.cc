#include "launcher/published_ports.h"

#include <cerrno>
#include <netinet/in.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

namespace cordon {
namespace {

struct Row {
  const char* text;
  Protocol protocol;
  const char* bind;
  std::uint16_t guest_port;
};

TEST(ParsePublish, TakesAddressPortsAndProtocol) {
  const Row rows[] = {
      {"8080:80", Protocol::kTcp, "127.0.0.1:8080", 80},
      {"8080:80/tcp", Protocol::kTcp, "127.0.0.1:8080", 80},
      {"5353:53/udp", Protocol::kUdp, "127.0.0.1:5353", 53},
      {"0.0.0.0:8080:80", Protocol::kTcp, "0.0.0.0:8080", 80},
      {"198.51.100.7:1:65535", Protocol::kTcp, "198.51.100.7:1", 65535},
      {"[::1]:8080:80", Protocol::kTcp, "[::1]:8080", 80},
      {"[2001:db8::1]:53:53/udp", Protocol::kUdp, "[2001:db8::1]:53", 53},
      {"[::]:8080:80", Protocol::kTcp, "[::]:8080", 80},
      {"[fe80::1%eth0]:8080:80", Protocol::kTcp, "[fe80::1]:8080", 80},
  };
  for (const Row& row : rows) {
    const auto spec = parse_publish(row.text);
    ASSERT_TRUE(spec) << row.text << ": " << spec.error().message();
    EXPECT_EQ(spec->protocol, row.protocol) << row.text;
    EXPECT_EQ(spec->bind.to_string(), row.bind);
    EXPECT_EQ(spec->guest_port, row.guest_port) << row.text;
    EXPECT_EQ(spec->text, row.text);
  }
}

TEST(ParsePublish, TakesWhoMayCome) {
  const auto spec = parse_publish("0.0.0.0:8080:80/tcp,from=198.51.100.0/24,from=198.51.101.7");
  ASSERT_TRUE(spec) << spec.error().message();
  ASSERT_EQ(spec->sources.size(), 2U);
  EXPECT_EQ(spec->sources[0].to_string(), "198.51.100.0/24");
  EXPECT_EQ(spec->sources[1].to_string(), "198.51.101.7/32");
  EXPECT_EQ(spec->guest_port, 80);
  const auto v6 = parse_publish("[fe80::1%eth0]:53:53/udp,from=fe80::/10");
  ASSERT_TRUE(v6) << v6.error().message();
  EXPECT_EQ(v6->protocol, Protocol::kUdp);
  EXPECT_EQ(v6->sources.size(), 1U);
}

TEST(ParsePublish, SaysWhatIsWrongWithWhoMayCome) {
  const std::pair<const char*, const char*> rows[] = {
      {"8080:80,from=", "'' is no address and no prefix"},
      {"8080:80,from=198.51.100.1/24", "'198.51.100.1/24' is no address and no prefix"},
      {"8080:80,from=here.example", "'here.example' is no address"},
      {"8080:80,from=2001:db8::/32", "no client from 2001:db8::/32 can come to 127.0.0.1"},
      {"8080:80,for=198.51.100.0/24", "'for=198.51.100.0/24' says nothing about a port"},
      {"8080:80,", "'' says nothing about a port"},
      {"8080:80,from=198.51.100.0/24/udp", "is no address and no prefix"},
  };
  for (const auto& [text, words] : rows) {
    const auto spec = parse_publish(text);
    ASSERT_FALSE(spec) << text;
    EXPECT_NE(spec.error().message().find(words), std::string::npos) << spec.error().message();
  }
}

TEST(ParsePublish, RefusesWhatIsMalformed) {
  for (const char* text : {"",
                           ":",
                           "80",
                           "0:80",
                           "80:0",
                           "65536:80",
                           "80:65536",
                           "80:80:80",
                           "a:b",
                           "8080:80/sctp",
                           "8080:80/",
                           "8080:80/udp/tcp",
                           "::1:8080:80",
                           "[::1]8080:80",
                           "[::1:8080:80",
                           "[127.0.0.1]:8080:80",
                           "[]:8080:80",
                           "1.2.3:8080:80",
                           " 8080:80",
                           "8080:80 ",
                           "+80:80",
                           "-1:80",
                           "8080:",
                           ":80",
                           "localhost:8080:80",
                           "224.0.0.1:80:80",
                           "[ff02::1]:80:80",
                           "[::1%lo]:80:80",
                           "[fe80::1]:80:80",
                           "[fe80::1%]:80:80",
                           "[%eth0]:80:80",
                           "0x50:80"}) {
    EXPECT_FALSE(parse_publish(text)) << text;
  }
}

PublishSpec spec_of(const std::string& text) {
  auto spec = parse_publish(text);
  EXPECT_TRUE(spec);
  return spec.value_or(PublishSpec{});
}

/// A port that is free at this moment.
std::uint16_t free_port() {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

TEST(BindPublished, ListensWhereItWasTold) {
  const std::string port = std::to_string(free_port());
  const auto sockets = bind_published({spec_of(port + ":80"), spec_of(port + ":53/udp")});
  ASSERT_TRUE(sockets) << sockets.error().message();
  ASSERT_EQ(sockets->size(), 2U);
  int is_listening = 0;
  socklen_t size = sizeof(is_listening);
  ASSERT_EQ(
      ::getsockopt((*sockets)[0].socket.get(), SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size), 0);
  EXPECT_EQ(is_listening, 1);
  EXPECT_EQ((*sockets)[0].guest_port, 80);
  int tells_address = 0;
  ASSERT_EQ(::getsockopt((*sockets)[1].socket.get(), IPPROTO_IP, IP_PKTINFO, &tells_address, &size),
            0);
  EXPECT_EQ(tells_address, 1);
}

TEST(BindPublished, APortThatIsTakenIsNamedWithTheRemedy) {
  const std::string port = std::to_string(free_port());
  const auto first = bind_published({spec_of(port + ":80")});
  ASSERT_TRUE(first);
  const auto second = bind_published({spec_of(port + ":81")});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message(),
            "--publish " + port + ":81: 127.0.0.1:" + port +
                ": Address already in use (choose another host port, or stop what listens there)");
}

TEST(BindPublished, AnAddressThatTheHostHasNotIsNamed) {
  const auto sockets = bind_published({spec_of("198.51.100.77:8080:80")});
  ASSERT_FALSE(sockets);
  EXPECT_NE(sockets.error().message().find("198.51.100.77:8080"), std::string::npos);
  EXPECT_NE(sockets.error().message().find("no interface of this host has that address"),
            std::string::npos);
}

}  // namespace
}  // namespace cordon
