// The resolver inside: every packet of the guest to port 53, whatever its destination, UDP or TCP,
// ends here.
//
//   a local name (names/local_names.h)     answered out of our own head
//   PTR of an address that stands for a name, or was answered with one
//                                          that name, out of our own head
//   a name that nothing may lead to        NXDOMAIN with EDE 17 (RFC 8914), and no packet to
//   anybody
//                                          (REFUSED or SERVFAIL would make a client ask elsewhere)
//   a refused name, completed with a search domain (stubs do that when they hear NXDOMAIN)
//                                          the same, unless a rule is for the completed name: who
//                                          was refused is told to nobody in this form either
//   a name that only an answered question could lead to
//                                          its addresses of the pool, and no packet to anybody yet
//
// What is left is asked of the host's upstreams (names/upstream_queries.h), and answered by mode:
//
//   map    A and AAAA: the name's addresses of the pool (flow/name_pool.h) if it has any address at
//          all; a name that does not exist stays one
//   pin    A and AAAA: the addresses themselves, which are remembered with the name
//          (flow/name_pins.h); those that no name leads to, the loopback's say, are left out
//   both   other types where a rule lists them, or what is public is allowed anyway: their records
//          and nothing else of the response. All others, and HTTPS and SVCB with their keys and
//          hints always, have no data, which is told of those that a rule could list. Names under a
//          wildcard have a budget (names/wildcard_budgets.h); past it NXDOMAIN
//   open   the response, passed back as it is, any type
//   off    nobody answers: port unreachable
//
// A query upstream is rebuilt, never relayed. Where names are enforced nothing of a response
// reaches the guest but addresses and the records that were asked for.
#pragma once

#include <array>
#include <vector>

#include "netstack/flow/context.h"
#include "netstack/flow/key.h"
#include "netstack/flow/table.h"
#include "netstack/names/dns_message.h"
#include "netstack/names/gathered_replies.h"
#include "netstack/names/local_names.h"
#include "netstack/names/upstream_queries.h"
#include "netstack/names/wildcard_budgets.h"
#include "netstack/wire/udp.h"

namespace cordon {

/// The guest's connections to the resolver (tcp/dns_streams.h).
class DnsStreamAnswers {
 public:
  virtual ~DnsStreamAnswers() = default;
  /// A whole message for connection `stream`, to be sent with its length in front.
  virtual void on_dns_answer(Instant now, FlowId stream, Bytes message) = 0;
};

class Resolver final : private UpstreamAnswers {
 public:
  Resolver(const FlowContext& context, UpstreamQueries& upstream);

  void on_query(Instant now, const IpPacket& packet, const UdpDatagram& datagram);
  /// A message that came by TCP. Its answer comes from within, or later (true).
  [[nodiscard]] bool on_stream_query(Instant now, FlowId stream, const Endpoint& guest,
                                     const Endpoint& resolver, Bytes message);
  void stream_answers_go_to(DnsStreamAnswers& who) { streams_ = &who; }

  /// At once where replies of this turn are gathered (names/gathered_replies.h).
  [[nodiscard]] Instant next_deadline() const { return replies_.is_empty() ? kNever : Instant{}; }
  void on_deadline() { replies_.let_go(context_.link); }

  [[nodiscard]] std::size_t in_flight() const { return queries_.size(); }

 private:
  /// Who asked, and whom.
  struct Client {
    Endpoint guest;
    Endpoint resolver;
    std::optional<FlowId> stream;  // none: UDP
  };
  struct Key {
    Endpoint guest;
    std::uint16_t id = 0;
    bool is_stream = false;
    [[nodiscard]] std::uint64_t hash(const SipKey& key) const;
    friend bool operator==(const Key&, const Key&) = default;
  };
  /// What becomes of the upstreams' answer.
  enum class Purpose : std::uint8_t { kPass, kMap, kPin, kRecords };
  struct Query {
    Client client;
    DnsQuery asked;
    Purpose purpose = Purpose::kPass;
    Family family = Family::kIpv4;  // kMap: that was asked upstream; kPin: of the question
  };
  // Names that were refused lately: a client asks for A and AAAA, and again.
  struct Refused {
    std::uint64_t name = 0;
    Instant told_until{};  // not told once more before
    Instant last{};
  };

