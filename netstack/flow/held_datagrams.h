// Datagrams that wait until the name they are for is looked up: what a guest sends first is often
// all that it sends, so it is kept and not lost. One that has gone out to an address that may not
// be the right one is kept too (flow/named_trials.h), for as long as nobody else needs its room. A
// few for each flow, in the order in which they came, in slots that are there from the start; what
// has no room is lost, as datagrams may be.
#pragma once

#include <array>
#include <memory>

#include "netstack/base/bytes.h"
#include "netstack/flow/limits.h"
#include "netstack/flow/table.h"
#include "netstack/seams/host_sockets.h"

namespace cordon {

class HeldDatagrams {
 public:
  struct Datagram {
    std::uint64_t order = 0;  // 0: free
    bool is_sent = false;
    bool is_counted = false;  // against budgets
    FlowId flow;
    SendFields fields;
    std::size_t size = 0;
    std::array<std::uint8_t, kMaxHeldOctets> octets{};

    [[nodiscard]] Bytes payload() const { return Bytes(octets).first(size); }
  };

  HeldDatagrams() : slots_(std::make_unique<Slots>()) {}

  /// False where there is no room.
  [[nodiscard]] bool hold(FlowId flow, const SendFields& fields, Bytes payload);
  /// The flow's first datagram, or nullptr.
  [[nodiscard]] const Datagram* first(FlowId flow) const;
  /// The flow's first datagram that has not been sent, or nullptr. It stays until drop().
  [[nodiscard]] Datagram* first_unsent(FlowId flow);
  static void drop(Datagram& datagram) { datagram.order = 0; }
  /// What was sent is to be sent again.
  void rewind(FlowId flow);
  void drop_all(FlowId flow);

 private:
  using Slots = std::array<Datagram, kMaxHeldDatagrams>;
  [[nodiscard]] Datagram* find_first(FlowId flow, bool is_sent_too) const;

  std::unique_ptr<Slots> slots_;
  std::uint64_t last_order_ = 0;
};

}  // namespace cordon
