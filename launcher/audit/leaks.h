// The leaks that an audit looks for: one row each, whatever the sandbox.
//
// A row is a way out, not a single packet: behind "the host's loopback" stand TCP and UDP and every
// address that may lead there. Adding a row means a line in the table of leaks.cc, a probe that
// tries it (prober.h), and something outside that would notice (servers.h, outbound_watch.h,
// witness.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace cordon::audit {

enum class Leak : std::uint8_t {
  kHostNetwork,
  kLoopbackV4,
  kLoopbackV6,
  kHostAddressV4,
  kHostAddressV6,
  kHostLinkLocal,
  kGateway,
  kUnspecified,
  kWrapped,
  kPublishedPort,
  kAddedAddress,
  kMetadata,
  kLinkLocal,
  kLan,
  kMdns,
  kLlmnr,
  kNbns,
  kSsdp,
  kWsDiscovery,
  kBroadcast,
  kDnsServers,
  kDnsEncrypted,
  kDnsNames,
  kDnsReverse,
  kNameServices,
  kEcho,
  kOtherTransports,
  kRawPackets,
  kRawSockets,
  kPacketSockets,
  kVsock,
  kAbstractUnix,
  kControlSocket,
  kDaemonSockets,
  kDesktopSockets,
  kInheritedStream,
  kInheritedDirectory,
  kInheritedOther,
  kProcesses,
  kProcessSecrets,
  kSignals,
  kPtrace,
  kStolenDescriptor,
  kEnterNetwork,
  kTerminal,
  kNetworkPower,
  kFirewallPower,
  kKernelSettings,
  kNewNamespaces,
};
inline constexpr std::size_t kLeakCount = static_cast<std::size_t>(Leak::kNewNamespaces) + 1;

/// What somebody inside gains. kLow: nothing leaves by it alone; a larger attack surface.
enum class Severity : std::uint8_t { kLow, kMedium, kHigh, kCritical };

struct LeakFacts {
  Leak leak;
  Severity severity;
  std::string_view key;    // in JSON and on the wire: "loopback-v4"
  std::string_view group;  // "the host", "names", …
  std::string_view title;  // for people
  std::string_view how;    // how it is tried, and what would show it
};

/// All rows, in the order of the enumerators.
[[nodiscard]] std::span<const LeakFacts> all_leaks();
[[nodiscard]] const LeakFacts& facts_of(Leak leak);
[[nodiscard]] std::optional<Leak> parse_leak(std::string_view key);
/// "low", "medium", "high", "critical".
[[nodiscard]] std::string_view severity_word(Severity severity);

/// What no run of the audit can say, whatever the sandbox: one sentence each, with the reason.
[[nodiscard]] std::span<const std::string_view> never_tested();

}  // namespace cordon::audit
