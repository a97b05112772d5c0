// The servers' half of the surroundings: which are opened, and what the prober is told to dial.
//
// A row of the host's own has a server at each of the host's addresses. Rows near the host have
// none: their targets go to the watch as well. Where a server cannot be opened the row is told why.
#include <algorithm>
#include <array>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include "launcher/audit/host_view.h"
#include "launcher/audit/surroundings.h"
#include "netstack/base/invariant.h"

namespace cordon::audit {
namespace {

constexpr std::size_t kMostPinged = 8;
constexpr std::size_t kMostWrapped = 4;
// In the range of RFC 6335 that nobody is assigned; nothing is there to be disturbed.
constexpr std::uint16_t kNeighbourPort = 49157;
constexpr std::array<std::uint16_t, 2> kNamePorts{53, 853};
// RFC 5737, RFC 3849: nobody has them, so what is sent there is lost behind the first router.
constexpr std::array<std::string_view, 2> kFarNameServers{"198.51.100.53", "2001:db8:53::53"};

constexpr std::array<std::string_view, 6> kMetadataAddresses{"169.254.169.254", "169.254.170.2",
                                                             "100.100.100.200", "168.63.129.16",
                                                             "192.0.0.192",     "fd00:ec2::254"};
constexpr std::array<std::string_view, 2> kLinkLocal{"169.254.0.0/16", "fe80::/64"};

bool needs_zone(const IpAddress& address) { return address.is_v6() && address.is_link_local(); }

}  // namespace

void Surroundings::remember_pair(Leak leak, const Endpoint& at) {
  plan_.targets.push_back({leak, Transport::kTcp, at});
  plan_.targets.push_back({leak, Transport::kUdp, at});
}

void Surroundings::open_host_servers(const std::vector<InterfaceAddress>& addresses) {
  for (const InterfaceAddress& entry : addresses) {
    const Leak leak = leak_of_address(entry.address);
    const auto port =
        servers_.open_pair(entry.address, needs_zone(entry.address) ? entry.index : 0);
    if (!port) {
      remarks_.push_back(
          fmt::format("{} was not tried: {}", entry.address.to_string(), port.error().message()));
      continue;
    }
    remember_pair(leak, {entry.address, *port});
    if (entry.address.is_loopback()) {
      plan_.loopback.push_back({entry.address, *port});
      const IpAddress unspecified = entry.address.is_v4() ? IpAddress() : IpAddress::v6({});
      remember_pair(Leak::kUnspecified, {unspecified, *port});
    } else if (plan_.host_addresses.size() < kMostPinged) {
      plan_.host_addresses.push_back(entry.address);
    }
  }
  for (const Leak leak : {Leak::kLoopbackV4, Leak::kLoopbackV6, Leak::kHostAddressV4,
                          Leak::kHostAddressV6, Leak::kHostLinkLocal}) {
    const bool is_there = std::any_of(plan_.targets.begin(), plan_.targets.end(),
                                      [leak](const Target& target) { return target.leak == leak; });
    if (!is_there) observations_.cannot[leak] = "the host has no such address";
  }
  if (plan_.host_addresses.empty()) {
    observations_.cannot[Leak::kEcho] = "the host has no address but loopback";
  }
}

void Surroundings::plan_wrapped_addresses() {
  std::vector<Target> wrapped;
  for (const Target& target : plan_.targets) {
    const bool is_wanted = target.leak == Leak::kLoopbackV4 || target.leak == Leak::kHostAddressV4;
    if (!is_wanted || wrapped.size() >= kMostWrapped * 2 * 5) continue;
    for (const IpAddress& form : wrapped_forms(target.at.address)) {
      wrapped.push_back({Leak::kWrapped, target.transport, {form, target.at.port}});
    }
  }
  plan_.targets.insert(plan_.targets.end(), wrapped.begin(), wrapped.end());
}

void Surroundings::open_published_port(const std::vector<InterfaceAddress>& addresses) {
  const auto v4 = servers_.open_pair(IpAddress(), 0);
  const auto v6 = servers_.open_pair(IpAddress::v6({}), 0);
  if (!v4) observations_.cannot[Leak::kPublishedPort] = v4.error().message();
  for (const InterfaceAddress& entry : addresses) {
    const auto& port = entry.address.is_v4() ? v4 : v6;
    if (port) remember_pair(Leak::kPublishedPort, {entry.address, *port});
  }
  if (!v4) return;
  // A broadcast reaches sockets on the wildcard address, and that is what these are.
  constexpr std::uint16_t kNetBiosNames = 137;
  std::vector<IpAddress> broadcasts{IpAddress::v4(0xffffffff)};
  for (const InterfaceAddress& entry : addresses) {
    if (entry.broadcast) broadcasts.push_back(*entry.broadcast);
  }
  for (const IpAddress& address : broadcasts) {
    plan_.broadcasts.push_back({address, *v4});
    plan_.broadcasts.push_back({address, kNetBiosNames});
  }
  const auto names = servers_.open_one(Transport::kUdp, {IpAddress(), kNetBiosNames}, 0);
  if (!names) {
    observations_.unheard[Leak::kNbns] =
        fmt::format("no listener on port 137: {}", names.error().message());
  }
}

void Surroundings::open_other_transports(const std::vector<InterfaceAddress>& addresses) {
  std::string missing;
  bool has_one = false;
  for (const Transport transport : {Transport::kUdpLite, Transport::kSctp}) {
    Error last;
    bool is_open = false;
    for (const InterfaceAddress& entry : addresses) {
      if (needs_zone(entry.address)) continue;
      const auto port = servers_.open_one(transport, {entry.address, 0}, 0);
      if (!port) {
        last = port.error();
        continue;
      }
      is_open = true;
      plan_.targets.push_back({Leak::kOtherTransports, transport, {entry.address, *port}});
    }
    has_one = has_one || is_open;
    if (!is_open) {
      missing += fmt::format("{} was not tried: {}", transport_word(transport), last.message());
    }
  }
  if (!has_one) observations_.cannot[Leak::kOtherTransports] = "the kernel has neither";
  if (has_one && !missing.empty()) remarks_.push_back(missing);
}

void Surroundings::open_name_servers(const std::vector<InterfaceAddress>& addresses) {
  for (const std::uint16_t port : kNamePorts) {
    const Leak leak = port == kNamePorts[0] ? Leak::kDnsServers : Leak::kDnsEncrypted;
    for (const InterfaceAddress& entry : addresses) {
      if (needs_zone(entry.address) || entry.address.is_loopback()) continue;
      for (const Transport transport : {Transport::kTcp, Transport::kUdp}) {
        const Target target{leak, transport, {entry.address, port}};
        if (servers_.open_one(transport, target.at, 0)) plan_.targets.push_back(target);
      }
    }
    for (const std::string_view far : kFarNameServers) {
      for (const Transport transport : {Transport::kTcp, Transport::kUdp}) {
        watched_.push_back({leak, transport, {*IpAddress::parse(far), port}});
      }
    }
  }
}

void Surroundings::open_groups() {
  const auto interfaces = outward_interfaces();
  for (const DiscoveryGroup& group : kDiscoveryGroups) {
    const auto joined =
        servers_.open_group({*IpAddress::parse(group.address), group.port}, interfaces);
    if (!joined) {
      observations_.unheard[group.leak] =
          fmt::format("no listener for {}: {}", group.address, joined.error().message());
    }
  }
}

void Surroundings::open_raw_sockets() {
  bool hears_raw = true;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    // Without it the answer to a ping is what tells.
    (void)servers_.open_echo(family);
    hears_raw = servers_.open_raw(family, kExperimentalProtocol).has_value() && hears_raw;
  }
  if (!hears_raw) {
    remarks_.emplace_back(
        "without CAP_NET_RAW packets of an unassigned IP protocol could not be heard");
  }
  if (const auto port = servers_.open_vsock()) plan_.vsock_port = *port;
}

