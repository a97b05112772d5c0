// Flows that wait until it is known whose they are: all of them while a run is learned from, some
// where a log or somebody else reads of flows.
//
// The supervisor finds a flow's process by its socket, and a process that lives for a few
// milliseconds has gone by the time that it is looked for. So the packet that would begin a flow
// waits: the supervisor is told, has its look while the guest still waits for an answer, and calls
// back; then the packet is dispatched once more, as if it came now. kIntroduction bounds that, and
// what has no room, or for a log comes too often, passes at once. Where nobody reads of flows
// nothing waits.
//
// The same mechanism as that of questions (asking.h), and as little state in any protocol. Denials
// have their own look (refusals.h).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "netstack/base/time.h"
#include "netstack/base/token_bucket.h"
#include "netstack/flow/limits.h"
#include "netstack/flow/translator_config.h"
#include "netstack/policy/request.h"
#include "netstack/seams/events.h"

namespace cordon {

class Introductions {
 public:
  /// Both outlive this.
  Introductions(Events& events, const TranslatorConfig& config);

  /// The longest packet that can wait: what an Ethernet frame of the usual MTU holds.
  static constexpr std::size_t kMaxPacket = 1500;

  [[nodiscard]] bool is_on() const {
    return config_.introduces == Introduces::kAll ||
           (config_.introduces == Introduces::kSome && config_.reports_flows);
  }
  /// The IP packet that is being dispatched, until the next call; empty: one that cannot wait.
  void set_packet(Bytes packet) { packet_ = packet; }
  /// What is dispatched has been introduced, or no longer.
  void set_passing(bool is_passing) { is_passing_ = is_passing; }

  /// True: the packet that would begin this flow waits; nothing is to be done with it now.
  [[nodiscard]] bool hold(Instant now, const Request& request) {
    return is_on() && !is_passing_ && keep(now, request);
  }

  struct Released {
    Bytes packet;  // until the next call of hold() that keeps one
    bool is_answered = false;
  };
  /// Introduction `id` has been made: its packets, one a call, in the order in which they came.
  [[nodiscard]] std::optional<Released> settle(std::uint32_t id);
  /// Likewise of those whose time is over.
  [[nodiscard]] std::optional<Released> expire(Instant now);
  [[nodiscard]] Instant next_deadline() const { return next_deadline_; }

 private:
  using Packet = std::array<std::uint8_t, kMaxPacket>;
  struct Slot {
    std::uint32_t id = 0;  // 0: free
    std::uint16_t size = 0;
    std::uint64_t order = 0;
    Instant until{};
    Request request;
  };

  bool keep(Instant now, const Request& request);
  /// The introduction that this flow waits for already, or 0.
  [[nodiscard]] const Slot* find(const Request& request) const;
  template <class Claim>
  std::optional<Released> release_first(Claim&& is_due);

  Events& events_;
  const TranslatorConfig& config_;
  TokenBucket some_{kIntroductionsPerSecond, kIntroductionsPerSecond};
  bool is_passing_ = false;
  Bytes packet_;
  std::array<Slot, kMaxIntroductions> slots_{};
  std::unique_ptr<Packet[]> packets_;  // one a slot; no memory before it is used
  Instant next_deadline_ = kNever;
  std::uint64_t last_order_ = 0;
  std::uint32_t last_id_ = 0;
};

}  // namespace cordon
