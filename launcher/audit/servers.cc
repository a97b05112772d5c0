#include "launcher/audit/servers.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

// Of some versions it needs the socket headers before it.
#include <linux/vm_sockets.h>

#include <fmt/format.h>

#include "launcher/audit/icmp_filter.h"
#include "launcher/audit/socket_address.h"

namespace cordon::audit {
namespace {

constexpr int kBacklog = 64;
// A prober makes some hundred connections; anybody else's are not waited for.
constexpr std::size_t kMostServers = 1024;
constexpr std::size_t kLongestStream = 4096;
constexpr int kPairAttempts = 16;

struct SocketKind {
  int type;
  int protocol;
};

SocketKind socket_kind(Transport transport) {
  switch (transport) {
    case Transport::kTcp:
      return {SOCK_STREAM, IPPROTO_TCP};
    case Transport::kUdp:
      return {SOCK_DGRAM, IPPROTO_UDP};
    case Transport::kUdpLite:
      return {SOCK_DGRAM, IPPROTO_UDPLITE};
    case Transport::kSctp:
      return {SOCK_STREAM, IPPROTO_SCTP};
  }
  return {SOCK_STREAM, 0};
}

Status set_option(const UniqueFd& socket, int level, int option, int value) {
  if (::setsockopt(socket.get(), level, option, &value, sizeof(value)) == 0) return {};
  return errno_error("socket option");
}

Result<Endpoint> own_endpoint(const UniqueFd& socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    return errno_error("getsockname");
  }
  return endpoint_of(storage).value_or(Endpoint{});
}

Result<UniqueFd> open_socket(int family, int type, int protocol) {
  UniqueFd socket(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  if (!socket.is_open()) return errno_error("socket");
  return socket;
}

Result<UniqueFd> bind_socket(Transport transport, const Endpoint& at, unsigned zone,
                             bool is_absent) {
  const auto [type, protocol] = socket_kind(transport);
  CORDON_TRY(UniqueFd socket, open_socket(family_of(at.address), type, protocol));
  if (at.address.is_v6()) CORDON_TRY_STATUS(set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, 1));
  if (is_absent) {
    CORDON_TRY_STATUS(at.address.is_v4() ? set_option(socket, IPPROTO_IP, IP_FREEBIND, 1)
                                         : set_option(socket, IPPROTO_IPV6, IPV6_FREEBIND, 1));
  }
  // Broadcasts reach only sockets that are bound to the wildcard or the broadcast address itself.
  const SocketAddress address = socket_address(at, zone);
  if (::bind(socket.get(), address.get(), address.size) != 0) return errno_error("bind");
  if (type == SOCK_STREAM && ::listen(socket.get(), kBacklog) != 0) return errno_error("listen");
  return socket;
}

Result<UniqueFd> open_raw_socket(Family family, int protocol) {
  return open_socket(family == Family::kIpv4 ? AF_INET : AF_INET6, SOCK_RAW, protocol);
}

Status join_group(const UniqueFd& socket, const IpAddress& group, unsigned interface) {
  int code = 0;
  if (group.is_v4()) {
    ip_mreqn request{};
    std::copy(group.octets().begin(), group.octets().end(),
              reinterpret_cast<std::uint8_t*>(&request.imr_multiaddr));
    request.imr_ifindex = static_cast<int>(interface);
    code = ::setsockopt(socket.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof(request));
  } else {
    ipv6_mreq request{};
    std::copy(group.octets().begin(), group.octets().end(),
              reinterpret_cast<std::uint8_t*>(&request.ipv6mr_multiaddr));
    request.ipv6mr_interface = interface;
    code = ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &request, sizeof(request));
  }
  return code == 0 ? Status() : errno_error(fmt::format("join {}", group.to_string()));
}

}  // namespace

Servers::~Servers() {
  for (const auto& [fd, server] : servers_) waiter_.remove(fd);
}

