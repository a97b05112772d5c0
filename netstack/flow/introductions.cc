#include "netstack/flow/introductions.h"

#include <algorithm>
#include <utility>

#include "netstack/flow/timeouts.h"

namespace cordon {
Introductions::Introductions(Events& events, bool is_on) : events_(events), is_on_(is_on) {
  if (is_on_) held_ = std::make_unique_for_overwrite<Held[]>(kMaxIntroductions);
}

const Introductions::Slot* Introductions::find(const Request& request) const {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].id != 0 && is_same_flow(held_[i].request, request)) return &slots_[i];
  }
  return nullptr;
}

bool Introductions::keep(Instant now, const Request& request) {
  const auto free = std::ranges::find_if(slots_, [](const Slot& slot) { return slot.id == 0; });
  if (free == slots_.end() || packet_.empty() || packet_.size() > kMaxPacket) return false;
  // What follows before the first one has passed would begin the flow itself.
  const Slot* const same = find(request);
  Slot slot{.id = same == nullptr ? 0 : same->id,
            .order = ++last_order_,
            .until = same == nullptr ? now + kIntroduction : same->until};
  if (same == nullptr) {
    slot.id = ++last_id_ == 0 ? ++last_id_ : last_id_;
    if (!events_.introduced(slot.id, request)) return false;
  }
  Held& held = held_[static_cast<std::size_t>(free - slots_.begin())];
  held.request = request;
  held.size = static_cast<std::uint16_t>(packet_.size());
  std::ranges::copy(packet_, held.packet.begin());
  *free = slot;
  next_deadline_ = std::min(next_deadline_, slot.until);
  return true;
}

template <class Claim>
std::optional<Introductions::Released> Introductions::release_first(Claim&& is_due) {
  Slot* first = nullptr;
  next_deadline_ = kNever;
  for (Slot& slot : slots_) {
    if (slot.id == 0) continue;
    const bool is_earlier = is_due(slot) && (first == nullptr || slot.order < first->order);
    Slot* const stays = is_earlier ? std::exchange(first, &slot) : &slot;
    if (stays != nullptr) next_deadline_ = std::min(next_deadline_, stays->until);
  }
  if (first == nullptr) return std::nullopt;
  first->id = 0;
  const Held& held = held_[static_cast<std::size_t>(first - slots_.data())];
  return Released{.packet = Bytes(held.packet).first(held.size),
                  .is_answered = held.request.is_answered};
}

std::optional<Introductions::Released> Introductions::settle(std::uint32_t id) {
  return release_first([id](const Slot& slot) { return slot.id == id; });
}

std::optional<Introductions::Released> Introductions::expire(Instant now) {
  if (next_deadline_ > now) return std::nullopt;
  return release_first([now](const Slot& slot) { return slot.until <= now; });
}

}  // namespace cordon
