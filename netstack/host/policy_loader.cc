#include "netstack/host/policy_loader.h"

#include <utility>

namespace cordon {
namespace {

// A rule takes a microsecond or two to be read, less to be indexed, less to be forgotten.
constexpr std::size_t kRulesRead = 500;
constexpr std::size_t kRulesIndexed = 2000;
constexpr std::size_t kRulesForgotten = 4000;

}  // namespace

void PolicyLoader::add(std::uint32_t generation, std::vector<std::uint8_t> octets) {
  waiting_.push_back({generation, std::move(octets)});
}

std::optional<PolicyLoader::Loaded> PolicyLoader::finish(std::optional<Policy> policy) {
  Loaded loaded{
      .generation = loading_->generation, .names = loading_->names, .policy = std::move(policy)};
  loading_.reset();
  return loaded;
}

std::optional<PolicyLoader::Loaded> PolicyLoader::step() {
  if (!retired_.empty()) {
    if (retired_.back().forget_some(kRulesForgotten)) retired_.pop_back();
    return std::nullopt;
  }
  if (!loading_) {
    if (waiting_.empty()) return std::nullopt;
    loading_ = Loading{.generation = waiting_.front().generation};
    loading_->reader.emplace(std::move(waiting_.front().octets));
    waiting_.pop_front();
    return std::nullopt;
  }
  if (loading_->reader) {
    switch (loading_->reader->step(kRulesRead)) {
      case SnapshotReader::State::kReading:
        return std::nullopt;
      case SnapshotReader::State::kBroken:
        return finish(std::nullopt);
      case SnapshotReader::State::kDone:
        break;
    }
    PolicySnapshot snapshot = loading_->reader->take();
    loading_->names = snapshot.names;
    loading_->builder.emplace(std::move(snapshot.policy));
    loading_->reader.reset();
    return std::nullopt;
  }
  if (!loading_->builder->step(kRulesIndexed)) return std::nullopt;
  return finish(loading_->builder->take());
}

}  // namespace cordon
