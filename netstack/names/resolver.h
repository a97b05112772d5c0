// The resolver inside: every UDP datagram of the guest to port 53, whatever its destination, ends
// here.
//
//   a local name (names/local_names.h)     answered out of our own head
//   names lead nowhere under the policy    NXDOMAIN with EDE 17 (RFC 8914), and no packet to
//   anybody everything else                        asked of the host's upstreams, the answer passed
//   back
//
// A query upstream is our own: a fresh socket, port and id for each (RFC 5452), the name in lower
// case, none of the guest's EDNS options. Its answer must come from the upstream that was asked,
// with that id and that question; anything else is dropped. The upstreams are the host's, asked in
// order from the one that answered last; the next is tried when one refuses, fails, or is silent
// for kDnsFailover. When all have been tried twice, or after kDnsQuery, the guest gets SERVFAIL.
//
// An answer that is larger than the guest takes is truncated; it then asks by TCP, which tcp/
// relays to the same upstreams. Nothing is cached: that is the upstream's work, and TTLs stay true.
#pragma once

#include <array>
#include <span>

#include "netstack/flow/context.h"
#include "netstack/flow/key.h"
#include "netstack/flow/table.h"
#include "netstack/flow/timeouts.h"
#include "netstack/names/dns_message.h"
#include "netstack/names/local_names.h"
#include "netstack/wire/udp.h"

namespace cordon {

class Resolver {
 public:
  explicit Resolver(const FlowContext& context);

  void on_query(Instant now, const IpPacket& packet, const UdpDatagram& datagram);
  /// kDns. True where more may be waiting.
  bool on_socket(Instant now, const SocketOwner& owner);

  [[nodiscard]] Instant next_deadline() const { return queries_.deadline(0, kDnsFailover); }
  void on_deadline(Instant now);

  /// The list is the caller's.
  void set_upstreams(std::span<const Endpoint> upstreams);

  [[nodiscard]] std::size_t in_flight() const { return queries_.size(); }

 private:
  struct Key {
    Endpoint guest;
    std::uint16_t id = 0;
    [[nodiscard]] std::uint64_t hash(const SipKey& key) const;
    friend bool operator==(const Key&, const Key&) = default;
  };
  // The longest query of ours: header, name, type and class, an OPT record.
  static constexpr std::size_t kMaxQuery = kDnsHeaderOctets + kLongestDnsName + 4 + 11;
  struct Query {
    Endpoint resolver;  // whom the guest asked, and who answers it
    DnsQuery asked;
    std::array<std::uint8_t, kMaxQuery> message{};
    std::uint16_t size = 0;
    std::uint16_t upstream = 0;
    std::uint16_t tries = 0;
    SocketHandle socket;
    Instant began{};
  };
  class Inbox;

  void reply(const Endpoint& guest, const Endpoint& resolver, Bytes message);
  void answer(const Endpoint& guest, const Endpoint& resolver, const DnsQuery& query,
              const DnsReply& answer);
  void ask_upstream(Instant now, const Key& key, const Endpoint& resolver, const DnsQuery& query);
  bool send_to_upstream(FlowId id);
  void try_next(Instant now, FlowId id);
  void fail(FlowId id);
  void on_response(Instant now, FlowId id, const ReceivedDatagram& datagram);
  void pass_back(FlowId id, Bytes response);
  void end(FlowId id);

  FlowContext context_;
  LocalNames local_;
  std::span<const Endpoint> upstreams_;
  FlowTable<Key, Query, 1> queries_;
  std::uint16_t preferred_ = 0;  // the upstream that answered last
};

}  // namespace cordon
