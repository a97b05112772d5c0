// Every limit of the translator, with its reason. What is refused at a limit is counted
// (wire/drop.h).
#pragma once

#include <cstddef>
#include <cstdint>

namespace cordon {

/// Flows of all kinds; the descriptor limit may lower it at start (flow/descriptor_share.h).
inline constexpr std::size_t kMaxFlows = 32768;
/// Descriptors that are never given to flows: epoll, signals, netlink, listeners, the control
/// socket.
inline constexpr std::size_t kReservedDescriptors = 128;
/// Octets of both ways together by which a stream counts as bulk, and may go to a relay: what is
/// shorter ends before the handing over (some twenty system calls) has paid.
inline constexpr std::uint64_t kBulkStream = std::uint64_t{1024} * 1024;
/// Streams that one relay has at one time; the others stay where they are.
inline constexpr std::size_t kMaxRelayedStreams = 16384;
/// Relays that are there for their descriptors: at the hard limit of 4,096 that a kernel has by
/// itself each is good for 1,856 flows more, and costs some 70 KB.
inline constexpr std::size_t kMaxRelaysForFlows = 4;
/// TCP flows whose host side is still connecting. At most a quarter of all flows.
inline constexpr std::size_t kMaxHalfOpen = 4096;
/// The same to one destination address, so that one black hole does not use up the room of others.
inline constexpr std::size_t kMaxHalfOpenPerAddress = 256;
/// UDP mappings: guest endpoints, each with a socket of the host.
inline constexpr std::size_t kMaxUdpAssociations = 8192;
/// UDP flows: pairs of a guest endpoint and a remote one that may answer it.
inline constexpr std::size_t kMaxUdpFlows = 32768;
/// Guest source ports with DNS queries in flight (gvisor-tap-vsock used up the host's ports here).
inline constexpr std::size_t kMaxDnsQueries = 512;
/// Questions of our own on their way to upstreams: the guest's, and two for each name being
/// dialled.
inline constexpr std::size_t kMaxUpstreamQueries = 1536;
/// Names that are looked up at once for flows that dial them; flows to one name share a look-up.
inline constexpr std::size_t kMaxNameLookups = 512;
/// Flows that wait for such a look-up.
inline constexpr std::size_t kMaxLookupWaiters = 8192;
/// Upstream answers that come over TCP because they were too large, each with a buffer of 64 KiB.
inline constexpr std::size_t kMaxUpstreamStreams = 16;
/// A guest's connections to the resolver (RFC 7766), each with a buffer of 64 KiB.
inline constexpr std::size_t kMaxDnsStreams = 64;
/// Names that have an address of the pool; a /15 has twice as many.
inline constexpr std::size_t kMaxPooledNames = 65536;
/// Pin mode: addresses that were answers, and the names that share one of them.
inline constexpr std::size_t kMaxPinnedAddresses = 16384;
inline constexpr std::size_t kMaxNamesPerAddress = 16;
/// Addresses of one family that are tried for a name. More would be tried too late to help: at the
/// stagger of RFC 8305 the last of sixteen begins after four seconds.
inline constexpr std::size_t kMaxDialledAddresses = 8;
/// Dials of one flow by name that are under way together, and those of all flows beyond each one's
/// first.
inline constexpr std::size_t kMaxAttempts = 6;
inline constexpr std::size_t kMaxExtraAttempts = 512;
/// A chain of aliases (CNAME) longer than this is a mistake or a trap.
inline constexpr std::size_t kMaxAliases = 8;
/// Label octets of names under one wildcard that may be asked for in a minute: what a guest could
/// write to whoever serves that suffix.
inline constexpr std::size_t kWildcardOctetsPerMinute = 4096;
/// Names that are counted for that at one time, under all wildcards together.
inline constexpr std::size_t kMaxBudgetedNames = 16384;
inline constexpr std::size_t kMaxBudgetedSuffixes = 1024;
/// Datagrams that wait until the name they are for is looked up: of all flows, of one, and how long
/// one may be.
inline constexpr std::size_t kMaxHeldDatagrams = 64;
inline constexpr std::size_t kMaxHeldPerFlow = 4;
inline constexpr std::size_t kMaxHeldOctets = 2048;
/// Flows of datagrams by name, of UDP and of echo each, that have had no answer yet and have other
/// addresses to turn to.
inline constexpr std::size_t kMaxNamedTrials = 256;
/// Flows that wait for a person's answer. More at once is a scan.
inline constexpr std::size_t kMaxAsked = 128;
/// Packets that wait until the process that sent them is known. What has no room passes.
inline constexpr std::size_t kMaxIntroductions = 64;
/// Flows that wait so for the sake of a log: each about a millisecond, which a program that opens
/// hundreds a second should not pay for a name.
inline constexpr std::uint32_t kIntroductionsPerSecond = 50;
/// ICMP echo identifiers in use.
inline constexpr std::size_t kMaxEchoFlows = 256;
/// Reassembly (RFC 8200 section 4.5, RFC 1122 section 3.3.2; FragmentSmack is why they are small).
inline constexpr std::size_t kReassemblyDatagrams = 64;
inline constexpr std::size_t kReassemblyFragments = 64;  // of one datagram
inline constexpr std::size_t kReassemblyBytes = std::size_t{1024} * 1024;
/// New flows to one destination address: above what a client that reconnects as fast as it can gets
/// done, so that it only stops loops and floods. The room on the host is bounded by the table's
/// size and by the dials under way, not by this.
inline constexpr std::uint32_t kNewFlowsPerSecond = 30000;
inline constexpr std::uint32_t kNewFlowsBurst = 30000;
/// ICMP errors to the guest (RFC 4443 section 2.4 f).
inline constexpr std::uint32_t kIcmpErrorsPerSecond = 100;
inline constexpr std::uint32_t kIcmpErrorsBurst = 50;
/// Extension headers of one IPv6 packet, and their octets (RFC 8504 section 5.3).
inline constexpr std::size_t kMaxExtensionHeaders = 16;
inline constexpr std::size_t kMaxExtensionOctets = 512;
/// Frames taken from the tap in one turn of the loop, so that a flood does not starve sockets and
/// timers.
inline constexpr std::size_t kFramesPerTurn = 64;

}  // namespace cordon
