// What a translator is told before it starts: the addresses on the guest's link, the policy, how
// names are answered, where DNS queries go. Values only; the descriptors are handed over in
// host/worker.h.
#pragma once

#include <cstdint>
#include <vector>

#include "netstack/address/ip_address.h"
#include "netstack/base/time.h"
#include "netstack/policy/policy.h"
#include "netstack/wire/dns_name.h"
#include "netstack/wire/ethernet.h"

namespace cordon {

/// The guest's link in one family. All but the guest's own address are ours and answer ARP or NDP.
struct LinkFamily {
  Prefix subnet;
  IpAddress guest;
  IpAddress gateway;    // also what a client on the host's loopback looks like from inside
  IpAddress resolver;   // answers port 53; so does every other address
  IpAddress host_door;  // host.cordon.internal
};

/// How names are answered and what a flow by name has to show of itself (policy file: [dns],
/// [tls]).
struct NameSettings {
  enum class Mode : std::uint8_t {
    kByPolicy,  // kMap where the policy enforces names, kOpen where it does not
    kMap,       // an address of the pool for each name; any protocol is known by its name
    kPin,       // real addresses, remembered with the names they were answers to
    kOpen,      // queries are relayed; no name rules
    kOff,       // nobody answers
  };
  Mode mode = Mode::kByPolicy;
  /// 198.18.0.0/15 is for benchmarks between one's own devices (RFC 2544): nobody's address on any
  /// network that a guest could mean. The IPv6 prefix is a ULA /64 with a random global ID
  /// (RFC 4193 section 3.2).
  Prefix pool_v4 = Prefix(IpAddress::v4({198, 18, 0, 0}), 15);
  Prefix pool_v6 =
      Prefix(IpAddress::v6({0xfd, 0x4c, 0x9e, 0x21, 0xab, 0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), 64);
  /// Distinct names under one wildcard rule's suffix that may be resolved in a minute.
  std::uint32_t wildcard_names_per_minute = 60;
  enum class Sni : std::uint8_t { kMatch, kIgnore };
  Sni sni = Sni::kMatch;
  enum class Ech : std::uint8_t { kOuter, kDeny, kIgnore };
  Ech ech = Ech::kOuter;
  enum class Quic : std::uint8_t { kReject, kByName };
  Quic quic = Quic::kReject;
};

/// Which flows begin only when the supervisor has looked their process up (flow/introductions.h).
enum class Introduces : std::uint8_t {
  kNone,
  kSome,  // while flows are reported, up to kIntroductionsPerSecond
  kAll,
};

struct TranslatorConfig {
  MacAddress guest_mac{0x02, 0x00, 0x00, 0x00, 0x00, 0x02};
  MacAddress gateway_mac{0x02, 0x00, 0x00, 0x00, 0x00, 0x01};
  LinkFamily v4;
  LinkFamily v6;
  IpAddress guest_link_local;    // fe80::/64, from the guest's MAC (EUI-64)
  IpAddress gateway_link_local;  // fe80::1
  std::uint16_t mtu = 1500;
  Policy policy;
  Instant start{};  // of the sandbox: limits in time count from here
  NameSettings names;
  std::vector<Endpoint> upstreams;  // DNS servers that the host uses, in order
  std::vector<DnsName> search;      // domains with which the guest completes names
  bool reports_flows = false;       // flows as well as denials go to the supervisor
  Introduces introduces = Introduces::kNone;
  bool shares_bulk_out = false;  // relays are for bulk streams, not for their descriptors only
};

}  // namespace cordon
