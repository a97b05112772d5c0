#include "netstack/names/gathered_replies.h"

#include <algorithm>
#include <span>

namespace cordon {

void GatheredReplies::add(const Endpoint& resolver, const Endpoint& guest, Bytes message,
                          GuestLink& link) {
  const bool joins = count_ > 0 && count_ < kMaxReplies && guest == guest_ &&
                     resolver == resolver_ && message.size() <= first_ &&
                     size_ == count_ * first_;  // the last one is no shorter
  if (!joins) let_go(link);
  resolver_ = resolver;
  guest_ = guest;
  if (message.size() > kMaxOctets) {
    return send(message, 0, link);
  }
  if (count_ == 0) first_ = message.size();
  std::ranges::copy(message, octets_.begin() + static_cast<std::ptrdiff_t>(size_));
  size_ += message.size();
  ++count_;
}

void GatheredReplies::let_go(GuestLink& link) {
  if (count_ == 0) return;
  const std::size_t segment = count_ > 1 ? first_ : 0;
  const Bytes all = Bytes(octets_).first(size_);
  count_ = 0;
  size_ = 0;
  send(all, static_cast<std::uint16_t>(segment), link);
}

void GatheredReplies::send(Bytes payload, std::uint16_t segment_size, GuestLink& link) const {
  link.send_udp(IpHeaderFields{.source = resolver_.address,
                               .destination = guest_.address,
                               .protocol = IpProtocol::kUdp,
                               .has_dont_fragment = false},
                resolver_.port, guest_.port, std::span(&payload, 1), segment_size);
}

}  // namespace cordon
