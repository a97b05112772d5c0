// Sockets below and beside TCP and UDP: echo, raw, packet, vsock; and what is sent to many at once.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <linux/if_ether.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

// Of some versions it needs the socket headers before it.
#include <linux/vm_sockets.h>

#include <fmt/format.h>

#include "launcher/audit/host_view.h"
#include "launcher/audit/icmp_filter.h"
#include "launcher/audit/prober.h"
#include "launcher/audit/socket_address.h"
#include "launcher/clock.h"
#include "netstack/host/descriptor/unique_fd.h"
#include "netstack/wire/checksum.h"
#include "netstack/wire/endian.h"
#include "netstack/wire/ip.h"

namespace cordon::audit {
namespace {

// The longest that an attempt with raw packets may take.
constexpr int kPacketMilliseconds = 3000;
constexpr int kEchoMilliseconds = 300;
constexpr int kListenMilliseconds = 300;

/// Whether something whose text has `wanted` in it arrives in time.
bool hears(const UniqueFd& socket, std::string_view wanted, int milliseconds) {
  const std::int64_t end = monotonic_milliseconds_now() + milliseconds;
  for (;;) {
    const std::int64_t left = end - monotonic_milliseconds_now();
    pollfd wait{.fd = socket.get(), .events = POLLIN};
    if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left)) <= 0) return false;
    std::array<char, 2048> buffer;
    const ssize_t size = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size < 0 && errno != EAGAIN) return false;
    const std::string_view text(buffer.data(),
                                static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    if (text.find(wanted) != std::string_view::npos) return true;
  }
}

bool is_own(const IpAddress& address) {
  const auto own = read_addresses();
  return own && std::any_of(own->begin(), own->end(), [&address](const InterfaceAddress& entry) {
           return entry.address == address;
         });
}

struct EchoSocket {
  UniqueFd fd;
  bool is_raw = false;
};

/// A ping socket; where this group may have none, a raw one.
EchoSocket open_echo_socket(Family family) {
  const bool is_v4 = family == Family::kIpv4;
  const int domain = is_v4 ? AF_INET : AF_INET6;
  const int protocol = is_v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
  EchoSocket echo{UniqueFd(::socket(domain, SOCK_DGRAM | SOCK_CLOEXEC, protocol))};
  if (echo.fd.is_open()) return echo;
  const int code = errno;
  echo = {UniqueFd(::socket(domain, SOCK_RAW | SOCK_CLOEXEC, protocol)), true};
  if (!echo.fd.is_open() || !hear_only(echo.fd, family, EchoKind::kReply)) {
    echo.fd.reset();
    errno = code;
  }
  return echo;
}

/// The kernel does the checksum, but for IPv4 over a raw socket.
std::string echo_request(bool is_v4, bool is_raw, const std::string& token) {
  std::string packet(8, '\0');
  packet[0] = static_cast<char>(is_v4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST);
  packet += token;
  if (!is_v4 || !is_raw) return packet;
  const Bytes octets(reinterpret_cast<const std::uint8_t*>(packet.data()), packet.size());
  const std::uint16_t checksum = checksum_of(checksum_sum(octets));
  packet[2] = static_cast<char>(checksum >> 8);
  packet[3] = static_cast<char>(checksum & 255);
  return packet;
}

void ping(const ProbePlan& plan, const Teller& teller, const IpAddress& address) {
  const Leak leak = Leak::kEcho;
  const std::string name = address.to_string();
  if (is_own(address) && network_namespace_inode() != plan.network_namespace) {
    return teller.report(leak, Outcome::kRefused, name + ": the sandbox has this address itself");
  }
  const auto [socket, is_raw] = open_echo_socket(address.family());
  if (!socket.is_open()) return teller.refused(leak, "ping socket", errno);
  const std::string token = write_token(plan.nonce, {leak, fmt::format("ping {}", name)});
  const std::string packet = echo_request(address.is_v4(), is_raw, token);
  const bool needs_zone = address.is_link_local() && address.is_v6();
  const auto zones = needs_zone ? outward_interfaces() : std::vector<unsigned>{0};
  if (zones.empty()) return teller.report(leak, Outcome::kRefused, "no interface but lo");
  for (const unsigned zone : zones) {
    const SocketAddress to = socket_address({address, 0}, zone);
    if (::sendto(socket.get(), packet.data(), packet.size(), MSG_DONTWAIT, to.get(), to.size) < 0) {
      teller.refused(leak, name, errno);
      continue;
    }
    if (hears(socket, token, kEchoMilliseconds)) {
      return teller.report(leak, Outcome::kObtained, name + " answered");
    }
    teller.report(leak, Outcome::kSilent, name);
  }
}