  void on_message(Instant now, const Client& client, Bytes message);
  void resolve(Instant now, const Client& client, const DnsQuery& query);
  void resolve_enforced(Instant now, const Client& client, const DnsQuery& query,
                        const Verdict& verdict);
  void resolve_addresses(Instant now, const Client& client, const DnsQuery& query,
                         const Verdict& verdict);
  [[nodiscard]] const DnsName* pointer_target(const DnsName& name) const;
  /// Whether the question is a name that was refused a moment ago, with a search domain behind it.
  [[nodiscard]] bool completes_refused(Instant now, const DnsName& name) const;
  [[nodiscard]] bool has_budget(Instant now, const DnsName& name, const Verdict& verdict);
  /// A type of record that no rule lists: whether the question goes on all the same.
  [[nodiscard]] bool passes_unlisted(Instant now, const Client& client, const DnsQuery& query);
  void refuse(Instant now, const Client& client, const DnsQuery& query, const Verdict& verdict);
  /// `is_told`: the denial is told first, and the reply waits for it.
  void refuse_with(Instant now, const Client& client, const DnsQuery& query, const Verdict& verdict,
                   const DnsReply& reply, bool is_told);
  /// Under report mode.
  void report(const Client& client, const DnsQuery& query, const Verdict& verdict);
  /// `name` outlives the result.
  [[nodiscard]] static Judgement judgement_of(const Client& client, const DnsName& name,
                                              const Verdict& verdict);
  [[nodiscard]] static IpHeaderFields reply_header(const Client& client);
  [[nodiscard]] std::uint64_t key_of(const DnsName& name, std::uint16_t type) const;
  /// Notes a refusal, of the name or of one `type` of its records. Whether it is to be told now,
  /// and not once more in a short while.
  [[nodiscard]] bool is_to_be_told(Instant now, const DnsName& name, std::uint16_t type = 0);
  void ask_upstream(Instant now, const Client& client, const DnsQuery& query, Purpose purpose);
  [[nodiscard]] bool send(Instant now, FlowId id);

  void on_upstream_answer(Instant now, const QueryKey& key, Bytes response) override;
  void on_mapped(Instant now, FlowId id, Bytes response);
  void on_pinned(Instant now, const Query& query, Bytes response);
  void on_records(Instant now, const Query& query, Bytes response);
  void tell_records(const Query& query, bool has_data);
  void pass_back(Instant now, const Query& query, Bytes response);

  /// The name in the pool, reported where it is new there; nullopt: the pool is full.
  std::optional<PooledName> give_name(const Client& client, const DnsQuery& query);
  void answer_from_pool(Instant now, const Client& client, const DnsQuery& query);
  void answer(Instant now, const Client& client, const DnsQuery& query, const DnsReply& answer);
  void reply(Instant now, const Client& client, Bytes message);
  [[nodiscard]] MutableBytes room_for(const Client& client, const DnsQuery& query);
  void end(FlowId id);

  FlowContext context_;
  UpstreamQueries& upstream_;
  LocalNames local_;
  WildcardBudgets budgets_;
  FlowTable<Key, Query, 1> queries_;
  std::uint64_t asked_ = 0;  // questions that upstreams were asked
  DnsStreamAnswers* streams_ = nullptr;
  std::vector<std::uint8_t> scratch_;  // the longest message
  GatheredReplies replies_;
  SipKey name_key_;
  std::array<Refused, 32> refused_{};
  std::size_t next_refused_ = 0;
  std::array<std::uint64_t, 256> told_records_{};  // each at a place of its own
};

}  // namespace cordon
