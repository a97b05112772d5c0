// TCP. The handshake is decided here; the stream runs in the kernel.
//
// Outbound
//   SYN from the tap -> admission -> dial: the host's connect() is under way, the guest waits
//     refused      -> RST; unreachable -> ICMP; out of resources -> silence, the guest repeats its
//     SYN connected    -> the FIB is asked again, then a socket that stands for the remote is
//     adopted in the
//                     guest's namespace (seams/guest_sockets.h) and the SYN-ACK goes to the tap
//   an address of the name pool -> its name is judged, looked up on the host's side, and dialled
//                     wherever it leads (tcp/named_dials.h); the rest is the same
// Inbound (published ports)
//   the host's listener accepted -> admission -> a socket in the guest's namespace connects to the
//   guest from the client's own address -> connected: the stream; refused: the client gets a reset
// Stream
//   octets move between the two sockets until both halves are closed. FIN maps to FIN, RST to RST,
//   and neither end ever sees a clean end that the other did not mean: both sockets linger at 0
//   until the orderly close.
//   A flow by name, and one whose rule needs TLS, has its guest's octets looked at before they go
//   on (names/first_flight.h): they are peeked at, and exactly what was judged moves. What is
//   refused is answered in the guest's own protocol, and the host's side is reset. Once nothing is
//   left to judge the stream is like every other. Budgets (flow/budgets.h) bound what moves in one
//   go.
//
//   A stream that has turned bulk, or that rests while descriptors are scarce, and that nothing is
//   left to be judged or counted of, is handed over to a relay where there are some
//   (seams/relays.h, tcp_relayed.cc). Its flow stays in the table, and is revoked, listed and
//   replaced like every other.
//
// No segment but a SYN comes by the tap: the steering in the guest's namespace keeps the others
// inside. A flow therefore lives from its SYN until both sockets are closed, and there is no
// TIME-WAIT of ours.
//
// A SYN for a flow that is there already: the same sequence number is a retransmission (ignored
// while dialling, answered with the same SYN-ACK later); another one means that the guest's end of
// the old connection is gone, so the old flow is reset and the new one begins.
//
// DNS over TCP ends here, whatever address the guest dialled: adopted at once, its messages are the
// resolver's (tcp/dns_streams.h).
//
// Not done here: any TCP machinery. Windows, retransmission, keep-alive towards the guest, urgent
// data, path MTU are the two kernel sockets' own.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "netstack/flow/context.h"
#include "netstack/flow/descriptor_share.h"
#include "netstack/flow/table.h"
#include "netstack/flow/timeouts.h"
#include "netstack/names/first_flight.h"
#include "netstack/seams/relays.h"
#include "netstack/tcp/dns_streams.h"
#include "netstack/tcp/handshake.h"
#include "netstack/tcp/named_dials.h"

namespace cordon {

class TcpFlows final : private LookupWaiters, private DnsStreamAnswers {
 public:
  TcpFlows(const FlowContext& context, NameLookups& lookups, Resolver& resolver,
           TcpCapacity capacity);

  /// A segment from the tap.
  void on_segment(Instant now, const IpPacket& packet, const TcpSegment& segment);
  /// A connection to a published port that leads to `guest_port` and is for `sources`.
  void on_accepted(Instant now, const AcceptedStream& accepted, std::uint16_t guest_port,
                   std::span<const Prefix> sources);
  /// kTcpHost, kTcpAttempt and kTcpGuest.
  void on_socket(Instant now, const SocketOwner& owner, const Readiness& readiness);

  [[nodiscard]] Instant next_deadline() const;
  void on_deadline(Instant now);

  /// Judges up to `budget` flows again, from slot `cursor` on; those that no longer pass are reset.
  /// With `is_address_lost`, also those whose address the host no longer has. Returns the next
  /// cursor, or nothing when the table is through.
  std::optional<std::uint32_t> rejudge(Instant now, std::uint32_t cursor, std::size_t budget,
                                       bool is_address_lost);
  /// Lists up to `budget` flows (Events::listed), from slot `cursor` on. Returns the next cursor,
  /// or nothing when the table is through.
  std::optional<std::uint32_t> list(std::uint32_t cursor, std::size_t budget);

  /// A relay is done with a stream.
  void on_relayed(Instant now, const RelayNews& news);
  /// Counts what relays have moved so far, before the limits change.
  void count_all_relayed();

  /// The supervisor has told denial `id`: the answer that waited for it goes.
  void on_denial_told(std::uint32_t id);

  [[nodiscard]] std::size_t size() const { return table_.size(); }

