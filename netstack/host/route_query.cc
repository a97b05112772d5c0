#include "netstack/host/route_query.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <linux/if_arp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <optional>
#include <sys/socket.h>

namespace cordon {
namespace {

// A full tunnel's default route (or the two halves of it) changes no class, and a default route
// without a gateway makes nobody a neighbour (policy: classes vpn and lan).
constexpr std::uint8_t kMinSpecificPrefix = 2;

struct RouteRequest {
  nlmsghdr header;
  rtmsg route;
  std::array<std::uint8_t, RTA_SPACE(16)> destination;
};

struct LinkRequest {
  nlmsghdr header;
  ifinfomsg link;
};

// Longer than any answer about one route or one link.
constexpr std::size_t kReplySize = 8192;

RouteRequest route_request(const IpAddress& address, std::uint32_t sequence) {
  const Bytes octets = address.octets();
  RouteRequest request{};
  request.header.nlmsg_len =
      static_cast<std::uint32_t>(NLMSG_LENGTH(sizeof(rtmsg)) + RTA_LENGTH(octets.size()));
  request.header.nlmsg_type = RTM_GETROUTE;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.header.nlmsg_seq = sequence;
  request.route.rtm_family = address.is_v4() ? AF_INET : AF_INET6;
  request.route.rtm_dst_len = static_cast<std::uint8_t>(address.bits());
  request.route.rtm_flags = RTM_F_FIB_MATCH;
  const rtattr attribute{.rta_len = static_cast<unsigned short>(RTA_LENGTH(octets.size())),
                         .rta_type = RTA_DST};
  std::memcpy(request.destination.data(), &attribute, sizeof(attribute));
  std::memcpy(request.destination.data() + RTA_LENGTH(0), octets.data(), octets.size());
  return request;
}

// Sends one request and receives its one answer: the message's payload, or the errno that the
// kernel answered with, or EPROTO where the answer is none.
IoResult<Bytes> ask(int socket, const nlmsghdr& header, const void* request,
                    std::uint16_t answer_type, MutableBytes reply) {
  // syscalls: sendto recvfrom
  if (send(socket, request, header.nlmsg_len, 0) < 0) return std::unexpected(Errno{errno});
  // An answer to an earlier question that was given up on is passed over, a bounded number of
  // times.
  for (int i = 0; i < 8; ++i) {
    const ssize_t size = recv(socket, reply.data(), reply.size(), 0);
    if (size < 0) return std::unexpected(Errno{errno});
    const Bytes answer = Bytes(reply).first(static_cast<std::size_t>(size));
    nlmsghdr got{};
    if (answer.size() < sizeof(got)) continue;
    std::memcpy(&got, answer.data(), sizeof(got));
    if (got.nlmsg_seq != header.nlmsg_seq || got.nlmsg_len > answer.size()) continue;
    const Bytes payload = answer.first(got.nlmsg_len).subspan(NLMSG_HDRLEN);
    if (got.nlmsg_type == answer_type) return payload;
    int error = 0;
    if (got.nlmsg_type != NLMSG_ERROR || payload.size() < sizeof(error)) break;
    std::memcpy(&error, payload.data(), sizeof(error));
    return std::unexpected(Errno{-error});
  }
  return std::unexpected(Errno{EPROTO});
}

struct RouteAnswer {
  rtmsg route{};
  bool has_gateway = false;
  std::uint32_t interface_index = 0;
};

std::optional<RouteAnswer> parse_route(Bytes payload) {
  RouteAnswer answer;
  if (payload.size() < sizeof(rtmsg)) return std::nullopt;
  std::memcpy(&answer.route, payload.data(), sizeof(rtmsg));
  payload = payload.subspan(NLMSG_ALIGN(sizeof(rtmsg)));
  while (payload.size() >= sizeof(rtattr)) {
    rtattr attribute{};
    std::memcpy(&attribute, payload.data(), sizeof(attribute));
    if (attribute.rta_len < sizeof(rtattr) || attribute.rta_len > payload.size()) break;
    const Bytes value = payload.subspan(RTA_LENGTH(0), attribute.rta_len - RTA_LENGTH(0));
    switch (attribute.rta_type) {
      case RTA_GATEWAY:
      case RTA_VIA:
      case RTA_MULTIPATH:
        answer.has_gateway = true;
        break;
      case RTA_OIF:
        if (value.size() >= sizeof(answer.interface_index)) {
          std::memcpy(&answer.interface_index, value.data(), sizeof(answer.interface_index));
        }
        break;
      default:
        break;
    }
    payload = payload.subspan(std::min<std::size_t>(RTA_ALIGN(attribute.rta_len), payload.size()));
  }
  return answer;
}

RouteFacts::Type route_type(unsigned char type) {
  switch (type) {
    case RTN_UNICAST:
      return RouteFacts::Type::kUnicast;
    case RTN_LOCAL:
      return RouteFacts::Type::kLocal;
    case RTN_BROADCAST:
      return RouteFacts::Type::kBroadcast;
    case RTN_ANYCAST:
      return RouteFacts::Type::kAnycast;
    case RTN_MULTICAST:
      return RouteFacts::Type::kMulticast;
    default:
      return RouteFacts::Type::kUnreachable;
  }
}

bool means_no_route(int error) {
  return error == ENETUNREACH || error == EHOSTUNREACH || error == EACCES || error == EINVAL ||
         error == ENETDOWN || error == EAFNOSUPPORT || error == EOPNOTSUPP;
}

}  // namespace

FibQuery::FibQuery(UniqueFd socket) : socket_(std::move(socket)), reply_(kReplySize) {}

Result<FibQuery> FibQuery::open() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket.is_open()) return errno_error("netlink socket for route queries");
  const sockaddr_nl address{.nl_family = AF_NETLINK};
  sockaddr any{};
  std::memcpy(&any, &address, sizeof(address));
  // Connected to the kernel: nobody else's message is ever received.
  if (connect(socket.get(), &any, sizeof(address)) != 0) {
    return errno_error("connect netlink socket for route queries");
  }
  return FibQuery(std::move(socket));
}

