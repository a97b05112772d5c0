// Flows that wait for a person's answer (Action::kAsk).
//
// What waits is the flow's first packet, whole, beside the refusal that the flow would get. When
// the answer is yes the packet is dispatched once more, as if it came now; everything that it leads
// to is judged with Request::is_answered. When it is no, or nobody answers within kAskPatience, the
// refusal goes out and is reported as a denial. A guest that repeats itself meanwhile (a SYN, a
// query) is not asked about again: the packet that waits stands for all.
//
// So there is no state of its own for this in any protocol: a flow begins when it may.
//
// All memory is reserved at construction and touched only as it comes into use.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "netstack/base/time.h"
#include "netstack/flow/limits.h"
#include "netstack/policy/policy.h"
#include "netstack/seams/events.h"

namespace cordon {

class Asking {
 public:
  explicit Asking(Events& events);

  /// The longest packet that can wait: what an Ethernet frame of the usual MTU holds.
  static constexpr std::size_t kMaxPacket = 1500;
  static constexpr std::size_t kMaxReply = 1280;

  /// Asks about the flow that `packet`, a whole IP packet, would begin; `reply` is what refuses it.
  /// False where nobody can be asked: it is denied now.
  [[nodiscard]] bool hold(Instant now, const Request& request, const Verdict& verdict, Bytes packet,
                          Bytes reply);

  struct Settled {
    Request request;
    Verdict verdict;
    Bytes packet;  // until the next call of hold()
    Bytes reply;   // likewise
  };
  /// The question has an answer, and waits no more; nullopt where there is none of that number.
  [[nodiscard]] std::optional<Settled> settle(std::uint32_t id);
  /// One whose time is over, if there is any.
  [[nodiscard]] std::optional<Settled> expire(Instant now);
  [[nodiscard]] Instant next_deadline() const { return next_deadline_; }

  [[nodiscard]] std::size_t size() const { return waiting_; }

 private:
  struct Held {
    Request request;
    Verdict verdict;
    std::uint16_t packet_size;
    std::uint16_t reply_size;
    std::array<std::uint8_t, kMaxPacket> packet;
    std::array<std::uint8_t, kMaxReply> reply;
  };
  struct Slot {
    std::uint32_t id = 0;  // 0: free
    Instant until{};
  };

  [[nodiscard]] bool is_waiting(const Request& request) const;
  Settled release(std::size_t slot);

  Events& events_;
  std::array<Slot, kMaxAsked> slots_{};
  std::unique_ptr<Held[]> held_;
  std::size_t waiting_ = 0;
  Instant next_deadline_ = kNever;
  std::uint32_t last_id_ = 0;
};

}  // namespace cordon