void send_experimental(const ProbePlan& plan, const IpAddress& address) {
  const int domain = family_of(address);
  const UniqueFd socket(::socket(domain, SOCK_RAW | SOCK_CLOEXEC, kExperimentalProtocol));
  const std::string token = write_token(
      plan.nonce, {Leak::kRawPackets, fmt::format("IP protocol {} to {}", kExperimentalProtocol,
                                                  address.to_string())});
  const SocketAddress to = socket_address({address, 0});
  (void)::sendto(socket.get(), token.data(), token.size(), MSG_DONTWAIT, to.get(), to.size);
}

void send_forged(const ProbePlan& plan, const Endpoint& server) {
  const UniqueFd socket(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!socket.is_open()) return;
  const std::string token = write_token(
      plan.nonce,
      {Leak::kRawPackets, fmt::format("udp {} with a forged source", server.to_string())});
  struct Udp {
    Be16 source;
    Be16 destination;
    Be16 size;
    Be16 checksum;  // none (RFC 768)
  };
  std::array<std::uint8_t, 512> packet{};
  const std::size_t size = sizeof(Udp) + token.size();
  const IpHeaderFields header{.source = kForgedSource, .destination = server.address};
  const Udp udp{Be16(9), Be16(server.port), Be16(static_cast<std::uint16_t>(size)), Be16(0)};
  const MutableBytes rest = MutableBytes(packet).subspan(kIpv4HeaderSize);
  if (!write_ip_header(packet, header, size) || !store(rest, udp)) return;
  std::copy(token.begin(), token.end(), rest.begin() + sizeof(Udp));
  const SocketAddress to = socket_address(server);
  (void)::sendto(socket.get(), packet.data(), kIpv4HeaderSize + size, MSG_DONTWAIT, to.get(),
                 to.size);
}

void send_raw_packets(const ProbePlan& plan, const Teller& teller) {
  for (const IpAddress& address : plan.host_addresses) {
    if (!address.is_link_local()) send_experimental(plan, address);
  }
  for (const Target& target : plan.targets) {
    const bool is_host = target.leak == Leak::kHostAddressV4 || target.leak == Leak::kLoopbackV4;
    if (is_host && target.transport == Transport::kUdp) send_forged(plan, target.at);
  }
  teller.report(Leak::kRawPackets, Outcome::kSent, "packets of IP protocol 253 and forged UDP");
}

void probe_raw_sockets(const ProbePlan& plan, const Teller& teller) {
  const Leak leak = Leak::kRawSockets;
  in_child(teller, leak, kPacketMilliseconds, [&] {
    bool is_open = false;
    for (const int family : {AF_INET, AF_INET6}) {
      const char* const name = family == AF_INET ? "AF_INET, SOCK_RAW" : "AF_INET6, SOCK_RAW";
      const UniqueFd socket(::socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
      if (!socket.is_open()) {
        teller.refused(leak, name, errno);
        continue;
      }
      is_open = true;
      teller.report(leak, Outcome::kObtained, fmt::format("{} can be opened", name));
    }
    if (is_open) return send_raw_packets(plan, teller);
    teller.report(Leak::kRawPackets, Outcome::kRefused, "no raw socket");
  });
}

void probe_packet_sockets(const ProbePlan& plan, const Teller& teller) {
  const Leak leak = Leak::kPacketSockets;
  in_child(teller, leak, kPacketMilliseconds, [&] {
    const UniqueFd socket(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ALL)));
    if (!socket.is_open()) return teller.refused(leak, "AF_PACKET", errno);
    if (hears(socket, lo_mark(plan.nonce), kListenMilliseconds)) {
      return teller.report(leak, Outcome::kObtained, "read a marked datagram of the host's lo");
    }
    teller.report(leak, Outcome::kSent, "AF_PACKET opens, and shows nothing of the host's");
  });
}

