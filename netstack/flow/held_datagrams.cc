#include "netstack/flow/held_datagrams.h"

#include <algorithm>

namespace cordon {

bool HeldDatagrams::hold(FlowId flow, const SendFields& fields, Bytes payload) {
  Datagram* free = nullptr;
  std::size_t held = 0;
  for (Datagram& slot : *slots_) {
    if (slot.order == 0) free = &slot;
    if (slot.order != 0 && slot.flow == flow) ++held;
  }
  if (free == nullptr || held == kMaxHeldPerFlow || payload.size() > kMaxHeldOctets) return false;
  free->order = ++last_order_;
  free->flow = flow;
  free->fields = fields;
  free->size = payload.size();
  std::ranges::copy(payload, free->octets.begin());
  return true;
}

const HeldDatagrams::Datagram* HeldDatagrams::first(FlowId flow) const {
  const Datagram* first = nullptr;
  for (const Datagram& slot : *slots_) {
    if (slot.order == 0 || slot.flow != flow) continue;
    if (first == nullptr || slot.order < first->order) first = &slot;
  }
  return first;
}

void HeldDatagrams::drop_first(FlowId flow) {
  const Datagram* const found = first(flow);
  if (found != nullptr) (*slots_)[static_cast<std::size_t>(found - slots_->data())].order = 0;
}

void HeldDatagrams::drop_all(FlowId flow) {
  for (Datagram& slot : *slots_) {
    if (slot.flow == flow) slot.order = 0;
  }
}

}  // namespace cordon
