#include "sandbox/steering.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "sandbox/netlink_handles.h"
#include "sandbox/nftables_message.h"

namespace cordon {
namespace {

constexpr const char* kTable = "cordon";
constexpr const char* kOutputChain = "out";
constexpr std::int32_t kBehindEverything = 2000;

constexpr std::uint32_t kLeavesByOtherDevice = 32000;
constexpr std::uint32_t kLeavesByTap = 32001;

constexpr std::size_t kInterfaceNameOctets = 16;  // IFNAMSIZ
constexpr std::uint32_t kTcpFlagsOffset = 13;     // RFC 9293 3.1
constexpr std::uint8_t kSyn = 0x02;
constexpr std::uint8_t kAck = 0x10;

// A register holds the mark in the machine's byte order.
std::array<std::uint8_t, 4> mark_octets(std::uint32_t mark) {
  return std::bit_cast<std::array<std::uint8_t, 4>>(mark);
}

// oifname != "lo" tcp flags & (syn|ack) != syn meta mark set meta mark | 0x10000000
NftExpressions mark_all_but_syn() {
  NftExpressions rule;
  std::array<std::uint8_t, kInterfaceNameOctets> loopback{'l', 'o'};
  rule.load_output_interface();
  rule.expect_other(loopback);
  rule.load_protocol();
  rule.expect_equal(std::array<std::uint8_t, 1>{IPPROTO_TCP});
  rule.load_transport(kTcpFlagsOffset, 1);
  rule.bitwise(std::array<std::uint8_t, 1>{kSyn | kAck}, std::array<std::uint8_t, 1>{0});
  rule.expect_other(std::array<std::uint8_t, 1>{kSyn});
  rule.load_mark();
  rule.bitwise(mark_octets(~kSteeringMark), mark_octets(kSteeringMark));
  rule.set_mark();
  return rule;
}

Status install_table(nl_sock* netfilter) {
  NftBatch batch;
  // Added first so that the deletion cannot fail, deleted so that nothing old is left.
  batch.add_table(kTable);
  batch.delete_table(kTable);
  batch.add_table(kTable);
  batch.add_chain({.table = kTable,
                   .name = kOutputChain,
                   .type = "route",
                   .hook = kNftHookOutput,
                   .priority = kBehindEverything});
  batch.add_rule(kTable, kOutputChain, mark_all_but_syn());
  return batch.commit(netfilter);
}

struct MarkRule {
  std::uint32_t preference = 0;
  std::uint32_t table = 0;
  bool suppresses_tap = false;
};

// libnl-route 3.7 has no suppress_ifgroup, so the message is put together here.
Result<NetlinkMessage> rule_message(int type, int flags, std::uint8_t family,
                                    const MarkRule& rule) {
  NetlinkMessage message(nlmsg_alloc_simple(type, flags));
  if (!message) return errno_error(ENOMEM, "ip rule");
  // The attribute carries the table; the header's octet is for those below 256 and must agree.
  fib_rule_hdr header{
      .family = family, .table = static_cast<std::uint8_t>(rule.table), .action = FR_ACT_TO_TBL};
  int outcome = nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO);
  const auto put = [&](int attribute, std::uint32_t value) {
    if (outcome >= 0) outcome = nla_put_u32(message.get(), attribute, value);
  };
  put(FRA_PRIORITY, rule.preference);
  put(FRA_FWMARK, kSteeringMark);
  put(FRA_FWMASK, kSteeringMark);
  put(FRA_TABLE, rule.table);
  if (rule.suppresses_tap) put(FRA_SUPPRESS_IFGROUP, kSteeringLinkGroup);
  if (outcome < 0) return errno_error(ENOMEM, "ip rule");
  return message;
}

Status add_rule(nl_sock* socket, std::uint8_t family, const MarkRule& rule) {
  CORDON_TRY(NetlinkMessage message,
             rule_message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, family, rule));
  // nl_send_sync() owns the message, whatever comes of it.
  const int outcome = nl_send_sync(socket, message.release());
  if (outcome == -NLE_EXIST) return {};
  return netlink_status(outcome, "ip rule add pref " + std::to_string(rule.preference));
}

Status add_local_route(nl_sock* socket, int family, int link_index) {
  nl_addr* parsed = nullptr;
  CORDON_TRY_STATUS(netlink_status(nl_addr_parse("default", family, &parsed), "default"));
  const NetlinkAddress everywhere(parsed);
  const NetlinkRoute route(rtnl_route_alloc());
  rtnl_nexthop* const hop = rtnl_route_nh_alloc();
  if (!route || hop == nullptr) return errno_error(ENOMEM, "ip route");
  rtnl_route_set_family(route.get(), static_cast<std::uint8_t>(family));
  rtnl_route_set_table(route.get(), kSteeringTable);
  rtnl_route_set_type(route.get(), RTN_LOCAL);
  rtnl_route_set_scope(route.get(), RT_SCOPE_HOST);
  rtnl_route_set_protocol(route.get(), RTPROT_STATIC);
  rtnl_route_set_dst(route.get(), everywhere.get());
  rtnl_route_nh_set_ifindex(hop, link_index);
  rtnl_route_add_nexthop(route.get(), hop);
  return netlink_status(rtnl_route_add(socket, route.get(), NLM_F_REPLACE),
                        "ip route add local default table 100");
}

Status install_family(nl_sock* socket, int family, int link_index) {
  const auto short_family = static_cast<std::uint8_t>(family);
  CORDON_TRY_STATUS(add_local_route(socket, family, link_index));
  CORDON_TRY_STATUS(add_rule(
      socket, short_family,
      {.preference = kLeavesByOtherDevice, .table = RT_TABLE_MAIN, .suppresses_tap = true}));
  return add_rule(socket, short_family, {.preference = kLeavesByTap, .table = kSteeringTable});
}

}  // namespace

struct Steering::Sockets {
  NetlinkSocket route;
  NetlinkSocket netfilter;
};

Steering::Steering() = default;
Steering::Steering(Steering&&) noexcept = default;
Steering& Steering::operator=(Steering&&) noexcept = default;
Steering::~Steering() = default;

Result<Steering> Steering::open(const SteeringPlan& plan) {
  Steering steering;
  steering.plan_ = plan;
  steering.sockets_ = std::make_unique<Sockets>();
  CORDON_TRY(steering.sockets_->route, open_netlink(NETLINK_ROUTE));
  CORDON_TRY(steering.sockets_->netfilter, open_netlink(NETLINK_NETFILTER));
  return steering;
}

Status Steering::install() {
  nl_sock* const route = sockets_->route.get();
  CORDON_TRY_STATUS(install_family(route, AF_INET, plan_.link_index));
  if (plan_.has_v6) CORDON_TRY_STATUS(install_family(route, AF_INET6, plan_.link_index));
  return install_table(sockets_->netfilter.get());
}

}  // namespace cordon
