#include "launcher/audit/added_address.h"

#include <memory>
#include <net/if.h>
#include <sys/socket.h>

#include <fmt/format.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>

namespace cordon::audit {

Status change_address(const Endpoint& address, AddressChange change) {
  const std::string what = fmt::format(
      "{} {} on lo", change == AddressChange::kAdd ? "put" : "remove", address.address.to_string());
  const auto failed = [&what](int code) {
    return plain_error(fmt::format("{}: {}", what, ::nl_geterror(code)));
  };
  const std::unique_ptr<nl_sock, decltype(&::nl_socket_free)> socket(::nl_socket_alloc(),
                                                                     &::nl_socket_free);
  const std::unique_ptr<rtnl_addr, decltype(&::rtnl_addr_put)> entry(::rtnl_addr_alloc(),
                                                                     &::rtnl_addr_put);
  const Bytes octets = address.address.octets();
  const std::unique_ptr<nl_addr, decltype(&::nl_addr_put)> local(
      ::nl_addr_build(address.address.is_v4() ? AF_INET : AF_INET6, octets.data(), octets.size()),
      &::nl_addr_put);
  if (!socket || !entry || !local) return plain_error(what + ": no memory");
  ::nl_addr_set_prefixlen(local.get(), static_cast<int>(address.address.bits()));
  ::rtnl_addr_set_ifindex(entry.get(), static_cast<int>(::if_nametoindex("lo")));
  if (const int code = ::rtnl_addr_set_local(entry.get(), local.get()); code < 0) {
    return failed(code);
  }
  if (const int code = ::nl_connect(socket.get(), NETLINK_ROUTE); code < 0) return failed(code);
  const int code = change == AddressChange::kAdd
                       ? ::rtnl_addr_add(socket.get(), entry.get(), NLM_F_EXCL)
                       : ::rtnl_addr_delete(socket.get(), entry.get(), 0);
  return code < 0 ? Status(failed(code)) : Status();
}

}  // namespace cordon::audit
