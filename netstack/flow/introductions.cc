#include "netstack/flow/introductions.h"

#include <algorithm>
#include <utility>

#include "netstack/flow/timeouts.h"

namespace cordon {
Introductions::Introductions(Events& events, const TranslatorConfig& config)
    : events_(events), config_(config) {
  const bool may_be_on = config_.introduces != Introduces::kNone;
  if (may_be_on) packets_ = std::make_unique_for_overwrite<Packet[]>(kMaxIntroductions);
}

const Introductions::Slot* Introductions::find(const Request& request) const {
  for (const Slot& slot : slots_) {
    if (slot.id != 0 && is_same_flow(slot.request, request)) return &slot;
  }
  return nullptr;
}

bool Introductions::keep(Instant now, const Request& request) {
  const auto free = std::ranges::find_if(slots_, [](const Slot& slot) { return slot.id == 0; });
  if (free == slots_.end() || packet_.empty() || packet_.size() > kMaxPacket) return false;
  // What follows before the first one has passed would begin the flow itself.
  const Slot* const same = find(request);
  Slot slot{.id = same == nullptr ? 0 : same->id,
            .size = static_cast<std::uint16_t>(packet_.size()),
            .order = ++last_order_,
            .until = same == nullptr ? now + kIntroduction : same->until,
            .request = request};
  if (same == nullptr) {
    if (config_.introduces == Introduces::kSome && !some_.take(now)) return false;
    slot.id = ++last_id_ == 0 ? ++last_id_ : last_id_;
    if (!events_.introduced(slot.id, request)) return false;
  }
  Packet& kept = packets_[static_cast<std::size_t>(free - slots_.begin())];
  std::ranges::copy(packet_, kept.begin());
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
  const Packet& packet = packets_[static_cast<std::size_t>(first - slots_.data())];
  return Released{.packet = Bytes(packet).first(first->size),
                  .is_answered = first->request.is_answered};
}

std::optional<Introductions::Released> Introductions::settle(std::uint32_t id) {
  return release_first([id](const Slot& slot) { return slot.id == id; });
}

std::optional<Introductions::Released> Introductions::expire(Instant now) {
  if (next_deadline_ > now) return std::nullopt;
  return release_first([now](const Slot& slot) { return slot.until <= now; });
}

}  // namespace cordon
