#include "launcher/host/subnet_choice.h"

#include <array>
#include <memory>
#include <net/if.h>

#include <fmt/format.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

namespace cordon {
namespace {

// Not the networks that routers, containers and VPNs give themselves by default (192.168.0-1,
// 172.17-31, 10.0, 10.8, 10.88, 10.0.2): a host that has no such network today may get it tomorrow.
constexpr std::array<std::array<std::uint8_t, 3>, 16> kCandidatesV4{{
    {10, 77, 0},
    {10, 177, 42},
    {172, 30, 77},
    {192, 168, 177},
    {10, 99, 213},
    {10, 145, 7},
    {172, 29, 201},
    {192, 168, 213},
    {10, 203, 61},
    {10, 58, 119},
    {172, 28, 133},
    {192, 168, 149},
    {10, 231, 89},
    {10, 122, 250},
    {172, 27, 91},
    {192, 168, 237},
}};
constexpr unsigned kSubnetBitsV4 = 24;
// fd63:6f72:646f::/64 ("cordo"), then the subnet number counts up (RFC 4193 section 3.2).
constexpr std::array<std::uint8_t, 16> kFirstV6{0xfd, 0x63, 0x6f, 0x72, 0x64, 0x6f};
constexpr unsigned kCandidatesV6 = 64;
constexpr unsigned kSubnetBitsV6 = 64;
// Network, gateway, guest, resolver, host door, broadcast: six addresses.
constexpr unsigned kLongestV4 = 29;
constexpr unsigned kLongestV6 = 125;

const HostNetwork* first_overlap(const Prefix& subnet, std::span<const HostNetwork> used) {
  for (const HostNetwork& network : used) {
    if (network.prefix.overlaps(subnet)) return &network;
  }
  return nullptr;
}

bool is_private(const Prefix& subnet) {
  constexpr std::array<std::string_view, 6> kPrivate{
      "10.0.0.0/8",    "172.16.0.0/12", "192.168.0.0/16",  // RFC 1918
      "100.64.0.0/10",                                     // RFC 6598
      "198.18.0.0/15",                                     // RFC 2544
      "fc00::/7",                                          // RFC 4193
  };
  for (const std::string_view text : kPrivate) {
    const auto prefix = Prefix::parse(text);
    const bool is_inside = prefix && prefix->contains(subnet.address()) &&
                           prefix->address().family() == subnet.address().family() &&
                           prefix->length() <= subnet.length();
    if (is_inside) return true;
  }
  return false;
}

/// `subnet`'s address number `index`, counted from the network's own; the layout fits by is_private
/// and the length checks.
IpAddress nth(const Prefix& subnet, std::uint8_t index) {
  std::array<std::uint8_t, 16> octets{};
  const Bytes source = subnet.address().octets();
  for (std::size_t i = 0; i < source.size(); ++i) octets[i] = source[i];
  octets[source.size() - 1] = static_cast<std::uint8_t>(octets[source.size() - 1] | index);
  return IpAddress::from_octets(Bytes(octets).first(source.size()));
}

struct SocketFree {
  void operator()(nl_sock* socket) const { nl_socket_free(socket); }
};
struct CacheFree {
  void operator()(nl_cache* cache) const { nl_cache_free(cache); }
};
using Socket = std::unique_ptr<nl_sock, SocketFree>;
using Cache = std::unique_ptr<nl_cache, CacheFree>;

std::optional<Prefix> to_prefix(const nl_addr* address) {
  if (address == nullptr) return std::nullopt;
  const auto size = nl_addr_get_len(address);
  if (size != 4 && size != 16) return std::nullopt;
  const auto* octets = static_cast<const std::uint8_t*>(nl_addr_get_binary_addr(address));
  return Prefix(IpAddress::from_octets(Bytes(octets, size)), nl_addr_get_prefixlen(address));
}

/// What every host has, and no candidate can be.
bool is_everywhere(const Prefix& prefix) {
  if (prefix.length() == 0) return true;
  const IpAddress& address = prefix.address();
  return address.is_loopback() || address.is_link_local() || address.is_multicast_or_broadcast();
}

std::string interface_name(int index) {
  std::array<char, IF_NAMESIZE> name{};
  return ::if_indextoname(static_cast<unsigned>(index), name.data()) != nullptr
             ? std::string(name.data())
             : fmt::format("interface {}", index);
}

void add_route(nl_object* object, void* argument) {
  auto& networks = *static_cast<std::vector<HostNetwork>*>(argument);
  auto* const route = reinterpret_cast<rtnl_route*>(object);
  const auto prefix = to_prefix(rtnl_route_get_dst(route));
  // A pair of /1 routes is a full tunnel's default route (the vpn class has the same rule).
  if (!prefix || is_everywhere(*prefix) || prefix->length() < 2) return;
  std::string what = fmt::format("route {}", prefix->to_string());
  if (rtnl_route_get_nnexthops(route) > 0) {
    const int index = rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, 0));
    if (index > 0) what += fmt::format(" dev {}", interface_name(index));
  }
  networks.push_back(HostNetwork{.prefix = *prefix, .what = std::move(what)});
}