Result<std::uint16_t> Servers::open_pair(const IpAddress& address, unsigned zone) {
  Error last;
  for (int attempt = 0; attempt < kPairAttempts; ++attempt) {
    auto tcp = bind_socket(Transport::kTcp, {address, 0}, zone, false);
    if (!tcp) return std::unexpected(tcp.error());
    CORDON_TRY(const Endpoint at, own_endpoint(*tcp));
    auto udp = bind_socket(Transport::kUdp, {address, at.port}, zone, false);
    if (!udp) {
      last = udp.error();
      continue;
    }
    const std::string name = Endpoint{address, at.port}.to_string();
    add({.fd = *std::move(tcp), .kind = Kind::kListener, .name = name});
    add({.fd = *std::move(udp), .kind = Kind::kDatagram, .name = name});
    return at.port;
  }
  return std::unexpected(last);
}

Result<std::uint16_t> Servers::open_one(Transport transport, const Endpoint& at, unsigned zone,
                                        bool is_absent) {
  CORDON_TRY(UniqueFd socket, bind_socket(transport, at, zone, is_absent));
  CORDON_TRY(const Endpoint bound, own_endpoint(socket));
  const bool is_stream = socket_kind(transport).type == SOCK_STREAM;
  add({.fd = std::move(socket),
       .kind = is_stream ? Kind::kListener : Kind::kDatagram,
       .name = Endpoint{at.address, bound.port}.to_string()});
  return bound.port;
}

Status Servers::open_unix(const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX};
  if (path.size() >= sizeof(address.sun_path)) return errno_error(ENAMETOOLONG, path);
  std::copy(path.begin(), path.end(), std::begin(address.sun_path));
  const bool is_abstract = path.starts_with('@');
  if (is_abstract) address.sun_path[0] = '\0';
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (is_abstract ? 0 : 1));
  CORDON_TRY(UniqueFd socket, open_socket(AF_UNIX, SOCK_STREAM, 0));
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return errno_error(fmt::format("bind {}", path));
  }
  add({.fd = std::move(socket), .kind = Kind::kListener, .name = path});
  return {};
}

Status Servers::open_group(const Endpoint& group, const std::vector<unsigned>& interfaces) {
  CORDON_TRY(UniqueFd socket, open_socket(family_of(group.address), SOCK_DGRAM, 0));
  CORDON_TRY_STATUS(set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1));
  if (group.address.is_v6()) CORDON_TRY_STATUS(set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, 1));
  // A link-local group can be bound on one link only: there the port alone tells, and the token.
  const Endpoint at{group.address.is_v4() ? group.address : IpAddress::v6({}), group.port};
  const SocketAddress address = socket_address(at);
  if (::bind(socket.get(), address.get(), address.size) != 0) return errno_error("bind");
  bool is_member = false;
  Status last;
  for (const unsigned interface : interfaces) {
    Status joined = join_group(socket, group.address, interface);
    is_member = is_member || joined.has_value();
    if (!joined) last = std::move(joined);
  }
  if (!is_member) return last ? plain_error("no interface is up") : last;
  add({.fd = std::move(socket), .kind = Kind::kDatagram, .name = group.to_string()});
  return {};
}

Status Servers::open_echo(Family family) {
  const int protocol = family == Family::kIpv4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
  CORDON_TRY(UniqueFd socket, open_raw_socket(family, protocol));
  CORDON_TRY_STATUS(hear_only(socket, family, EchoKind::kRequest));
  add({.fd = std::move(socket), .kind = Kind::kRaw, .name = "the host", .only = Leak::kEcho});
  return {};
}

Status Servers::open_raw(Family family, int protocol) {
  CORDON_TRY(UniqueFd socket, open_raw_socket(family, protocol));
  add({.fd = std::move(socket), .kind = Kind::kRaw, .name = "the host", .only = Leak::kRawPackets});
  return {};
}

Result<std::uint16_t> Servers::open_vsock() {
  // Without the loopback a connection to oneself would be asked of the hypervisor.
  if (::access("/sys/module/vsock_loopback", F_OK) != 0) {
    return plain_error("the kernel's loopback of AF_VSOCK is not loaded");
  }
  CORDON_TRY(UniqueFd socket, open_socket(AF_VSOCK, SOCK_STREAM, 0));
  sockaddr_vm address{
      .svm_family = AF_VSOCK, .svm_port = VMADDR_PORT_ANY, .svm_cid = VMADDR_CID_LOCAL};
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(socket.get(), generic, size) != 0 || ::listen(socket.get(), kBacklog) != 0 ||
      ::getsockname(socket.get(), generic, &size) != 0) {
    return errno_error("bind AF_VSOCK");
  }
  add({.fd = std::move(socket), .kind = Kind::kListener, .name = "the host's AF_VSOCK"});
  return static_cast<std::uint16_t>(address.svm_port);
}

