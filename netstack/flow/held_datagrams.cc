#include "netstack/flow/held_datagrams.h"

#include <algorithm>

namespace cordon {

bool HeldDatagrams::hold(FlowId flow, const SendFields& fields, Bytes payload) {
  Datagram* room = nullptr;
  std::size_t held = 0;
  for (Datagram& slot : *slots_) {
    const bool is_free = slot.order == 0;
    if (!is_free && slot.flow == flow) ++held;
    // A free one before the oldest that has been sent.
    if (is_free) slot.is_sent = false;
    const bool is_better = room == nullptr || slot.order < room->order;
    if ((is_free || slot.is_sent) && is_better) room = &slot;
  }
  if (room == nullptr || held >= kMaxHeldPerFlow || payload.size() > kMaxHeldOctets) return false;
  room->order = ++last_order_;
  room->is_sent = false;
  room->is_counted = false;
  room->flow = flow;
  room->fields = fields;
  room->size = payload.size();
  std::ranges::copy(payload, room->octets.begin());
  return true;
}

HeldDatagrams::Datagram* HeldDatagrams::find_first(FlowId flow, bool is_sent_too) const {
  Datagram* first = nullptr;
  for (Datagram& slot : *slots_) {
    if (slot.order == 0 || slot.flow != flow || (slot.is_sent && !is_sent_too)) continue;
    if (first == nullptr || slot.order < first->order) first = &slot;
  }
  return first;
}

const HeldDatagrams::Datagram* HeldDatagrams::first(FlowId flow) const {
  return find_first(flow, true);
}

HeldDatagrams::Datagram* HeldDatagrams::first_unsent(FlowId flow) {
  return find_first(flow, false);
}

void HeldDatagrams::rewind(FlowId flow) {
  for (Datagram& slot : *slots_) {
    if (slot.flow == flow) slot.is_sent = false;
  }
}

void HeldDatagrams::drop_all(FlowId flow) {
  for (Datagram& slot : *slots_) {
    if (slot.flow == flow) slot.order = 0;
  }
}

}  // namespace cordon