RouteFacts FibQuery::lookup(const IpAddress& address) {
  const RouteRequest request = route_request(address, ++sequence_);
  const IoResult<Bytes> payload =
      ask(socket_.get(), request.header, &request, RTM_NEWROUTE, reply_);
  RouteFacts facts{.type = RouteFacts::Type::kLocal};
  if (!payload) {
    if (means_no_route(payload.error().value)) facts.type = RouteFacts::Type::kUnreachable;
    return facts;
  }
  const std::optional<RouteAnswer> answer = parse_route(*payload);
  if (!answer) return facts;
  facts.type = route_type(answer->route.rtm_type);
  facts.prefix_length = answer->route.rtm_dst_len;
  if (facts.type == RouteFacts::Type::kUnicast && facts.prefix_length >= kMinSpecificPrefix) {
    facts.is_tunnel = is_tunnel(answer->interface_index);
    facts.is_on_link = !answer->has_gateway && !facts.is_tunnel;
  }
  return facts;
}

bool FibQuery::is_tunnel(std::uint32_t interface_index) {
  switch (hardware_type(interface_index)) {
    case ARPHRD_NONE:  // tun, wireguard
    case ARPHRD_PPP:
    case ARPHRD_TUNNEL:
    case ARPHRD_TUNNEL6:
    case ARPHRD_SIT:
    case ARPHRD_IPGRE:
    case ARPHRD_IP6GRE:
      return true;
    default:
      return false;
  }
}

std::uint16_t FibQuery::hardware_type(std::uint32_t interface_index) {
  LinkRequest request{};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(ifinfomsg));
  request.header.nlmsg_type = RTM_GETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.header.nlmsg_seq = ++sequence_;
  request.link.ifi_index = static_cast<int>(interface_index);
  const IoResult<Bytes> payload = ask(socket_.get(), request.header, &request, RTM_NEWLINK, reply_);
  ifinfomsg link{};
  if (!payload || payload->size() < sizeof(link)) return 0;
  std::memcpy(&link, payload->data(), sizeof(link));
  return link.ifi_type;
}

}  // namespace cordon
