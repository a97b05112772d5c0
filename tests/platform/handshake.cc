#include "tests/platform/handshake.h"

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <linux/if_ether.h>
#include <linux/tcp.h>
#include <poll.h>
#include <span>
#include <unistd.h>
#include <vector>

namespace cordon::platform {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kEthernet = 14;
constexpr std::uint8_t kFlagSyn = 0x02;
constexpr std::uint8_t kFlagAck = 0x10;
constexpr int kOptionMss = 2;
constexpr int kOptionWindowScale = 3;
constexpr int kOptionSackPermitted = 4;
constexpr int kOptionTimestamps = 8;
constexpr int kScale = 7;  // offered by Linux by default is 7 as well; the peer's is not read

std::uint16_t load16(const Bytes& bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

std::uint32_t load32(const Bytes& bytes, std::size_t at) {
  return static_cast<std::uint32_t>(load16(bytes, at)) << 16 | load16(bytes, at + 2);
}

void put16(Bytes& bytes, std::uint32_t value) {
  bytes.push_back(static_cast<std::uint8_t>(value >> 8));
  bytes.push_back(static_cast<std::uint8_t>(value));
}

void put32(Bytes& bytes, std::uint32_t value) {
  put16(bytes, value >> 16);
  put16(bytes, value & 0xffff);
}

/// RFC 1071.
std::uint16_t checksum(const Bytes& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    sum += static_cast<std::uint32_t>(bytes[at]) << (at % 2 == 0 ? 8 : 0);
  }
  while (sum > 0xffff) {
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(~sum);
}

Bytes address_bytes(const Address& address) {
  if (address.family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address.data());
    const auto* first = reinterpret_cast<const std::uint8_t*>(&v4->sin_addr);
    return {first, first + sizeof v4->sin_addr};
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address.data());
  return {std::begin(v6->sin6_addr.s6_addr), std::end(v6->sin6_addr.s6_addr)};
}

std::uint16_t port_of(const Address& address) {
  // The port lies at the same place in both families.
  return ntohs(reinterpret_cast<const sockaddr_in*>(address.data())->sin_port);
}

std::optional<Bytes> next_frame(int tap, int milliseconds) {
  if (!wait_for(tap, POLLIN, milliseconds)) {
    return std::nullopt;
  }
  Bytes frame(65536);
  const ssize_t length = read(tap, frame.data(), frame.size());
  if (length <= 0) {
    return std::nullopt;
  }
  frame.resize(static_cast<std::size_t>(length));
  return frame;
}

/// Where the TCP header starts, or 0 where this is no TCP frame without extension headers.
std::size_t tcp_offset(const Bytes& frame) {
  if (frame.size() < kEthernet + 40) {
    return 0;
  }
  if (load16(frame, 12) == ETH_P_IP && frame[kEthernet + 9] == IPPROTO_TCP) {
    return kEthernet + (frame[kEthernet] & 0x0fU) * 4U;
  }
  return load16(frame, 12) == ETH_P_IPV6 && frame[kEthernet + 6] == IPPROTO_TCP ? kEthernet + 40
                                                                                : 0;
}

std::string address_text(const Bytes& frame, std::size_t at, int family) {
  std::array<char, INET6_ADDRSTRLEN> name{};
  inet_ntop(family, &frame[at], name.data(), name.size());
  return name.data();
}

std::uint32_t timestamp_option(const Bytes& frame, std::size_t tcp) {
  const std::size_t end = tcp + static_cast<std::size_t>(frame[tcp + 12] >> 4) * 4;
  for (std::size_t at = tcp + 20; at + 1 < end;) {
    if (frame[at] == kOptionTimestamps) {
      return load32(frame, at + 2);
    }
    at += frame[at] <= 1 ? 1 : frame[at + 1];
  }
  return 0;
}

Bytes syn_ack_segment(const Syn& syn) {
  Bytes segment;
  put16(segment, port_of(syn.remote));
  put16(segment, port_of(syn.guest));
  put32(segment, kInitialSequence);
  put32(segment, syn.sequence + 1);
  segment.push_back(10 << 4);
  segment.push_back(kFlagSyn | kFlagAck);
  put16(segment, 65535);
  put32(segment, 0);           // checksum, urgent pointer
  put32(segment, 0x020405b4);  // MSS 1460
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  put16(segment, 0x0402);  // SACK permitted
  put16(segment,
        0x080a);  // timestamps: CLOCK_MONOTONIC in ms is what an adopted socket goes on with
  put32(segment, static_cast<std::uint32_t>(now.tv_sec * 1000 + now.tv_nsec / 1'000'000));
  put32(segment, syn.timestamp);
  put32(segment, 0x01030300 | kScale);
  return segment;
}

}  // namespace

UniqueFd make_guest_link() {
  UniqueFd tap = open_tap("eth0");
  command("ip link set eth0 address 02:00:00:00:00:02 group 7 up");
  for (const Link& link : {kLink4, kLink6}) {
    const std::string ip = "ip " + link.option + " ";
    command(ip + "address add " + link.guest_with_length + " dev eth0" +
            (link.option == "-6" ? " nodad" : ""));
    command(ip + "neighbour add " + link.gateway + " lladdr 02:00:00:00:00:01 dev eth0");
    command(ip + "route add default via " + link.gateway);
  }
  return tap;
}

