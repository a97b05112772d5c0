// /etc/resolv.conf, as resolv.conf(5) and glibc's reader have it: read for the host's DNS servers
// and search list, and written for the guest.
//
// The guest's file names one server, the sandbox's resolver; who the host's servers are stays
// outside. Of the host's file it keeps what changes how names are completed: search, and the
// options ndots, timeout and attempts. Options that are promises about the host's servers
// (trust-ad, edns0, rotate) are not kept: they would be said about our resolver.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "netstack/address/ip_address.h"
#include "netstack/wire/dns_name.h"

namespace cordon {

struct ResolvConf {
  std::vector<Endpoint> servers;     // in order, at most kMaxUpstreams, port 53
  std::vector<std::string> skipped;  // nameserver words that cannot be used, such as fe80::1%eth0
  std::string search;                // the last search or domain line's value
  std::vector<std::string> options;  // those that are kept, as written

  friend bool operator==(const ResolvConf&, const ResolvConf&) = default;
};

/// Never fails: what is not understood is left out, as glibc does. A host without any nameserver
/// line has no server here (glibc's fallback to 127.0.0.1 is of no use where the file is empty for
/// a moment).
[[nodiscard]] ResolvConf parse_resolv_conf(std::string_view text);

/// The guest's file. `resolver` is the address inside that answers.
[[nodiscard]] std::string guest_resolv_conf(const ResolvConf& host, const IpAddress& resolver);

/// The domains of its search list that are names.
[[nodiscard]] std::vector<DnsName> search_domains(const ResolvConf& host);

/// The guest's file where --dns off was given: no server, and a comment that says why.
[[nodiscard]] std::string guest_resolv_conf_without_dns();

}  // namespace cordon