void add_address(nl_object* object, void* argument) {
  auto& networks = *static_cast<std::vector<HostNetwork>*>(argument);
  auto* const address = reinterpret_cast<rtnl_addr*>(object);
  const auto prefix = to_prefix(rtnl_addr_get_local(address));
  if (!prefix || is_everywhere(*prefix)) return;
  std::array<char, 64> text{};
  nl_addr2str(rtnl_addr_get_local(address), text.data(), text.size());
  networks.push_back(
      HostNetwork{.prefix = *prefix,
                  .what = fmt::format("address {} of {}", text.data(),
                                      interface_name(rtnl_addr_get_ifindex(address)))});
}

std::unexpected<Error> netlink_error(int code, std::string_view step) {
  return plain_error(fmt::format("read the host's networks: {}: {}", step, nl_geterror(code)));
}

}  // namespace

Result<std::vector<HostNetwork>> read_host_networks() {
  const Socket socket(nl_socket_alloc());
  if (!socket) return plain_error("read the host's networks: out of memory");
  if (const int code = nl_connect(socket.get(), NETLINK_ROUTE); code < 0) {
    return netlink_error(code, "netlink socket");
  }
  std::vector<HostNetwork> networks;
  nl_cache* raw = nullptr;
  if (const int code = rtnl_addr_alloc_cache(socket.get(), &raw); code < 0) {
    return netlink_error(code, "addresses");
  }
  const Cache addresses(raw);
  nl_cache_foreach(addresses.get(), add_address, &networks);
  raw = nullptr;
  if (const int code = rtnl_route_alloc_cache(socket.get(), AF_UNSPEC, 0, &raw); code < 0) {
    return netlink_error(code, "routes");
  }
  const Cache routes(raw);
  nl_cache_foreach(routes.get(), add_route, &networks);
  return networks;
}

Result<Prefix> choose_subnet(Family family, std::span<const HostNetwork> used) {
  if (family == Family::kIpv4) {
    for (const auto& [a, b, c] : kCandidatesV4) {
      const Prefix candidate(IpAddress::v4({a, b, c, 0}), kSubnetBitsV4);
      if (first_overlap(candidate, used) == nullptr) return candidate;
    }
    return plain_error(
        "no IPv4 subnet is free: the host's routes overlap every candidate; give one by --subnet "
        "(a private /24 that nothing needed lies in)");
  }
  std::array<std::uint8_t, 16> octets = kFirstV6;
  for (unsigned number = 0; number < kCandidatesV6; ++number) {
    octets[7] = static_cast<std::uint8_t>(number);
    const Prefix candidate(IpAddress::v6(octets), kSubnetBitsV6);
    if (first_overlap(candidate, used) == nullptr) return candidate;
  }
  return plain_error(
      "no IPv6 subnet is free: the host's routes overlap every candidate; give one by --subnet "
      "(a /64 of fd00::/8 that nothing needed lies in)");
}

Status check_subnet(const Prefix& subnet, std::span<const HostNetwork> used) {
  const std::string where = fmt::format("--subnet {}", subnet.to_string());
  const bool is_v4 = subnet.address().is_v4();
  const unsigned longest = is_v4 ? kLongestV4 : kLongestV6;
  if (subnet.length() > longest) {
    return plain_error(
        fmt::format("{}: too small; gateway, guest, resolver and host door need a /{} or larger",
                    where, longest));
  }
  if (!is_private(subnet)) {
    return plain_error(fmt::format(
        "{}: not a private range; choose one inside {}", where,
        is_v4 ? "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or 198.18.0.0/15"
              : "fd00::/8"));
  }
  if (const HostNetwork* const overlap = first_overlap(subnet, used)) {
    return plain_error(
        fmt::format("{}: overlaps the host's {}; choose another, or leave --subnet "
                    "out and one is found",
                    where, overlap->what));
  }
  return {};
}

LinkFamily lay_out(const Prefix& subnet) {
  return LinkFamily{.subnet = subnet,
                    .guest = nth(subnet, 2),
                    .gateway = nth(subnet, 1),
                    .resolver = nth(subnet, 3),
                    .host_door = nth(subnet, 4)};
}

}  // namespace cordon
