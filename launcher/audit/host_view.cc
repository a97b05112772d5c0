#include "launcher/audit/host_view.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <ifaddrs.h>
#include <memory>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/audit/hexadecimal.h"
#include "launcher/audit/socket_address.h"
#include "launcher/control/control_folder.h"
#include "launcher/text_file.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon::audit {
namespace {

using InterfaceList = std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)>;

InterfaceList list_interfaces() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) list = nullptr;
  return {list, &::freeifaddrs};
}

std::optional<IpAddress> address_of(const sockaddr* address) {
  if (address == nullptr) return std::nullopt;
  sockaddr_storage storage{};
  if (address->sa_family == AF_INET) std::memcpy(&storage, address, sizeof(sockaddr_in));
  if (address->sa_family == AF_INET6) std::memcpy(&storage, address, sizeof(sockaddr_in6));
  const auto endpoint = endpoint_of(storage);
  if (!endpoint) return std::nullopt;
  return endpoint->address;
}

unsigned count_bits(const IpAddress& mask) {
  unsigned bits = 0;
  for (const std::uint8_t octet : mask.octets()) {
    bits += static_cast<unsigned>(__builtin_popcount(octet));
  }
  return bits;
}

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto begin = text.find_first_not_of(separators);
    if (begin == std::string_view::npos) return parts;
    text.remove_prefix(begin);
    const auto end = std::min(text.find_first_of(separators), text.size());
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

void add_unless_known(std::vector<IpAddress>& list, const IpAddress& address) {
  if (address.is_unspecified()) return;
  if (std::find(list.begin(), list.end(), address) == list.end()) list.push_back(address);
}

struct Place {
  Leak leak;
  std::string_view path;
  bool is_below_runtime_directory;
};

constexpr auto kPlaces = std::to_array<Place>({
    {Leak::kDaemonSockets, "/run/docker.sock", false},
    {Leak::kDaemonSockets, "/run/podman/podman.sock", false},
    {Leak::kDaemonSockets, "podman/podman.sock", true},
    {Leak::kDaemonSockets, "docker.sock", true},
    {Leak::kDaemonSockets, "/run/containerd/containerd.sock", false},
    {Leak::kDaemonSockets, "/run/crio/crio.sock", false},
    {Leak::kDaemonSockets, "/run/buildkit/buildkitd.sock", false},
    {Leak::kDaemonSockets, "/run/libvirt/libvirt-sock", false},
    {Leak::kDaemonSockets, "/var/lib/incus/unix.socket", false},
    {Leak::kDaemonSockets, "/var/snap/lxd/common/lxd/unix.socket", false},
    {Leak::kDaemonSockets, "/run/snapd.socket", false},
    {Leak::kDaemonSockets, "/run/systemd/private", false},
    {Leak::kDaemonSockets, "systemd/private", true},
    {Leak::kDaemonSockets, "/run/dbus/system_bus_socket", false},
    {Leak::kNameServices, "/run/nscd/socket", false},
    {Leak::kNameServices, "/run/systemd/resolve/io.systemd.Resolve", false},
    {Leak::kNameServices, "/run/avahi-daemon/socket", false},
    {Leak::kDesktopSockets, "bus", true},
    {Leak::kDesktopSockets, "wayland-0", true},
    {Leak::kDesktopSockets, "pipewire-0", true},
    {Leak::kDesktopSockets, "gnupg/S.gpg-agent", true},
    {Leak::kDesktopSockets, "keyring/control", true},
    {Leak::kDesktopSockets, "/tmp/.X11-unix/X0", false},
    {Leak::kDesktopSockets, "@/tmp/.X11-unix/X0", false},
});

const char* environment(const char* name) {
  const char* const value = ::getenv(name);  // NOLINT(concurrency-mt-unsafe): one thread
  return value != nullptr && *value != '\0' ? value : nullptr;
}

