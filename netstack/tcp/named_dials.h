// Dialling a name over TCP (RFC 8305): the addresses that the host's upstreams give at this moment,
// tried one beside the other until one answers.
//
//   look-up (names/name_lookups.h) -> candidates, the family that the guest dialled first, then by
//   turns -> each judged with the FIB as it is -> dialled; the next one after
//   kConnectionAttemptDelay, or at once when one fails -> the first that connects is judged again
//   and wins, the others are closed
//
// An address that the policy does not let be dialled is left out: the name was rebound, or a rule
// denies where it leads. That is told once a dial. When nothing is left, the dial ends as what
// speaks most for the remote: a refusal before any other errno, an errno before a denial.
//
// The dials' state lies here, in a table beside the flows, because few flows are dialling at one
// time. At most kMaxAttempts sockets a dial, and kMaxExtraAttempts for all dials beyond the first
// of each: a guest that dials black holes uses up its own turns.
//
// A dial that is over waits in take_finished() for its flow; nothing calls back.
#pragma once

#include <array>

#include "netstack/flow/context.h"
#include "netstack/names/name_lookups.h"

namespace cordon {

struct FinishedDial {
  FlowId flow;
  SocketHandle socket;                 // connected; none: the dial failed
  int error = 0;                       // why, or 0: nothing may be dialled
  std::optional<Judgement> judgement;  // of where the socket leads, or why nothing may be dialled
};

class NamedDials {
 public:
  NamedDials(const FlowContext& context, NameLookups& lookups, std::size_t capacity);

  /// `by_name` is Admission::judge_name()'s, allowed. False where there is no room.
  [[nodiscard]] bool begin(Instant now, FlowId flow, const Request& by_name);
  /// The flow has ended, or gives up; nothing where it has no dial.
  void cancel(FlowId flow);

  void on_lookup(Instant now, FlowId flow, const LookupAnswer& answer);
  /// kTcpAttempt.
  void on_socket(Instant now, const SocketOwner& owner, const Readiness& readiness);
  [[nodiscard]] Instant next_deadline() const;
  void on_deadline(Instant now);

  /// The next dial that is over; it is forgotten here. The socket's events still come as those of
  /// an attempt: own() it.
  [[nodiscard]] std::optional<FinishedDial> take_finished();

  [[nodiscard]] std::size_t size() const { return dials_.size(); }

 private:
  struct DialKey {
    FlowId flow;
    [[nodiscard]] std::uint64_t hash(const SipKey& key) const {
      return QueryKey{.of = flow}.hash(key);
    }
    friend bool operator==(const DialKey&, const DialKey&) = default;
  };
  struct Candidates {
    std::array<IpAddress, kMaxDialledAddresses> addresses{};
    std::size_t count = 0;
    std::size_t used = 0;
    bool is_answered = false;
    [[nodiscard]] bool has_more() const { return used < count; }
  };
  struct Attempt {
    SocketHandle socket;
    IpAddress address;
  };
  struct Dial {
    Request by_name;
    std::array<Candidates, 2> candidates{};        // that of the preferred family first
    std::array<Attempt, kMaxAttempts> attempts{};  // a ring: the oldest makes room
    std::size_t attempts_made = 0;
    bool is_second_next = false;  // families take turns
    std::optional<Judgement> denial;
    int error = 0;
    SocketHandle winner;
    std::optional<Judgement> winner_judgement;
  };
  enum List : std::uint8_t { kListQuiet, kListStagger, kListFinished, kLists };

  static std::size_t live_attempts(const Dial& dial);
  [[nodiscard]] static std::optional<IpAddress> next_candidate(Dial& dial);
  [[nodiscard]] bool may_attempt(const Dial& dial) const;
  void go_on(Instant now, FlowId id);
  bool attempt(FlowId id, const AllowedDestination& destination);
  void won(Instant now, FlowId id, std::size_t index);
  void close_attempt(Dial& dial, std::size_t index);

  FlowContext context_;
  NameLookups& lookups_;
  FlowTable<DialKey, Dial, kLists> dials_;
  std::size_t extra_attempts_ = 0;
};

}  // namespace cordon
