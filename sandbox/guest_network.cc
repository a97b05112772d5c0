#include "sandbox/guest_network.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/descriptors.h"
#include "sandbox/netlink_handles.h"
#include "sandbox/steering.h"

namespace cordon {
namespace {

// struct virtio_net_hdr_mrg_rxbuf, the layout of virtio 1.0: the last field is there even where
// unused.
constexpr int kVirtioHeaderOctets = 12;

// Linux 6.2; headers of Debian 12 do not have them.
constexpr unsigned kTunUso4 = 0x20;
constexpr unsigned kTunUso6 = 0x40;

// Frames that wait while the translator has no processor. The kernel's 500 (TUN_READQ_SIZE) are
// over after three milliseconds of a fast sender, which is less than a turn of the scheduler.
constexpr unsigned kLinkQueue = 2000;

constexpr int kLoopbackIndex = 1;  // the kernel makes it first, in every network namespace

// Whether trains of UDP datagrams are among them.
Result<bool> set_offloads(int tap) {
  constexpr unsigned kSegmentation = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  if (::ioctl(tap, TUNSETOFFLOAD, kSegmentation | kTunUso4 | kTunUso6) == 0) return true;
  if (errno != EINVAL) return errno_error("TUNSETOFFLOAD");
  // Before 6.2: UDP is cut by the guest's kernel, all else is the same.
  if (::ioctl(tap, TUNSETOFFLOAD, kSegmentation) != 0) return errno_error("TUNSETOFFLOAD");
  return false;
}

Result<UniqueFd> open_tap(const std::string& name, bool& has_udp_trains) {
  UniqueFd tap(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tap.is_open()) return errno_error("open /dev/net/tun");
  ifreq request{};
  if (name.size() >= sizeof(request.ifr_name)) return errno_error(ENAMETOOLONG, name);
  std::copy(name.begin(), name.end(), request.ifr_name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) return errno_error("TUNSETIFF " + name);
  if (::ioctl(tap.get(), TUNSETVNETHDRSZ, &kVirtioHeaderOctets) != 0) {
    return errno_error("TUNSETVNETHDRSZ");
  }
  CORDON_TRY(has_udp_trains, set_offloads(tap.get()));
  return tap;
}

Result<NetlinkAddress> parse_address(const std::string& text, int family) {
  nl_addr* parsed = nullptr;
  CORDON_TRY_STATUS(netlink_status(nl_addr_parse(text.c_str(), family, &parsed), text));
  return NetlinkAddress(parsed);
}

NetlinkAddress hardware_address(const MacOctets& mac) {
  return NetlinkAddress(nl_addr_build(AF_LLC, mac.data(), mac.size()));
}

Status bring_up_loopback(nl_sock* socket) {
  const NetlinkLink which(rtnl_link_alloc());
  const NetlinkLink change(rtnl_link_alloc());
  if (!which || !change) return errno_error(ENOMEM, "lo");
  rtnl_link_set_ifindex(which.get(), kLoopbackIndex);
  rtnl_link_set_flags(change.get(), IFF_UP);
  return netlink_status(rtnl_link_change(socket, which.get(), change.get(), 0), "lo up");
}

Result<int> index_of(nl_sock* socket, const std::string& name) {
  rtnl_link* found = nullptr;
  CORDON_TRY_STATUS(
      netlink_status(rtnl_link_get_kernel(socket, 0, name.c_str(), &found), "link " + name));
  const NetlinkLink link(found);
  return rtnl_link_get_ifindex(link.get());
}

Status configure_link(nl_sock* socket, int index, const GuestNetworkPlan& plan) {
  const NetlinkLink which(rtnl_link_alloc());
  const NetlinkLink change(rtnl_link_alloc());
  const NetlinkAddress mac = hardware_address(plan.guest_mac);
  if (!which || !change || !mac) return errno_error(ENOMEM, plan.link);
  rtnl_link_set_ifindex(which.get(), index);
  rtnl_link_set_addr(change.get(), mac.get());
  rtnl_link_set_mtu(change.get(), plan.mtu);
  rtnl_link_set_txqlen(change.get(), kLinkQueue);
  rtnl_link_set_group(change.get(), kSteeringLinkGroup);
  CORDON_TRY_STATUS(netlink_status(rtnl_link_change(socket, which.get(), change.get(), 0),
                                   plan.link + " address and mtu"));
  // Up in a request of its own: an Ethernet address is changed only while the link is down.
  const NetlinkLink up(rtnl_link_alloc());
  if (!up) return errno_error(ENOMEM, plan.link);
  rtnl_link_set_flags(up.get(), IFF_UP);
  return netlink_status(rtnl_link_change(socket, which.get(), up.get(), 0), plan.link + " up");
}

Status add_address(nl_sock* socket, int index, int family, const std::string& text,
                   unsigned prefix_length) {
  CORDON_TRY(const NetlinkAddress local, parse_address(text, family));
  nl_addr_set_prefixlen(local.get(), static_cast<int>(prefix_length));
  const NetlinkLinkAddress address(rtnl_addr_alloc());
  if (!address) return errno_error(ENOMEM, text);
  rtnl_addr_set_ifindex(address.get(), index);
  CORDON_TRY_STATUS(netlink_status(rtnl_addr_set_local(address.get(), local.get()), text));
  // Nobody else is on the link: without this the address would be unusable for a second.
  if (family == AF_INET6) rtnl_addr_set_flags(address.get(), IFA_F_NODAD);
  return netlink_status(rtnl_addr_add(socket, address.get(), 0), "address " + text);
}

Status add_default_route(nl_sock* socket, int index, int family, const std::string& gateway) {
  CORDON_TRY(const NetlinkAddress via, parse_address(gateway, family));
  CORDON_TRY(const NetlinkAddress everywhere, parse_address("default", family));
  const NetlinkRoute route(rtnl_route_alloc());
  rtnl_nexthop* const hop = rtnl_route_nh_alloc();
  if (!route || hop == nullptr) return errno_error(ENOMEM, "default route");
  rtnl_route_set_family(route.get(), static_cast<std::uint8_t>(family));
  rtnl_route_set_table(route.get(), RT_TABLE_MAIN);
  rtnl_route_set_scope(route.get(), RT_SCOPE_UNIVERSE);
  rtnl_route_set_protocol(route.get(), RTPROT_STATIC);
  rtnl_route_set_dst(route.get(), everywhere.get());
  rtnl_route_nh_set_ifindex(hop, index);
  rtnl_route_nh_set_gateway(hop, via.get());
  rtnl_route_add_nexthop(route.get(), hop);
  return netlink_status(rtnl_route_add(socket, route.get(), NLM_F_EXCL),
                        "default route via " + gateway);
}

// The gateway's address never changes and has one owner: no ARP or NDP before the first packet.
Status add_gateway_neighbour(nl_sock* socket, int index, int family, const std::string& gateway,
                             const MacOctets& mac) {
  CORDON_TRY(const NetlinkAddress address, parse_address(gateway, family));
  const NetlinkAddress hardware = hardware_address(mac);
  const NetlinkNeighbour neighbour(rtnl_neigh_alloc());
  if (!neighbour || !hardware) return errno_error(ENOMEM, gateway);
  rtnl_neigh_set_ifindex(neighbour.get(), index);
  rtnl_neigh_set_dst(neighbour.get(), address.get());
  rtnl_neigh_set_lladdr(neighbour.get(), hardware.get());
  rtnl_neigh_set_state(neighbour.get(), NUD_PERMANENT);
  return netlink_status(rtnl_neigh_add(socket, neighbour.get(), NLM_F_CREATE | NLM_F_REPLACE),
                        "neighbour " + gateway);
}

Status add_family(nl_sock* socket, int index, int family, const GuestFamilyPlan& plan,
                  const MacOctets& gateway_mac) {
  CORDON_TRY_STATUS(add_address(socket, index, family, plan.address, plan.prefix_length));
  CORDON_TRY_STATUS(add_gateway_neighbour(socket, index, family, plan.gateway, gateway_mac));
  return add_default_route(socket, index, family, plan.gateway);
}

// Before the link is up: what it does by itself when it comes up is decided by these.
Status quiet_ipv6(const std::string& link) {
  const std::string base = "/proc/sys/net/ipv6/conf/" + link + "/";
  CORDON_TRY_STATUS(write_file((base + "disable_ipv6").c_str(), "0"));
  CORDON_TRY_STATUS(write_file((base + "accept_ra").c_str(), "0"));
  CORDON_TRY_STATUS(write_file((base + "autoconf").c_str(), "0"));
  CORDON_TRY_STATUS(write_file((base + "accept_dad").c_str(), "0"));
  return write_file((base + "addr_gen_mode").c_str(), "1");  // none: link-local is set by us
}

Status choose_congestion_control() {
  // Streams run over lo: one that paces (bbr) costs a quarter there, whatever the host prefers.
  constexpr const char* kPath = "/proc/sys/net/ipv4/tcp_congestion_control";
  if (write_file(kPath, "cubic")) return {};
  return write_file(kPath, "reno");
}

// Ordinary programs of the guest may ping and listen on every port: the namespace is theirs alone.
Status open_ports_and_ping() {
  // gid 0 of U is the caller's.
  CORDON_TRY_STATUS(write_file("/proc/sys/net/ipv4/ping_group_range", "0 0"));
  return write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
}

bool kernel_has_ipv6() { return ::access("/proc/sys/net/ipv6/conf", F_OK) == 0; }

Status set_sysctls() {
  // What a socket inherits its mark by: inbound streams are marked, so that listeners bound to any
  // address or device accept them.
  CORDON_TRY_STATUS(write_file("/proc/sys/net/ipv4/tcp_fwmark_accept", "1"));
  // The reset for a port that nobody listens on has no socket to inherit from: it takes the mark of
  // the packet that it answers, or one from the guest's loopback would find no way.
  CORDON_TRY_STATUS(write_file("/proc/sys/net/ipv4/fwmark_reflect", "1"));
  if (kernel_has_ipv6()) {
    CORDON_TRY_STATUS(write_file("/proc/sys/net/ipv6/fwmark_reflect", "1"));
  }
  // A tuple that the guest uses again at once must find no remains of the kernel's side of it.
  CORDON_TRY_STATUS(write_file("/proc/sys/net/ipv4/tcp_max_tw_buckets", "0"));
  CORDON_TRY_STATUS(open_ports_and_ping());
  return choose_congestion_control();
}

Result<UniqueFd> open_sock_diag() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd.is_open()) return errno_error("socket NETLINK_SOCK_DIAG");
  return fd;
}

}  // namespace