void Surroundings::open_unix_sockets() {
  const std::string abstract = fmt::format("@cordon-audit-{}", plan_.nonce);
  if (const Status opened = servers_.open_unix(abstract); !opened) {
    observations_.cannot[Leak::kAbstractUnix] = opened.error().message();
  }
  plan_.unix_sockets.push_back({Leak::kAbstractUnix, abstract});

  if (const auto folder = control_folder()) {
    if (::mkdir(folder->c_str(), S_IRWXU) == 0) made_folder_ = *folder;
    const std::string path = fmt::format("{}/audit-{}", *folder, plan_.nonce);
    if (const Status opened = servers_.open_unix(path)) {
      control_socket_ = path;
      plan_.unix_sockets.push_back({Leak::kControlSocket, path});
    } else {
      observations_.cannot[Leak::kControlSocket] = opened.error().message();
    }
  } else {
    observations_.cannot[Leak::kControlSocket] = folder.error().message();
  }

  const auto others = answering_sockets();
  for (const Leak leak : {Leak::kDaemonSockets, Leak::kDesktopSockets, Leak::kNameServices}) {
    const bool is_there =
        std::any_of(others.begin(), others.end(),
                    [leak](const KnownSocket& known) { return known.leak == leak; });
    if (!is_there) observations_.cannot[leak] = "none of the known ones answers on this host";
  }
  plan_.unix_sockets.insert(plan_.unix_sockets.end(), others.begin(), others.end());
}

void Surroundings::plan_neighbours(const std::vector<InterfaceAddress>& addresses) {
  constexpr std::uint16_t kHttp = 80;
  const auto watch = [this](Leak leak, const IpAddress& address) {
    for (const Transport transport : {Transport::kTcp, Transport::kUdp}) {
      watched_.push_back({leak, transport, {address, kNeighbourPort}});
    }
  };
  for (const std::string_view text : kMetadataAddresses) {
    const IpAddress address = *IpAddress::parse(text);
    const bool is_own =
        std::any_of(addresses.begin(), addresses.end(),
                    [&address](const InterfaceAddress& entry) { return entry.address == address; });
    if (!is_own) watched_.push_back({Leak::kMetadata, Transport::kTcp, {address, kHttp}});
  }
  std::uint64_t salt = 0;
  CORDON_INVARIANT(::getrandom(&salt, sizeof(salt), 0) == ssize_t{sizeof(salt)});
  std::vector<IpAddress> known = read_known_neighbours();
  for (const InterfaceAddress& entry : addresses) known.push_back(entry.address);
  const auto watch_unused = [&](Leak leak, const Prefix& prefix) {
    const auto neighbour = unused_neighbour(prefix, salt, known);
    if (!neighbour) return false;
    watch(leak, *neighbour);
    unused_.push_back(*neighbour);
    return true;
  };
  for (const std::string_view text : kLinkLocal) {
    (void)watch_unused(Leak::kLinkLocal, *Prefix::parse(text));
  }
  bool has_neighbours = false;
  for (const IpAddress& gateway : read_gateways()) {
    if (gateway.is_link_local()) continue;
    has_neighbours = true;
    watch(Leak::kLan, gateway);
  }
  for (const InterfaceAddress& entry : addresses) {
    if (entry.address.is_loopback() || entry.address.is_link_local()) continue;
    has_neighbours = watch_unused(Leak::kLan, entry.prefix) || has_neighbours;
  }
  if (!has_neighbours) observations_.cannot[Leak::kLan] = "the host has no neighbours";
}

}  // namespace cordon::audit
