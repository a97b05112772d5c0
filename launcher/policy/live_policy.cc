#include "launcher/policy/live_policy.h"

#include <algorithm>

namespace cordon {
namespace {

// A translator that says nothing leaves old ones behind; what it tells then is told by the current.
constexpr std::size_t kMostGenerations = 64;

}  // namespace

LivePolicy::LivePolicy(PolicySnapshot base) : base_(std::move(base)) { make_generation(); }

PolicySnapshot LivePolicy::snapshot() const {
  PolicySnapshot whole = base_;
  for (const Added& added : added_) whole.policy.rules.push_back(added.rule);
  return whole;
}

void LivePolicy::make_generation() {
  // The first one has number 0, which is what the translator starts with.
  const std::uint32_t generation = policies_.empty() ? 0 : this->generation() + 1;
  policies_.emplace(generation, std::make_unique<const Policy>(snapshot().policy));
  if (policies_.size() > kMostGenerations) policies_.erase(policies_.begin());
}

const Policy& LivePolicy::of(std::uint32_t generation) const {
  const auto found = policies_.find(generation);
  return found == policies_.end() ? current() : *found->second;
}

void LivePolicy::moved_on(std::uint32_t generation) {
  const auto found = policies_.find(generation);
  if (found != policies_.end()) policies_.erase(policies_.begin(), found);
}

void LivePolicy::add(Rule rule, Instant until) {
  added_.push_back({.rule = std::move(rule), .until = until});
  make_generation();
}

bool LivePolicy::take_back(Action action, const Destination& to) {
  const auto gone = std::erase_if(added_, [&](const Added& added) {
    return added.rule.action == action && added.rule.to == to;
  });
  if (gone > 0) make_generation();
  return gone > 0;
}

void LivePolicy::replace(PolicySnapshot base) {
  base_ = std::move(base);
  make_generation();
}

Instant LivePolicy::next_expiry() const {
  Instant first = kNever;
  for (const Added& added : added_) first = std::min(first, added.until);
  return first;
}

bool LivePolicy::expire(Instant now) {
  const auto gone = std::erase_if(added_, [&](const Added& added) { return added.until <= now; });
  if (gone > 0) make_generation();
  return gone > 0;
}

}  // namespace cordon
