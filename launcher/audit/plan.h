// What the parent tells the prober, and how what the prober sends is recognised outside.
//
// The plan travels in one word of the prober's command line: sandboxes clear environments, close
// descriptors and wrap commands in shells, but all hand the arguments through. It is JSON in
// hexadecimal, so that no shell sees anything to expand.
//
// A token is what a probe says to a server: "cordon-audit NONCE LEAK TRANSPORT ADDRESS\n". The
// nonce is made anew for each audit, so nobody else's packet is taken for a probe, and the leak's
// key tells the server which way was tried.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/audit/leaks.h"
#include "netstack/address/ip_address.h"
#include "netstack/base/result.h"

namespace cordon::audit {

enum class Transport : std::uint8_t { kTcp, kUdp, kUdpLite, kSctp };
/// "tcp", "udp", "udplite", "sctp".
[[nodiscard]] std::string_view transport_word(Transport transport);
[[nodiscard]] std::optional<Transport> parse_transport(std::string_view word);

/// The transport of packets that no filter knows (RFC 3692 section 2.1: for experiments, so
/// nobody's).
inline constexpr int kExperimentalProtocol = 253;

/// One thing to dial. For link-local addresses every interface inside is tried.
struct Target {
  Leak leak = Leak::kLoopbackV4;
  Transport transport = Transport::kTcp;
  Endpoint at;
  friend bool operator==(const Target&, const Target&) = default;
};

/// A unix socket of somebody else's, by its path; "@" begins an abstract name.
struct KnownSocket {
  Leak leak = Leak::kDaemonSockets;
  std::string path;
  friend bool operator==(const KnownSocket&, const KnownSocket&) = default;
};

/// Where programs look for services of their neighbours.
struct DiscoveryGroup {
  Leak leak;
  std::string_view address;
  std::uint16_t port;
};
// RFC 6762, RFC 4795, UPnP Device Architecture 1.1, WS-Discovery 1.1.
inline constexpr std::array kDiscoveryGroups{
    DiscoveryGroup{Leak::kMdns, "224.0.0.251", 5353},
    DiscoveryGroup{Leak::kMdns, "ff02::fb", 5353},
    DiscoveryGroup{Leak::kLlmnr, "224.0.0.252", 5355},
    DiscoveryGroup{Leak::kLlmnr, "ff02::1:3", 5355},
    DiscoveryGroup{Leak::kSsdp, "239.255.255.250", 1900},
    DiscoveryGroup{Leak::kSsdp, "ff02::c", 1900},
    DiscoveryGroup{Leak::kWsDiscovery, "239.255.255.250", 3702},
    DiscoveryGroup{Leak::kWsDiscovery, "ff02::c", 3702},
};

struct ProbePlan {
  std::string nonce;                      // 16 hexadecimal digits
  std::uint64_t network_namespace = 0;    // inode, outside
  std::vector<Target> targets;            // TCP, UDP, UDP-Lite, SCTP
  std::vector<Endpoint> loopback;         // servers of the host's loopback, for kGateway
  std::vector<IpAddress> host_addresses;  // for echo and raw packets
  std::vector<Endpoint> broadcasts;       // for kBroadcast and kNbns
  std::vector<KnownSocket> unix_sockets;  // all paths to connect to, ours and others'
  std::uint64_t inherited_stream = 0;     // inode of the socket that was left open
  std::uint64_t inherited_directory = 0;  // inode of the directory that was left open
  std::string secret_file;                // below that directory
  std::string witness_name;               // /proc/PID/comm of the process outside
  int witness_descriptor = -1;            // its connected socket
  std::uint16_t vsock_port = 0;           // 0: no server
  std::optional<Endpoint> added_address;  // dialled again and again after the rest
  std::optional<Endpoint> allowed;        // must be reached: the allowed twin
  friend bool operator==(const ProbePlan&, const ProbePlan&) = default;
};

[[nodiscard]] std::string encode_plan(const ProbePlan& plan);
[[nodiscard]] Result<ProbePlan> decode_plan(std::string_view word);

struct Token {
  Leak leak = Leak::kLoopbackV4;
  std::string way;  // "tcp 10.0.2.2:40001"
  friend bool operator==(const Token&, const Token&) = default;
};

[[nodiscard]] std::string write_token(std::string_view nonce, const Token& token);
/// The first token of this nonce anywhere in `text`; or the made-up name of a leak in a DNS
/// message, in whatever case.
[[nodiscard]] std::optional<Token> find_token(std::string_view nonce, std::string_view text);
/// What a TCP server answers to a token.
[[nodiscard]] std::string write_answer(std::string_view nonce);

/// "LEAK-NONCE": the first label of the names that probes ask for.
[[nodiscard]] std::string made_up_label(std::string_view nonce, Leak leak);
/// The source of forged datagrams, neither the sandbox's nor the host's (RFC 2544's networks).
inline constexpr IpAddress kForgedSource = IpAddress::v4(0xc6130909);  // 198.19.9.9

/// The address whose PTR is asked for by kDnsReverse.
[[nodiscard]] IpAddress made_up_address(std::string_view nonce);
/// "1.0.0.….ip6.arpa" of an IPv6 address (RFC 3596 section 2.5).
[[nodiscard]] std::string reverse_name(const IpAddress& address);
/// A DNS query for `name`, class IN, recursion desired (RFC 1035 section 4.1); also mDNS and LLMNR.
[[nodiscard]] std::string dns_query(std::string_view name, std::uint16_t type, std::uint16_t id);

}  // namespace cordon::audit