Result<GuestNetwork> build_guest_network(const GuestNetworkPlan& plan) {
  const bool has_v6 = kernel_has_ipv6();
  CORDON_TRY(const NetlinkSocket route, open_netlink(NETLINK_ROUTE));
  CORDON_TRY_STATUS(bring_up_loopback(route.get()));
  CORDON_TRY_STATUS(set_sysctls());
  GuestNetwork network;
  CORDON_TRY(network.tap, open_tap(plan.link, network.has_udp_trains));
  CORDON_TRY(const int index, index_of(route.get(), plan.link));
  network.link_index = static_cast<std::uint32_t>(index);
  if (has_v6) CORDON_TRY_STATUS(quiet_ipv6(plan.link));
  CORDON_TRY_STATUS(configure_link(route.get(), index, plan));
  CORDON_TRY_STATUS(add_family(route.get(), index, AF_INET, plan.v4, plan.gateway_mac));
  if (has_v6) {
    CORDON_TRY_STATUS(add_address(route.get(), index, AF_INET6, plan.v6_link_local, 64));
    CORDON_TRY_STATUS(add_family(route.get(), index, AF_INET6, plan.v6, plan.gateway_mac));
  }
  CORDON_TRY(network.steering, Steering::open({.link_index = index, .has_v6 = has_v6}));
  CORDON_TRY_STATUS(network.steering.install());
  CORDON_TRY(network.sock_diag, open_sock_diag());
  return network;
}

Status build_offline_network() {
  CORDON_TRY(const NetlinkSocket route, open_netlink(NETLINK_ROUTE));
  CORDON_TRY_STATUS(bring_up_loopback(route.get()));
  return open_ports_and_ping();
}

}  // namespace cordon