 private:
  enum class State : std::uint8_t {
    kDialling,
    kConnected,
    kGuestDialling,
    kStream,
    kRelayed,
    kRefused,
    kDns,
  };
  enum List : std::uint8_t {
    kListDialling,
    kListAwaitingSocket,
    kListGuestDialling,
    kListYoung,  // streams that are not settled
    kListStream,
    kListStays,  // streams that rest, and that no relay may have
    kListHalfClosed,
    kListRelayed,
    kListRefused,
    kListDns,
    kLists,
  };
  struct Flow {
    State state = State::kDialling;
    Direction direction = Direction::kOutbound;
    std::int16_t dns = -1;         // the place in dns_ of a connection to the resolver
    bool is_settled = false;       // lived long enough for a keep-alive
    bool is_named = false;         // dialling by name: the rest is in named_
    bool is_answered = false;      // by name, and a person has said yes
    bool is_queued = false;        // in ready_
    bool is_for_loopback = false;  // inbound: the guest listens on its loopback only
    bool is_counted = false;       // in the budget of `account`
    bool is_paced = false;         // in paced_
    bool is_limit_reported = false;
    std::uint8_t answer = 0;        // kRefused: which of answers_, plus one
    std::uint8_t socket_tries = 0;  // for a socket in the guest's namespace
    bool is_returning = false;      // kRelayed: asked for
    RelayPlace relay;               // kRelayed
    std::optional<Endpoint> local;  // kRelayed: the host's
    Stream stream;
    SynRecord syn;
    std::optional<AllowedDestination> destination;  // inbound: the client
    FirstFlight flight;
    Instant undecided_until = kNever;
    BudgetAccount account;
    std::uint32_t id = 0;
  };
  // What a guest is told whose first flight was refused, until it has been sent.
  struct Answer {
    FlowId flow;
    std::uint32_t denial = 0;
    Instant until = kNever;  // and not before on_denial_told(); kNever: the server answers first
    std::uint16_t size = 0;  // 0: free
    std::array<std::uint8_t, kLongestFlightRefusal> octets{};
  };
  static_assert(sizeof(Flow) + sizeof(FlowKey) <= 512);
  using Table = FlowTable<FlowKey, Flow, kLists>;

