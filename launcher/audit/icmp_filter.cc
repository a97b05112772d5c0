#include "launcher/audit/icmp_filter.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>

namespace cordon::audit {
namespace {

// ICMP_FILTER of <linux/icmp.h>, which does not go together with <netinet/ip_icmp.h>.
constexpr int kIcmpFilter = 1;

int filter_v4(const UniqueFd& socket, unsigned type) {
  const std::uint32_t blocked = ~(1U << type);
  return ::setsockopt(socket.get(), SOL_RAW, kIcmpFilter, &blocked, sizeof(blocked));
}

int filter_v6(const UniqueFd& socket, unsigned type) {
  icmp6_filter passed;
  ICMP6_FILTER_SETBLOCKALL(&passed);
  ICMP6_FILTER_SETPASS(type, &passed);
  return ::setsockopt(socket.get(), IPPROTO_ICMPV6, ICMP6_FILTER, &passed, sizeof(passed));
}

}  // namespace

Status hear_only(const UniqueFd& socket, Family family, EchoKind kind) {
  const bool is_request = kind == EchoKind::kRequest;
  const int result = family == Family::kIpv4
                         ? filter_v4(socket, is_request ? ICMP_ECHO : ICMP_ECHOREPLY)
                         : filter_v6(socket, is_request ? ICMP6_ECHO_REQUEST : ICMP6_ECHO_REPLY);
  return result == 0 ? Status() : errno_error("filter ICMP messages");
}

}  // namespace cordon::audit
