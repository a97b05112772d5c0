#include "netstack/flow/asking.h"

#include <algorithm>

#include "netstack/flow/timeouts.h"

namespace cordon {
Asking::Asking(Events& events)
    : events_(events), held_(std::make_unique_for_overwrite<Held[]>(kMaxAsked)) {}

bool Asking::is_waiting(const Request& request) const {
  for (std::size_t i = 0; i < slots_.size() && waiting_ > 0; ++i) {
    if (slots_[i].id != 0 && is_same_flow(held_[i].request, request)) return true;
  }
  return false;
}

bool Asking::hold(Instant now, const Request& request, const Verdict& verdict, Bytes packet,
                  Bytes reply) {
  if (is_waiting(request)) return true;
  const auto free = std::ranges::find_if(slots_, [](const Slot& slot) { return slot.id == 0; });
  const bool fits = !packet.empty() && packet.size() <= kMaxPacket && reply.size() <= kMaxReply;
  if (free == slots_.end() || !fits) return false;
  const std::uint32_t id = ++last_id_ == 0 ? ++last_id_ : last_id_;
  if (!events_.asked({.id = id, .request = request, .verdict = verdict})) return false;
  Held& held = held_[static_cast<std::size_t>(free - slots_.begin())];
  held.request = request;
  held.verdict = verdict;
  held.packet_size = static_cast<std::uint16_t>(packet.size());
  held.reply_size = static_cast<std::uint16_t>(reply.size());
  std::ranges::copy(packet, held.packet.begin());
  std::ranges::copy(reply, held.reply.begin());
  *free = Slot{.id = id, .until = now + kAskPatience};
  next_deadline_ = std::min(next_deadline_, free->until);
  ++waiting_;
  return true;
}

Asking::Settled Asking::release(std::size_t slot) {
  slots_[slot].id = 0;
  --waiting_;
  next_deadline_ = kNever;
  for (const Slot& other : slots_) {
    if (other.id != 0) next_deadline_ = std::min(next_deadline_, other.until);
  }
  const Held& held = held_[slot];
  return Settled{.request = held.request,
                 .verdict = held.verdict,
                 .packet = Bytes(held.packet).first(held.packet_size),
                 .reply = Bytes(held.reply).first(held.reply_size)};
}

std::optional<Asking::Settled> Asking::settle(std::uint32_t id) {
  for (std::size_t i = 0; i < slots_.size() && id != 0; ++i) {
    if (slots_[i].id == id) return release(i);
  }
  return std::nullopt;
}

std::optional<Asking::Settled> Asking::expire(Instant now) {
  if (next_deadline_ > now) return std::nullopt;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].id != 0 && slots_[i].until <= now) return release(i);
  }
  return std::nullopt;
}

}  // namespace cordon