  bool on_repeated_syn(Instant now, FlowId id, const TcpSegment& segment);
  void open(Instant now, const FlowKey& key, const TcpSegment& segment);
  bool has_room_to_dial(Instant now, const IpAddress& address);
  bool has_room_to_dial_guest(Instant now);
  bool make_room(Instant now);
  /// Flows whose sockets are with us, or on their way back.
  [[nodiscard]] std::size_t held() const {
    return table_.size() - table_.size_of(kListRelayed) + returning_;
  }
  void dial(Instant now, FlowId id, const AllowedDestination& destination);
  void open_named(Instant now, const FlowKey& key, const TcpSegment& segment);
  std::optional<FlowId> insert_dialling(Instant now, const FlowKey& key, const TcpSegment& segment);
  std::optional<FlowId> insert(Instant now, const FlowKey& key, const TcpSegment& segment,
                               List list);
  void open_dns(Instant now, const FlowKey& key, const TcpSegment& segment);
  [[nodiscard]] std::int16_t place_for_dns(Instant now);
  void pump_dns(Instant now, FlowId id);
  void settle_dns(FlowId id, DnsStreams::State state);
  void close_dns(FlowId id);
  void on_dns_answer(Instant now, FlowId id, Bytes message) override;
  void on_lookup(Instant now, FlowId id, const LookupAnswer& answer) override;
  void settle_named(Instant now);
  void named_dial_ended(Instant now, const FinishedDial& dial);
  void dial_failed(Instant now, FlowId id, int error);
  void on_connected(Instant now, FlowId id);
  void connected(Instant now, FlowId id);
  void adopt(Instant now, FlowId id);
  void adoption_failed(Instant now, FlowId id, int error);
  bool may_await_socket(Instant now, FlowId id, int error);
  void dial_guest(Instant now, FlowId id);
  [[nodiscard]] std::uint16_t other_port();
  std::optional<FlowId> present_at_other_port(Instant now, FlowId id);
  void guest_refused(Instant now, FlowId id, int error);
  void begin_inbound(Instant now, FlowId id);
  void begin_stream(Instant now, FlowId id);
  void settle(Instant now, FlowId id);
  void send_syn_ack(const FlowKey& key, const SynRecord& syn);
  void refuse(Instant now, const FlowKey& key, Seq irs, const Judgement& judgement);
  void answer_errno(Instant now, const FlowKey& key, Seq irs, int error);
  void on_stream(Instant now, FlowId id, bool is_host, const Readiness& readiness);
  void pump(Instant now, FlowId id, bool is_up);
  bool pump_piece(Instant now, FlowId id, bool is_up, std::size_t most);
  bool after_transfer(Instant now, FlowId id, bool is_up, const Transfer& transfer);
  void half_ended(Instant now, FlowId id, bool is_up);
  void queue(FlowId id);
  void pump_queued(Instant now);
  void wake_paced();
  /// How many octets a half may take from its source; nullopt: none before something else happens.
  std::optional<std::size_t> may_move(Instant now, FlowId id, bool is_up);
  std::optional<std::size_t> judged_octets(Instant now, FlowId id, bool is_up);
  std::optional<std::size_t> budget_octets(Instant now, FlowId id, bool is_up, std::size_t most);
  std::optional<std::size_t> at_limit(Instant now, FlowId id, bool is_up);
  void pace(FlowId id, Instant again);
  bool join_budget(Instant now, FlowId id);
  void leave_budget(FlowId id);
  /// The rule that allows the flow may be another one by now.
  void renew(FlowId id, const AllowedDestination& destination);
  [[nodiscard]] bool is_time_over(const Flow& flow) const;
  [[nodiscard]] FirstFlight first_flight_of(const Flow& flow) const;
  std::optional<std::size_t> look(Instant now, FlowId id, bool is_up);
  void await_decision(Instant now, FlowId id);
  std::optional<std::size_t> refuse_flight(Instant now, FlowId id, FlightFault fault,
                                           const DnsName* named, bool owes_answer);
  Answer* begin_refusal(Instant now, FlowId id, std::uint32_t denial);
  void answer_once_told(Instant now, FlowId id, bool is_waited_for);
  /// Ends a stream; its guest hears of it once the denial has been told.
  void refuse_stream(Instant now, FlowId id, Judgement denied);
  [[nodiscard]] Answer* free_answer();
  void write_answer(Answer& answer, const Flow& flow, FlightFault fault, const Judgement& denied);
  void on_refused(Instant now, FlowId id, bool is_host, const Readiness& readiness);
  void send_answer(Instant now, FlowId id);
  void send_due_answers(Instant now);
  void discard(FlowId id);
  [[nodiscard]] bool is_for_relays(const Flow& flow) const;
  /// True where the stream is a relay's from here on, or has ended. `readiness`: of the host's
  /// socket or the guest's.
  bool hand_over(Instant now, FlowId id, bool is_host, const Readiness& readiness);
  /// Of the streams that are with us the one that has rested longest; false: there is none, or no
  /// relay for it.
  bool hand_over_resting(Instant now);
  /// There may be no room for it: then it ends.
  void take_back(Instant now, FlowId id);
  void end_relayed(FlowId id);
  void look_at_relayed(Instant now, FlowId id);
  /// One that has been idle for longer than a flow is kept for; false: there is none.
  bool end_idle_relayed(Instant now);
  /// Brings the flow's counts, and its budget's, up to date.
  void count_relayed(FlowId id);
  void count_relayed(Flow& flow, std::uint64_t up, std::uint64_t down);
  [[nodiscard]] std::optional<Endpoint> local_of(const Flow& flow) const;
  [[nodiscard]] Judgement rejudge_one(Instant now, FlowId id) const;
  /// The policy no longer lets the flow be: its end, told to the guest where it still waits.
  void revoke(Instant now, FlowId id, const Judgement& judgement);
  /// Resets what is open, gives everything back and forgets the flow.
  void end(FlowId id, FlowEnd how);
  [[nodiscard]] FlowReport describe(FlowId id);
  void report(FlowId id, std::optional<FlowEnd> end);

  FlowContext context_;
  std::uint64_t bulk_;  // octets of a stream that a relay may have; without relays there is none
  Table table_;
  std::size_t max_held_;
  std::size_t returning_ = 0;  // of those that relays have
  std::size_t max_half_open_;
  NamedDials named_;
  DnsStreams dns_;
  SipKey sequence_key_;
  std::vector<FlowId> ready_;
  std::vector<FlowId> pumping_;
  std::vector<FlowId> paced_;  // wait for a rate
  Instant paced_until_ = kNever;
  std::vector<std::uint8_t> seen_;  // what was peeked at
  std::array<Answer, 16> answers_{};
  std::size_t answers_used_ = 0;
  std::uint32_t last_id_ = 0;
  TokenBucket steering_{1, 1};  // how often it is put back
};

}  // namespace cordon