void probe_vsock(const ProbePlan& plan, const Teller& teller) {
  const Leak leak = Leak::kVsock;
  in_child(teller, leak, kPacketMilliseconds, [&] {
    const UniqueFd socket(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket.is_open()) return teller.refused(leak, "AF_VSOCK", errno);
    teller.report(leak, Outcome::kObtained, "a socket of AF_VSOCK can be opened");
    if (plan.vsock_port == 0) return;
    const sockaddr_vm address{
        .svm_family = AF_VSOCK, .svm_port = plan.vsock_port, .svm_cid = VMADDR_CID_LOCAL};
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
        0) {
      return;
    }
    const std::string token = write_token(plan.nonce, {leak, "AF_VSOCK"});
    (void)::send(socket.get(), token.data(), token.size(), MSG_NOSIGNAL);
  });
}

std::string group_message(const ProbePlan& plan, const DiscoveryGroup& group) {
  constexpr std::uint16_t kTypeA = 1;
  const std::string label = made_up_label(plan.nonce, group.leak);
  if (group.leak == Leak::kMdns) return dns_query(label + ".local", kTypeA, 0);
  if (group.leak == Leak::kLlmnr) return dns_query(label, kTypeA, 1);
  return write_token(plan.nonce, {group.leak, fmt::format("a datagram to {}", group.address)});
}

void send_to_group(const ProbePlan& plan, const Teller& teller, const DiscoveryGroup& group) {
  const auto address = *IpAddress::parse(group.address);
  const UniqueFd socket(::socket(family_of(address), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return teller.refused(group.leak, std::string(group.address), errno);
  const std::string message = group_message(plan, group);
  const SocketAddress to = socket_address({address, group.port});
  const auto interfaces = outward_interfaces();
  if (interfaces.empty()) {
    return teller.report(group.leak, Outcome::kRefused, "no interface but lo");
  }
  for (const unsigned interface : interfaces) {
    const ip_mreqn choice{.imr_ifindex = static_cast<int>(interface)};
    const bool is_chosen =
        address.is_v4()
            ? ::setsockopt(socket.get(), IPPROTO_IP, IP_MULTICAST_IF, &choice, sizeof(choice)) == 0
            : ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_MULTICAST_IF, &interface,
                           sizeof(interface)) == 0;
    if (!is_chosen || ::sendto(socket.get(), message.data(), message.size(), MSG_DONTWAIT, to.get(),
                               to.size) < 0) {
      teller.refused(group.leak, std::string(group.address), errno);
    } else {
      teller.report(group.leak, Outcome::kSent, std::string(group.address));
    }
  }
}

void send_broadcast(const ProbePlan& plan, const Teller& teller, const Endpoint& to) {
  constexpr std::uint16_t kNetBiosNames = 137;
  const Leak leak = to.port == kNetBiosNames ? Leak::kNbns : Leak::kBroadcast;
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return teller.refused(leak, to.to_string(), errno);
  const int on = 1;
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
  const std::string token =
      write_token(plan.nonce, {leak, fmt::format("a datagram to {}", to.to_string())});
  const SocketAddress address = socket_address(to);
  if (::sendto(socket.get(), token.data(), token.size(), MSG_DONTWAIT, address.get(),
               address.size) < 0) {
    return teller.refused(leak, to.to_string(), errno);
  }
  teller.report(leak, Outcome::kSent, to.to_string());
}

}  // namespace

void probe_packets(const ProbePlan& plan, const Teller& teller) {
  for (const DiscoveryGroup& group : kDiscoveryGroups) send_to_group(plan, teller, group);
  for (const Endpoint& broadcast : plan.broadcasts) send_broadcast(plan, teller, broadcast);
  probe_raw_sockets(plan, teller);
  probe_packet_sockets(plan, teller);
  probe_vsock(plan, teller);
  for (const IpAddress& address : plan.host_addresses) ping(plan, teller, address);
}

}  // namespace cordon::audit