void Servers::adopt(UniqueFd socket, std::string name) {
  add({.fd = std::move(socket), .name = std::move(name)});
}

Result<UniqueFd> Servers::connect_to(const Endpoint& server) {
  UniqueFd socket(::socket(family_of(server.address), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return errno_error("socket");
  const SocketAddress address = socket_address(server);
  if (::connect(socket.get(), address.get(), address.size) != 0) return errno_error("connect");
  return socket;
}

void Servers::add(Server server) {
  const int number = server.fd.get();
  servers_[number] = std::move(server);
  waiter_.add(number, [this, number] { on_readable(number); });
}

void Servers::close(int fd) {
  waiter_.remove(fd);
  servers_.erase(fd);
}

void Servers::on_readable(int fd) {
  const auto found = servers_.find(fd);
  if (found == servers_.end()) return;
  switch (found->second.kind) {
    case Kind::kListener:
      return accept_one(found->second);
    case Kind::kStream:
      return read_stream(found->second);
    case Kind::kDatagram:
    case Kind::kRaw:
      return read_datagram(found->second);
  }
}

void Servers::accept_one(Server& listener) {
  sockaddr_storage peer{};
  socklen_t size = sizeof(peer);
  UniqueFd stream(::accept4(listener.fd.get(), reinterpret_cast<sockaddr*>(&peer), &size,
                            SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!stream.is_open() || servers_.size() >= kMostServers) return;
  const auto from = endpoint_of(peer).value_or(Endpoint{});
  add({.fd = std::move(stream), .name = listener.name, .peer = from.address});
}

void Servers::read_stream(Server& stream) {
  std::array<char, 1024> buffer;
  const ssize_t size = ::recv(stream.fd.get(), buffer.data(), buffer.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0 || stream.text.size() > kLongestStream) return close(stream.fd.get());
  stream.text.append(buffer.data(), static_cast<std::size_t>(size));
  if (!hear(stream.text, stream, stream.peer)) return;
  stream.text.clear();
  const std::string answer = write_answer(nonce_);
  // A peer that has gone already has been heard all the same.
  (void)::send(stream.fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void Servers::read_datagram(Server& socket) {
  std::array<char, 2048> buffer;
  sockaddr_storage peer{};
  socklen_t peer_size = sizeof(peer);
  const ssize_t size = ::recvfrom(socket.fd.get(), buffer.data(), buffer.size(), 0,
                                  reinterpret_cast<sockaddr*>(&peer), &peer_size);
  if (size <= 0) return;
  const IpAddress from = endpoint_of(peer).value_or(Endpoint{}).address;
  if (!hear({buffer.data(), static_cast<std::size_t>(size)}, socket, from)) return;
  if (socket.kind == Kind::kRaw) return;
  const std::string answer = write_answer(nonce_);
  (void)::sendto(socket.fd.get(), answer.data(), answer.size(), MSG_DONTWAIT,
                 reinterpret_cast<const sockaddr*>(&peer), peer_size);
}

bool Servers::hear(std::string_view text, const Server& server, const IpAddress& from) {
  const auto token = find_token(nonce_, text);
  if (!token || (server.only && *server.only != token->leak)) return false;
  // A translated source is no longer the forged one: then it came as any datagram comes.
  const bool is_raw_or_forged = server.kind == Kind::kRaw || from == kForgedSource;
  if (token->leak == Leak::kRawPackets && !is_raw_or_forged) return false;
  const std::string peer = from.is_unspecified() ? "" : fmt::format(" (from {})", from.to_string());
  evidence_.add(token->leak,
                {.words = fmt::format("{} reached {}{}", token->way, server.name, peer)});
  return true;
}

}  // namespace cordon::audit
