// Flows of datagrams by name that have not had an answer yet: whether their address is the right
// one nobody knows. Where the host says that it cannot be reached, or somebody on the way or at its
// end does (no route, unreachable, refused, prohibited), the flow turns to the name's next address,
// and what it has sent goes out once more (flow/held_datagrams.h). The guest hears of the error of
// the last address only. The order is that of RFC 8305 section 4, families in turn; there is no
// stagger, because without an answer there is nothing to race for, and silence is no error.
//
//   begin      an address has been chosen, and there are others, or the other family's may come
//   go_on      sends what is held; where the address fails, to the next one
//   end        an answer has come, or the flow is over
//
// A flow has a place here while it needs one; where there is none, the oldest one's goes to the new
// flow, and the old one keeps the address that it has.
#pragma once

#include <array>
#include <memory>
#include <span>

#include "netstack/flow/context.h"
#include "netstack/flow/held_datagrams.h"

namespace cordon {

/// Whose flows they are.
class TrialFlows {
 public:
  virtual ~TrialFlows() = default;
  /// The flow's datagrams go to `destination` from now on. 0, or the errno of a host that cannot;
  /// the flow may have ended then.
  virtual int turn_to(Instant now, FlowId flow, const AllowedDestination& destination) = 0;
  [[nodiscard]] virtual bool is_alive(FlowId flow) const = 0;
  /// 0: it has gone, or nobody will ever send it. Else the errno of an address out of reach.
  virtual int send_held(Instant now, FlowId flow, HeldDatagrams::Datagram& datagram) = 0;
  /// No address is left; `error` is the last one's.
  virtual void give_up(Instant now, FlowId flow, int error) = 0;
};

/// Whether an errno speaks of the address, not of the datagram or of this host's room.
[[nodiscard]] bool is_out_of_reach(int error, Family family);

class NamedTrials {
 public:
  /// Every flow's own: where its trial is.
  struct Place {
    std::int16_t index = -1;
    [[nodiscard]] bool is_none() const { return index < 0; }
  };

  NamedTrials(const FlowContext& context, TrialFlows& flows);

  [[nodiscard]] HeldDatagrams& held() { return held_; }

  /// `chosen` is one of `addresses`, one family's; `awaits_other`: the other one's may come.
  [[nodiscard]] Place begin(FlowId flow, const Request& by_name, const IpAddress& chosen,
                            std::span<const IpAddress> addresses, bool awaits_other);
  /// The other family's addresses.
  void add_other(Instant now, Place place, FlowId flow, std::span<const IpAddress> addresses);
  [[nodiscard]] bool awaits_other(Place place, FlowId flow) const;
  /// Nothing is to be sent: the flow waits for the other family's addresses.
  [[nodiscard]] bool is_waiting(Place place, FlowId flow) const;

  /// Sends what is held; `error` (not 0): what the flow's address has come to meanwhile.
  void go_on(Instant now, Place place, FlowId flow, int error);
  /// An error came for the flow. False: it is the guest's to hear. True: settle() goes on once the
  /// socket is done with.
  [[nodiscard]] bool take_error(Place place, FlowId flow, const DatagramError& error);
  void settle(Instant now, Place place, FlowId flow);

  void end(Place place, FlowId flow);

 private:
  struct Candidates {
    std::array<IpAddress, kMaxDialledAddresses> addresses;
    std::size_t count = 0;
    std::size_t used = 0;
  };
  struct Trial {
    std::uint64_t order = 0;  // 0: free
    FlowId flow;
    Request by_name;
    std::array<Candidates, 2> candidates;  // of the first address's family, and of the other
    bool is_other_next = true;
    bool awaits_other = false;
    bool is_waiting = false;
    int failure = 0;
  };
  using Trials = std::array<Trial, kMaxNamedTrials>;

  [[nodiscard]] Trial* at(Place place, FlowId flow) const;
  [[nodiscard]] std::optional<Judgement> next(Trial& trial) const;
  int send_held(Instant now, Place place, FlowId flow);

  FlowContext context_;
  TrialFlows& flows_;
  HeldDatagrams held_;
  std::unique_ptr<Trials> trials_;
  std::uint64_t last_order_ = 0;
};

}  // namespace cordon