std::vector<KnownSocket> sockets_of_environment() {
  std::vector<KnownSocket> sockets;
  if (const char* const agent = environment("SSH_AUTH_SOCK")) {
    sockets.push_back({Leak::kDesktopSockets, agent});
  }
  constexpr std::string_view kUnixPath = "unix:path=";
  if (const char* const bus = environment("DBUS_SESSION_BUS_ADDRESS")) {
    std::string_view path = bus;
    if (path.starts_with(kUnixPath)) {
      path.remove_prefix(kUnixPath.size());
      sockets.push_back({Leak::kDesktopSockets, std::string(path.substr(0, path.find(',')))});
    }
  }
  constexpr std::string_view kUnixScheme = "unix://";
  if (const char* const docker = environment("DOCKER_HOST")) {
    const std::string_view address = docker;
    if (address.starts_with(kUnixScheme)) {
      sockets.push_back({Leak::kDaemonSockets, std::string(address.substr(kUnixScheme.size()))});
    }
  }
  return sockets;
}

}  // namespace

Result<std::vector<InterfaceAddress>> read_addresses() {
  const InterfaceList list = list_interfaces();
  if (!list) return errno_error("list the host's addresses");
  std::vector<InterfaceAddress> addresses;
  for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
    const auto address = address_of(entry->ifa_addr);
    if (!address || (entry->ifa_flags & IFF_UP) == 0) continue;
    const auto mask = address_of(entry->ifa_netmask);
    const unsigned length = mask ? count_bits(*mask) : address->bits();
    InterfaceAddress found{.interface = entry->ifa_name,
                           .index = ::if_nametoindex(entry->ifa_name),
                           .prefix = Prefix(*address, length),
                           .address = *address,
                           .broadcast = std::nullopt};
    if ((entry->ifa_flags & IFF_BROADCAST) != 0 && address->is_v4()) {
      found.broadcast = address_of(entry->ifa_broadaddr);
    }
    addresses.push_back(std::move(found));
  }
  return addresses;
}

std::vector<unsigned> outward_interfaces() {
  std::vector<unsigned> indices;
  const InterfaceList list = list_interfaces();
  for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
    if ((entry->ifa_flags & IFF_UP) == 0 || (entry->ifa_flags & IFF_LOOPBACK) != 0) continue;
    const unsigned index = ::if_nametoindex(entry->ifa_name);
    if (std::find(indices.begin(), indices.end(), index) == indices.end()) indices.push_back(index);
  }
  return indices;
}

Leak leak_of_address(const IpAddress& address) {
  if (address.is_loopback()) return address.is_v4() ? Leak::kLoopbackV4 : Leak::kLoopbackV6;
  if (address.is_link_local()) return Leak::kHostLinkLocal;
  return address.is_v4() ? Leak::kHostAddressV4 : Leak::kHostAddressV6;
}

std::vector<IpAddress> parse_gateways_v4(std::string_view text) {
  std::vector<IpAddress> gateways;
  for (const std::string_view line : split(text, "\n")) {
    const auto words = split(line, " \t");
    if (words.size() < 3) continue;
    // Written as the host's own integer, over octets in network order.
    const auto number = parse_hexadecimal(words[2]);
    if (!number) continue;
    std::array<std::uint8_t, 4> octets{};
    std::memcpy(octets.data(), &*number, octets.size());
    add_unless_known(gateways, IpAddress::v4(octets));
  }
  return gateways;
}

std::vector<IpAddress> parse_gateways_v6(std::string_view text) {
  std::vector<IpAddress> gateways;
  for (const std::string_view line : split(text, "\n")) {
    const auto words = split(line, " \t");
    if (words.size() < 5 || words[4].size() != 32) continue;
    std::array<std::uint8_t, 16> octets{};
    bool is_good = true;
    for (std::size_t i = 0; i < octets.size(); ++i) {
      const auto octet = parse_hexadecimal(words[4].substr(i * 2, 2));
      is_good = is_good && octet;
      octets[i] = static_cast<std::uint8_t>(octet.value_or(0));
    }
    if (is_good) add_unless_known(gateways, IpAddress::v6(octets));
  }
  return gateways;
}

std::vector<IpAddress> read_gateways() {
  auto gateways = parse_gateways_v4(read_text_file("/proc/self/net/route"));
  const auto v6 = parse_gateways_v6(read_text_file("/proc/self/net/ipv6_route"));
  gateways.insert(gateways.end(), v6.begin(), v6.end());
  return gateways;
}

