// Datagrams that wait until the name they are for is looked up: what a guest sends first is often
// all that it sends, so it is kept and not lost. A few for each flow, in the order in which they
// came, in slots that are there from the start; what has no room is lost, as datagrams may be.
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
    FlowId flow;
    SendFields fields;
    std::size_t size = 0;
    std::array<std::uint8_t, kMaxHeldOctets> octets{};

    [[nodiscard]] Bytes payload() const { return Bytes(octets).first(size); }
  };

  HeldDatagrams() : slots_(std::make_unique<Slots>()) {}

  /// False where there is no room.
  [[nodiscard]] bool hold(FlowId flow, const SendFields& fields, Bytes payload);
  /// The flow's first datagram, or nullptr. It stays until drop_first().
  [[nodiscard]] const Datagram* first(FlowId flow) const;
  void drop_first(FlowId flow);
  void drop_all(FlowId flow);

 private:
  using Slots = std::array<Datagram, kMaxHeldDatagrams>;

  std::unique_ptr<Slots> slots_;
  std::uint64_t last_order_ = 0;
};

}  // namespace cordon
