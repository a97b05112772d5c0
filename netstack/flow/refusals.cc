#include "netstack/flow/refusals.h"

#include <algorithm>

namespace cordon {

void Refusals::refuse(Instant now, const Judgement& judgement, Bytes reply) {
  const bool is_held = judgement.verdict.action == Action::kAsk &&
                       asking_.hold(now, judgement.request, judgement.verdict, packet_, reply);
  if (!is_held) deny(now, judgement, reply);
}

std::optional<Bytes> Refusals::on_answer(Instant now, std::uint32_t id, bool is_yes) {
  const std::optional<Asking::Settled> asked = asking_.settle(id);
  if (!asked) return std::nullopt;
  if (is_yes) return asked->packet;
  deny_asked(now, *asked);
  return std::nullopt;
}

void Refusals::deny_asked(Instant now, const Asking::Settled& asked) {
  deny(now, Judgement{.request = asked.request, .verdict = asked.verdict}, asked.reply);
}

void Refusals::deny(Instant now, const Judgement& judgement, Bytes reply) {
  drops_.add(Drop::kDenied);
  Denial denial{.id = ++last_id_, .request = judgement.request, .verdict = judgement.verdict};
  denial.verdict.action = Action::kDeny;  // what was asked, and by nobody allowed
  send_once_told(now, denial.id, events_.denied(denial), reply);
}

void Refusals::send_once_told(Instant now, std::uint32_t id, bool is_waited_for, Bytes reply) {
  if (reply.empty() || reply.size() > kMaxReply) return;
  Held* const slot = free_slot();
  if (slot == nullptr || !is_waited_for) {
    link_.send_packet(reply);
    return;
  }
  slot->id = id;
  slot->size = static_cast<std::uint16_t>(reply.size());
  slot->until = now + kRefusalHold;
  next_release_ = std::min(next_release_, slot->until);
  std::ranges::copy(reply, slot->reply.begin());
}

void Refusals::report(const Judgement& judgement) {
  const bool is_only_reported = judgement.allowed.has_value();
  if (!is_only_reported) drops_.add(Drop::kDenied);
  (void)events_.denied(Denial{.id = ++last_id_,
                              .request = judgement.request,
                              .verdict = judgement.verdict,
                              .is_only_reported = is_only_reported});  // nobody waits for a reply
}

void Refusals::report_query(const Judgement& judgement, std::uint16_t type) {
  (void)events_.denied(Denial{.id = ++last_id_,
                              .kind = Denial::Kind::kQuery,
                              .request = judgement.request,
                              .verdict = judgement.verdict,
                              .query_type = type,
                              .is_only_reported = true});  // nobody waits for a reply
}

void Refusals::refuse_query(Instant now, const Judgement& judgement, std::uint16_t type,
                            Bytes reply) {
  drops_.add(Drop::kDenied);
  const Denial denial{.id = ++last_id_,
                      .kind = Denial::Kind::kQuery,
                      .request = judgement.request,
                      .verdict = judgement.verdict,
                      .query_type = type};
  send_once_told(now, denial.id, events_.denied(denial), reply);
}

Refusals::Told Refusals::tell(const Judgement& judgement) {
  const bool is_only_reported = judgement.allowed.has_value();
  if (!is_only_reported) drops_.add(Drop::kDenied);
  const Denial denial{.id = ++last_id_,
                      .request = judgement.request,
                      .verdict = judgement.verdict,
                      .is_only_reported = is_only_reported};
  return Told{.id = denial.id, .is_waited_for = events_.denied(denial)};
}

void Refusals::on_told(std::uint32_t id) {
  for (Held& held : held_) {
    if (id != 0 && held.id == id) release(held);
  }
}

void Refusals::on_deadline(Instant now) {
  while (const std::optional<Asking::Settled> asked = asking_.expire(now)) deny_asked(now, *asked);
  if (next_release_ > now) return;
  for (Held& held : held_) {
    if (held.id != 0 && held.until <= now) release(held);
  }
}

Refusals::Held* Refusals::free_slot() {
  const auto found = std::ranges::find_if(held_, [](const Held& held) { return held.id == 0; });
  return found == held_.end() ? nullptr : &*found;
}

void Refusals::release(Held& held) {
  link_.send_packet(Bytes(held.reply).first(held.size));
  held.id = 0;
  find_next_release();
}

void Refusals::find_next_release() {
  next_release_ = kNever;
  for (const Held& held : held_) {
    if (held.id != 0) next_release_ = std::min(next_release_, held.until);
  }
}

}  // namespace cordon