std::optional<IpAddress> unused_neighbour(const Prefix& prefix, std::uint64_t salt,
                                          const std::vector<IpAddress>& known) {
  constexpr unsigned kLongestV4 = 29;
  constexpr unsigned kLongestV6 = 96;
  constexpr std::uint64_t kAttempts = 64;
  const bool is_v4 = prefix.address().is_v4();
  if (prefix.length() > (is_v4 ? kLongestV4 : kLongestV6)) return std::nullopt;
  for (std::uint64_t attempt = 0; attempt < kAttempts; ++attempt) {
    std::array<std::uint8_t, 16> octets{};
    const Bytes network = prefix.address().octets();
    std::copy(network.begin(), network.end(), octets.begin());
    std::uint64_t bits = salt + attempt;
    for (unsigned bit = prefix.address().bits(); bit-- > prefix.length(); bits >>= 1) {
      const auto mask = static_cast<std::uint8_t>(0x80U >> (bit % 8));
      if ((bits & 1) != 0) octets[bit / 8] = static_cast<std::uint8_t>(octets[bit / 8] | mask);
    }
    const IpAddress candidate = IpAddress::from_octets(Bytes(octets).first(network.size()));
    const bool is_broadcast = is_v4 && (~candidate.v4_number() << prefix.length()) == 0;
    const bool is_taken = candidate == prefix.address() || is_broadcast ||
                          std::find(known.begin(), known.end(), candidate) != known.end();
    if (!is_taken) return candidate;
  }
  return std::nullopt;
}

std::vector<IpAddress> read_known_neighbours() {
  std::vector<IpAddress> known;
  const std::string table = read_text_file("/proc/self/net/arp");
  for (const std::string_view line : split(table, "\n")) {
    const auto words = split(line, " ");
    if (words.empty()) continue;
    if (const auto address = IpAddress::parse(words[0])) known.push_back(*address);
  }
  return known;
}

std::uint64_t network_namespace_inode() {
  struct stat status {};
  return ::stat("/proc/self/ns/net", &status) == 0 ? status.st_ino : 0;
}

Result<std::string> control_folder() {
  return ControlFolder::path_for(environment("XDG_RUNTIME_DIR"), ::geteuid());
}

int try_unix_socket(std::string_view path) {
  sockaddr_un address{.sun_family = AF_UNIX};
  if (path.empty() || path.size() >= sizeof(address.sun_path)) return ENAMETOOLONG;
  std::copy(path.begin(), path.end(), std::begin(address.sun_path));
  const bool is_abstract = path.starts_with('@');
  if (is_abstract) address.sun_path[0] = '\0';
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (is_abstract ? 0 : 1));
  int code = 0;
  // A service that takes packets refuses streams with EPROTOTYPE.
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM}) {
    const UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket.is_open()) return errno;
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0) return 0;
    code = errno;
    if (code != EPROTOTYPE) break;
  }
  // A full queue of connections: it is there, and may be reached.
  return code == EAGAIN ? 0 : code;
}

std::vector<KnownSocket> answering_sockets() {
  std::vector<KnownSocket> candidates = sockets_of_environment();
  const char* const runtime = environment("XDG_RUNTIME_DIR");
  for (const Place& place : kPlaces) {
    if (!place.is_below_runtime_directory) {
      candidates.push_back({place.leak, std::string(place.path)});
    } else if (runtime != nullptr) {
      candidates.push_back({place.leak, fmt::format("{}/{}", runtime, place.path)});
    }
  }
  std::vector<KnownSocket> answering;
  for (const KnownSocket& candidate : candidates) {
    const bool is_known =
        std::find(answering.begin(), answering.end(), candidate) != answering.end();
    if (!is_known && try_unix_socket(candidate.path) == 0) answering.push_back(candidate);
  }
  return answering;
}

std::vector<IpAddress> wrapped_forms(const IpAddress& v4) {
  const Bytes inner = v4.octets();
  const auto with = [&inner](std::array<std::uint8_t, 16> octets, std::size_t at) {
    std::copy(inner.begin(), inner.end(), octets.begin() + static_cast<std::ptrdiff_t>(at));
    return IpAddress::v6(octets);
  };
  // Teredo carries the client's address with its bits turned over (RFC 4380 section 4).
  std::array<std::uint8_t, 16> teredo{0x20, 0x01, 0, 0};
  for (std::size_t i = 0; i < inner.size(); ++i) {
    teredo[12 + i] = static_cast<std::uint8_t>(~inner[i]);
  }
  return {with({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 12), with({}, 12),
          with({0x00, 0x64, 0xff, 0x9b}, 12), with({0x20, 0x02}, 2), IpAddress::v6(teredo)};
}

}  // namespace cordon::audit