void steer() {
  for (const std::string family : {"-4", "-6"}) {
    const std::string rule = "ip " + family + " rule add fwmark 0x10000000/0x10000000 ";
    command(rule + "pref 32000 lookup main suppress_ifgroup 7");
    command(rule + "pref 32001 lookup 100");
    command("ip " + family + " route add local default dev eth0 table 100");
  }
  set_sysctl("net.ipv4.tcp_fwmark_accept", "1");
  command(
      "nft 'table inet cordon {\n chain out {\n type route hook output priority 2000\n"
      "oifname != \"lo\" tcp flags & (syn|ack) != syn meta mark set meta mark | 0x10000000\n}\n}'");
}

std::optional<Syn> next_syn(int tap) {
  for (int attempts = 0; attempts < 50; ++attempts) {
    const std::optional<Bytes> frame = next_frame(tap, 2000);
    if (!frame) {
      return std::nullopt;
    }
    const std::size_t tcp = tcp_offset(*frame);
    if (tcp == 0 || frame->at(tcp + 13) != kFlagSyn) {
      continue;
    }
    const bool is_v4 = load16(*frame, 12) == ETH_P_IP;
    const int family = is_v4 ? AF_INET : AF_INET6;
    const std::size_t source = kEthernet + (is_v4 ? 12 : 8);
    const std::size_t destination = source + (is_v4 ? 4 : 16);
    return Syn{
        .guest = Address(address_text(*frame, source, family), load16(*frame, tcp)),
        .remote = Address(address_text(*frame, destination, family), load16(*frame, tcp + 2)),
        .sequence = load32(*frame, tcp + 4),
        .window = load16(*frame, tcp + 14),
        .timestamp = timestamp_option(*frame, tcp)};
  }
  return std::nullopt;
}

int tcp_frames(int tap, int milliseconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  int count = 0;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return count;
    }
    const std::optional<Bytes> frame = next_frame(tap, static_cast<int>(left.count()));
    count += frame && tcp_offset(*frame) != 0 ? 1 : 0;
  }
}

UniqueFd adopt(const Syn& syn) {
  const bool is_v4 = syn.guest.family() == AF_INET;
  UniqueFd socket = open_socket(syn.guest.family(), SOCK_STREAM);
  const int fd = socket.get();
  if (is_v4) {
    set_option(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
  } else {
    set_option(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
  }
  set_option(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
  set_option(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
  set_option(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, static_cast<int>(kInitialSequence + 1));
  set_option(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
  set_option(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, static_cast<int>(syn.sequence + 1));
  EXPECT_EQ(bind(fd, syn.remote.data(), syn.remote.size), 0) << std::strerror(errno);
  EXPECT_EQ(connect(fd, syn.guest.data(), syn.guest.size), 0) << std::strerror(errno);
  const std::array<tcp_repair_opt, 4> options{{{kOptionMss, 1460},
                                               {kOptionWindowScale, kScale | kScale << 16},
                                               {kOptionSackPermitted, 0},
                                               {kOptionTimestamps, 0}}};
  EXPECT_EQ(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options.data(), sizeof options), 0)
      << std::strerror(errno);
  const tcp_repair_window window{.snd_wl1 = syn.sequence,
                                 .snd_wnd = syn.window,
                                 .max_window = syn.window,
                                 .rcv_wnd = 65535,
                                 .rcv_wup = syn.sequence + 1};
  EXPECT_EQ(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, sizeof window), 0)
      << std::strerror(errno);
  set_option(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
  return socket;
}

void write_syn_ack(int tap, const Syn& syn) {
  Bytes segment = syn_ack_segment(syn);
  const Bytes source = address_bytes(syn.remote);
  const Bytes destination = address_bytes(syn.guest);
  Bytes summed = source;
  summed.insert(summed.end(), destination.begin(), destination.end());
  put32(summed, static_cast<std::uint32_t>(segment.size()));
  put32(summed, IPPROTO_TCP);
  summed.insert(summed.end(), segment.begin(), segment.end());
  const std::uint16_t sum = checksum(summed);
  segment[16] = static_cast<std::uint8_t>(sum >> 8);
  segment[17] = static_cast<std::uint8_t>(sum);

  const bool is_v4 = syn.guest.family() == AF_INET;
  Bytes header;
  if (is_v4) {
    put32(header, 0x45000000U | static_cast<std::uint32_t>(20 + segment.size()));
    put32(header, 0x00004000);  // don't fragment
    put32(header, 0x40060000);  // hop limit 64, TCP
  } else {
    put32(header, 0x60000000);
    put16(header, static_cast<std::uint32_t>(segment.size()));
    put16(header, 0x0640);
  }
  header.insert(header.end(), source.begin(), source.end());
  header.insert(header.end(), destination.begin(), destination.end());
  if (is_v4) {
    const std::uint16_t header_sum = checksum(header);
    header[10] = static_cast<std::uint8_t>(header_sum >> 8);
    header[11] = static_cast<std::uint8_t>(header_sum);
  }
  Bytes frame{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
  put16(frame, is_v4 ? ETH_P_IP : ETH_P_IPV6);
  frame.insert(frame.end(), header.begin(), header.end());
  frame.insert(frame.end(), segment.begin(), segment.end());
  EXPECT_EQ(write(tap, frame.data(), frame.size()), static_cast<ssize_t>(frame.size()))
      << std::strerror(errno);
}

}  // namespace cordon::platform
