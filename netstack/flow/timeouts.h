// Every timer of the translator, with its source.
#pragma once

#include <chrono>

#include "netstack/base/time.h"

namespace cordon {

/// TCP with no end in sight: RFC 5382 REQ-5 asks for at least 2 h 4 min; the keep-alive below finds
/// the dead ones, this only bounds what even the kernel has forgotten.
inline constexpr Duration kTcpEstablishedIdle = std::chrono::hours(24);
/// A stream gets its keep-alive when it has lived this long: eight system calls that most
/// connections, a request and its answer, end without.
inline constexpr Duration kTcpYoung = std::chrono::seconds(2);
/// RFC 5382 REQ-5: an established flow idle for less is never taken away for a new one.
inline constexpr Duration kTcpEstablishedMinIdle = std::chrono::seconds(7440);
/// A stream that a relay moves is looked at this often: whether it has been idle for too long is
/// known as exactly as that.
inline constexpr Duration kRelayLook = std::chrono::minutes(10);
/// Keep-alive probing of the host side (RFC 9293 section 3.8.4: not below two hours).
inline constexpr Duration kTcpKeepAlive = std::chrono::seconds(7200);
/// The same towards the guest, whose kernel answers at once. A guest's socket can go without a
/// word: one that is closed at the very moment of the SYN-ACK drops it (TCP_CLOSE in
/// tcp_rcv_state_process()), and one in FIN-WAIT-2 is forgotten after a while. The probe finds them
/// gone; to a living one it costs a packet on lo.
inline constexpr Duration kTcpGuestKeepAlive = std::chrono::seconds(30);
/// A dial that nobody answers: past the guest's own six SYN retries.
inline constexpr Duration kTcpDial = std::chrono::seconds(130);
/// Half-closed or otherwise transitory (RFC 5382 REQ-5, RFC 7857).
inline constexpr Duration kTcpTransitory = std::chrono::seconds(240);
/// An inbound connection whose guest does not answer (RFC 5382 REQ-4).
inline constexpr Duration kInboundSyn = std::chrono::seconds(6);
/// Octets of a first flight that may or may not become a request are held for so long: a client's
/// kernel is this host's own, and hands over what was written in one go within microseconds.
inline constexpr Duration kUndecidedFlight = std::chrono::milliseconds(200);
/// What a guest gets to read the refusal of its first flight and to say its own end, and a server
/// to finish the answers that it owes.
inline constexpr Duration kTcpRefused = std::chrono::seconds(5);
/// UDP (RFC 4787 REQ-5: five minutes recommended, well-known ports may be shorter).
inline constexpr Duration kUdpIdle = std::chrono::seconds(300);
inline constexpr Duration kUdpWellKnownIdle = std::chrono::seconds(120);
/// A DNS query that no upstream answered, all retries included.
inline constexpr Duration kDnsQuery = std::chrono::seconds(10);
/// The next upstream is asked after this long.
inline constexpr Duration kDnsFailover = std::chrono::milliseconds(1500);
/// An upstream that is asked over TCP: dial, question and answer.
inline constexpr Duration kDnsStream = std::chrono::seconds(3);
/// A guest's idle connection to the resolver (RFC 7766 section 6.2.3: a few seconds).
inline constexpr Duration kDnsStreamIdle = std::chrono::seconds(20);
/// The next address of a name is dialled beside the first (RFC 8305 section 5).
inline constexpr Duration kConnectionAttemptDelay = std::chrono::milliseconds(250);
/// An answer of the other family waits this long for that of the preferred one (RFC 8305
/// section 3).
inline constexpr Duration kResolutionDelay = std::chrono::milliseconds(50);
/// A name and the address it was answered with belong together at least this long.
inline constexpr Duration kNamePin = std::chrono::hours(1);
/// What "a minute" is for wildcard budgets.
inline constexpr Duration kWildcardWindow = std::chrono::seconds(60);
/// A flow waits this long for a person's answer (policy.md section 2): long enough to read a line
/// and decide, shorter than most programs' patience.
inline constexpr Duration kAskPatience = std::chrono::seconds(30);
/// A flow that begins while its run is learned from waits this long for the supervisor to look its
/// process up: a look takes up to 20 ms, and a few flows begin at once. Shorter than any guest's
/// own patience (RFC 6298 section 2: a SYN is repeated after a second).
inline constexpr Duration kIntroduction = std::chrono::milliseconds(250);
/// ICMP echo (RFC 5508 REQ-2).
inline constexpr Duration kEchoIdle = std::chrono::seconds(60);
/// Reassembly (RFC 1122 section 3.3.2, RFC 8200 section 4.5).
inline constexpr Duration kReassemblyTimeout = std::chrono::seconds(60);
/// A flow whose host address went away is given this long for the address to return (DHCP
/// renewals).
inline constexpr Duration kLostAddressGrace = std::chrono::seconds(5);

}  // namespace cordon
