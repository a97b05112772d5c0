// Refusals: what a denied flow gets, and when.
//
// A denial is told to the supervisor, which looks the guest's process up by its socket. That socket
// is gone as soon as the guest has read the refusal, so the refusal waits until the supervisor has
// had its look, or for kRefusalHold at the longest. Only a few wait at once; the others are refused
// on the spot, without a process in their line.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "netstack/base/time.h"
#include "netstack/flow/admission.h"
#include "netstack/flow/asking.h"
#include "netstack/link/guest_link.h"
#include "netstack/seams/events.h"

namespace cordon {

/// A denied connect() fails within 50 ms; this is what the look-up may take of it.
inline constexpr Duration kRefusalHold = std::chrono::milliseconds(25);

class Refusals {
 public:
  Refusals(Events& events, GuestLink& link, DropCounters& drops)
      : events_(events), link_(link), drops_(drops), asking_(events) {}

  /// The IP packet that is being dispatched, until the next call; empty: none. What is refused
  /// meanwhile and is to be asked waits for an answer instead (asking.h).
  void set_packet(Bytes packet) { packet_ = packet; }

  /// Reports the denial, then sends `reply`, a whole IP packet of at most kMaxReply octets (none:
  /// the refusal is silent).
  void refuse(Instant now, const Judgement& judgement, Bytes reply);
  /// Reports a denial that sends nothing: a flow or an address that is given up silently or, under
  /// report mode (the judgement has a witness), goes on all the same.
  void report(const Judgement& judgement);
  /// Reports a DNS question that report mode lets through; `request` has its name.
  void report_query(const Judgement& judgement, std::uint16_t type);
  /// Reports one that is refused with `reply`, which waits as refuse()'s does.
  void refuse_query(Instant now, const Judgement& judgement, std::uint16_t type, Bytes reply);
  /// Reports a denial that the caller answers itself, or not at all where the judgement has a
  /// witness (report mode). The answer waits for on_told() where `is_waited_for`, or for
  /// kRefusalHold at the longest.
  struct Told {
    std::uint32_t id = 0;
    bool is_waited_for = false;
  };
  [[nodiscard]] Told tell(const Judgement& judgement);
  /// Question `id` has an answer. A yes gives the packet that is to be dispatched again, valid
  /// until something is refused; a no refuses the flow.
  [[nodiscard]] std::optional<Bytes> on_answer(Instant now, std::uint32_t id, bool is_yes);
  /// The supervisor has told denial `id`.
  void on_told(std::uint32_t id);

  [[nodiscard]] Instant next_deadline() const {
    return std::min(asking_.next_deadline(), next_release_);
  }
  void on_deadline(Instant now);

  static constexpr std::size_t kMaxReply = 1280;

 private:
  struct Held {
    std::uint32_t id = 0;  // 0: free
    std::uint16_t size = 0;
    Instant until{};
    std::array<std::uint8_t, kMaxReply> reply{};
  };

  void deny(Instant now, const Judgement& judgement, Bytes reply);
  /// Sends `reply`, or keeps it until denial `id` is told.
  void send_once_told(Instant now, std::uint32_t id, bool is_waited_for, Bytes reply);
  void deny_asked(Instant now, const Asking::Settled& asked);
  Held* free_slot();
  void release(Held& held);
  void find_next_release();

  Events& events_;
  GuestLink& link_;
  DropCounters& drops_;
  Asking asking_;
  Bytes packet_;
  std::array<Held, 16> held_{};
  Instant next_release_ = kNever;  // of the answers that are held
  std::uint32_t last_id_ = 0;
};

}  // namespace cordon
