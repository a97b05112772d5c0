#include "launcher/audit/leaks.h"

#include <array>

namespace cordon::audit {
namespace {

constexpr std::array<LeakFacts, kLeakCount> kLeaks{{
    {Leak::kHostNetwork, Severity::kCritical, "host-network", "the host",
     "the host's own network namespace",
     "the prober compares the inode of /proc/self/ns/net with the one outside"},
    {Leak::kLoopbackV4, Severity::kHigh, "loopback-v4", "the host", "the host's 127.0.0.1",
     "TCP and UDP to the address; a server outside hears it"},
    {Leak::kLoopbackV6, Severity::kHigh, "loopback-v6", "the host", "the host's ::1",
     "TCP and UDP to the address; a server outside hears it"},
    {Leak::kHostAddressV4, Severity::kHigh, "host-address-v4", "the host",
     "the host's IPv4 addresses",
     "TCP and UDP to each address of each interface, secondary ones too; servers outside hear it"},
    {Leak::kHostAddressV6, Severity::kHigh, "host-address-v6", "the host",
     "the host's IPv6 addresses",
     "TCP and UDP to each address of each interface; servers outside hear it"},
    {Leak::kHostLinkLocal, Severity::kHigh, "host-link-local", "the host",
     "the host's link-local addresses",
     "TCP and UDP to each, through each interface inside; servers outside hear it"},
    {Leak::kGateway, Severity::kHigh, "gateway", "the host",
     "the host through the sandbox's gateway",
     "TCP and UDP to the gateways, resolvers and helper addresses inside, at the ports of servers "
     "on the host's loopback"},
    {Leak::kUnspecified, Severity::kHigh, "unspecified", "the host", "the host through 0.0.0.0, ::",
     "TCP and UDP to the unspecified addresses; servers on the host's loopback hear it"},
    {Leak::kWrapped, Severity::kHigh, "wrapped", "the host",
     "the host through mapped, NAT64 and 6to4",
     "the host's IPv4 addresses as ::ffff:a.b.c.d, ::a.b.c.d, 64:ff9b::/96, 2002::/16 and Teredo; "
     "servers outside hear it"},
    {Leak::kPublishedPort, Severity::kHigh, "published-port", "the host",
     "a port published on all addresses",
     "a server outside on 0.0.0.0 and [::] stands for another sandbox's published port"},
    {Leak::kAddedAddress, Severity::kHigh, "added-address", "the host",
     "an address added a moment ago",
     "the address is put on lo while the prober tries to connect; a server outside hears it"},

    {Leak::kMetadata, Severity::kCritical, "metadata", "near the host", "cloud metadata addresses",
     "TCP port 80 of the known addresses; whatever answers, or a SYN that leaves the host"},
    {Leak::kLinkLocal, Severity::kMedium, "link-local", "near the host",
     "link-local neighbours (169.254/16, fe80::)",
     "TCP and UDP to an unused one; the packet or the host's socket is seen outside"},
    {Leak::kLan, Severity::kHigh, "lan", "near the host", "neighbours of the local network",
     "TCP and UDP to the host's gateways and an unused address on each link; the packet or the "
     "host's socket is seen outside"},
    {Leak::kMdns, Severity::kMedium, "mdns", "near the host", "mDNS, 5353",
     "a query to 224.0.0.251 and ff02::fb; a member of the group outside hears it"},
    {Leak::kLlmnr, Severity::kMedium, "llmnr", "near the host", "LLMNR, 5355",
     "a query to 224.0.0.252 and ff02::1:3; a member of the group outside hears it"},
    {Leak::kNbns, Severity::kMedium, "nbns", "near the host", "NetBIOS names, 137",
     "a broadcast; a listener outside hears it"},
    {Leak::kSsdp, Severity::kMedium, "ssdp", "near the host", "SSDP, 1900",
     "a datagram to 239.255.255.250 and ff02::c; a member of the group outside hears it"},
    {Leak::kWsDiscovery, Severity::kMedium, "ws-discovery", "near the host", "WS-Discovery, 3702",
     "a datagram to 239.255.255.250 and ff02::c; a member of the group outside hears it"},
    {Leak::kBroadcast, Severity::kMedium, "broadcast", "near the host", "broadcasts",
     "a datagram to 255.255.255.255 and each broadcast address of the host; a server outside hears "
     "it"},

    {Leak::kDnsServers, Severity::kMedium, "dns-servers", "names",
     "DNS to a server of its own choice",
     "queries over UDP and TCP to port 53 of the host's addresses and of one outside; a fake "
     "resolver or the watch outside sees them"},
    {Leak::kDnsEncrypted, Severity::kMedium, "dns-encrypted", "names", "DoT and DoQ, 853",
     "TCP and UDP to port 853 of the same addresses"},
    {Leak::kDnsNames, Severity::kMedium, "dns-names", "names",
     "any name, through the sandbox's resolver",
     "a made-up name is asked for; the watch outside sees it leave the host"},
    {Leak::kDnsReverse, Severity::kMedium, "dns-reverse", "names",
     "PTR of any address, through the resolver",
     "an address of 2001:db8::/32 with a made-up second half; the watch outside sees it leave"},
    {Leak::kNameServices, Severity::kMedium, "name-services", "names",
     "the host's name services (nscd, resolved)",
     "connects to their unix sockets, those that answer outside"},

    {Leak::kEcho, Severity::kMedium, "echo", "other protocols", "ping of the host",
     "ICMP echo to the host's addresses; a raw socket outside, or the answer"},
    {Leak::kOtherTransports, Severity::kMedium, "other-transports", "other protocols",
     "UDP-Lite and SCTP", "datagrams and connections to the host's addresses; servers hear them"},
    {Leak::kRawPackets, Severity::kHigh, "raw-packets", "other protocols",
     "packets of its own making",
     "an unassigned IP protocol, and UDP with a forged source, to the host's addresses; sockets "
     "outside hear it"},
    {Leak::kRawSockets, Severity::kLow, "raw-sockets", "other protocols", "raw sockets",
     "socket(AF_INET, SOCK_RAW) and AF_INET6"},
    {Leak::kPacketSockets, Severity::kHigh, "packet-sockets", "other protocols",
     "reading the host's packets", "AF_PACKET, while marked datagrams travel over the host's lo"},
    {Leak::kVsock, Severity::kMedium, "vsock", "other protocols", "AF_VSOCK",
     "socket(AF_VSOCK): such sockets know no network namespace and end in the hypervisor"},

    {Leak::kAbstractUnix, Severity::kHigh, "abstract-unix", "unix sockets",
     "abstract unix sockets of the host", "connects to one; its server outside hears it"},
    {Leak::kControlSocket, Severity::kHigh, "control-socket", "unix sockets",
     "control sockets of cordon's sandboxes",
     "connects to a socket in the folder where cordon's are; its server outside hears it"},
    {Leak::kDaemonSockets, Severity::kHigh, "daemon-sockets", "unix sockets",
     "container daemons, init, virtual machines",
     "connects to their unix sockets, those that answer outside"},
    {Leak::kDesktopSockets, Severity::kHigh, "desktop-sockets", "unix sockets",
     "session bus, display, key agents",
     "connects to their unix sockets, those that answer outside"},

    {Leak::kInheritedStream, Severity::kHigh, "inherited-stream", "descriptors",
     "an inherited connected socket", "writes to it; the other end outside hears it"},
    {Leak::kInheritedDirectory, Severity::kMedium, "inherited-directory", "descriptors",
     "an inherited directory", "reads a secret file below it"},
    {Leak::kInheritedOther, Severity::kMedium, "inherited-other", "descriptors",
     "other inherited descriptors", "lists every descriptor above 2 that it was started with"},

    {Leak::kProcesses, Severity::kLow, "processes", "processes", "the host's processes are seen",
     "looks for a process outside in /proc, by its name"},
    {Leak::kProcessSecrets, Severity::kHigh, "process-secrets", "processes",
     "the environment of outside processes", "reads /proc/PID/environ: a secret stands there"},
    {Leak::kSignals, Severity::kMedium, "signals", "processes", "signals to outside processes",
     "kill(2); the process outside says that it was hit"},
    {Leak::kPtrace, Severity::kCritical, "ptrace", "processes", "ptrace of outside processes",
     "PTRACE_SEIZE; the process outside has a tracer"},
    {Leak::kStolenDescriptor, Severity::kCritical, "stolen-descriptor", "processes",
     "taking an outside process's socket", "pidfd_getfd(2), then writes; the other end hears it"},
    {Leak::kEnterNetwork, Severity::kCritical, "enter-network", "processes",
     "entering an outside network namespace",
     "setns(2) through /proc/PID/ns/net, then TCP to 127.0.0.1; a server outside hears it"},

    {Leak::kTerminal, Severity::kCritical, "terminal", "the kernel", "typing into the terminal",
     "TIOCSTI, also with bit 32 set; the terminal outside has the characters as input"},
    {Leak::kNetworkPower, Severity::kLow, "network-power", "the kernel",
     "changing addresses and routes",
     "removes an address that is not there: what is refused for want of power, and what is not"},
    {Leak::kFirewallPower, Severity::kLow, "firewall-power", "the kernel", "changing nftables",
     "removes a table that is not there: what is refused for want of power, and what is not"},
    {Leak::kKernelSettings, Severity::kCritical, "kernel-settings", "the kernel",
     "the host's kernel settings",
     "opens core_pattern, modprobe and sysrq-trigger below /proc for writing; writes nothing"},
    {Leak::kNewNamespaces, Severity::kLow, "new-namespaces", "the kernel",
     "new user and network namespaces",
     "unshare(2): power over a network of its own is a large attack surface of the kernel"},
}};

constexpr bool is_in_order() {
  for (std::size_t i = 0; i < kLeakCount; ++i) {
    if (static_cast<std::size_t>(kLeaks[i].leak) != i) return false;
  }
  return true;
}
static_assert(is_in_order());

constexpr std::array<std::string_view, 6> kNeverTested{
    "rules about names (SNI, Host, ECH, QUIC, rebinding): they need a policy and names of its own; "
    "an audit knows neither",
    "what allowed destinations are told: whatever is allowed is a way out, for any data",
    "machines other than this one: nothing but single packets is sent to them, and what they "
    "answer is not asked",
    "the file system: a file left for a program outside is a way out that no network sandbox "
    "closes",
    "timing, volume, and what processors share",
    "holes of the kernel and of the sandbox's own code",
};

}  // namespace

std::span<const LeakFacts> all_leaks() { return kLeaks; }

const LeakFacts& facts_of(Leak leak) { return kLeaks[static_cast<std::size_t>(leak)]; }

std::optional<Leak> parse_leak(std::string_view key) {
  for (const LeakFacts& facts : kLeaks) {
    if (facts.key == key) return facts.leak;
  }
  return std::nullopt;
}

std::string_view severity_word(Severity severity) {
  switch (severity) {
    case Severity::kLow:
      return "low";
    case Severity::kMedium:
      return "medium";
    case Severity::kHigh:
      return "high";
    case Severity::kCritical:
      return "critical";
  }
  return "";
}

std::span<const std::string_view> never_tested() { return kNeverTested; }

}  // namespace cordon::audit
