#include "netstack/policy/prefix_index.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace cordon {
namespace {

std::size_t family_index(Family family) { return family == Family::kIpv4 ? 0 : 1; }

std::uint64_t number_of(Bytes octets) {
  std::uint64_t number = 0;
  for (const std::uint8_t octet : octets) number = (number << 8) | octet;
  return number;
}

template <class Boundary>
void put_boundary(std::vector<Boundary>& boundaries, const Boundary& boundary) {
  const bool is_again = !boundaries.empty() && boundaries.back().key == boundary.key;
  if (is_again) boundaries.pop_back();
  boundaries.push_back(boundary);
}

}  // namespace

PrefixIndex::Key PrefixIndex::key_of(const IpAddress& address) {
  if (address.is_v4()) return {.high = std::uint64_t{address.v4_number()} << 32};
  const Bytes octets = address.octets();
  return {.high = number_of(octets.first(8)), .low = number_of(octets.last(8))};
}

// The first address after the prefix; none where the prefix reaches the end of the address space.
std::optional<PrefixIndex::Key> PrefixIndex::key_behind(const Key& key, unsigned length) {
  if (length == 0) return std::nullopt;
  Key behind = key;
  if (length > 64) {
    const std::uint64_t step = std::uint64_t{1} << (128 - length);
    behind.low += step;
    if (behind.low >= step) return behind;
    behind.high += 1;
    return behind.high == 0 ? std::nullopt : std::optional(behind);
  }
  const std::uint64_t step = std::uint64_t{1} << (64 - length);
  behind.high += step;
  return behind.high < step ? std::nullopt : std::optional(behind);
}

PrefixIndex::Boundaries PrefixIndex::make_boundaries(const std::vector<Boundary>& list) {
  Boundaries boundaries;
  std::vector<std::uint64_t> highs;
  highs.reserve(list.size());
  boundaries.lows.reserve(list.size());
  boundaries.nodes.reserve(list.size());
  for (const Boundary& boundary : list) {
    highs.push_back(boundary.key.high);
    boundaries.lows.push_back(boundary.key.low);
    boundaries.nodes.push_back(boundary.node);
  }
  boundaries.highs = SortedNumbers(std::move(highs));
  return boundaries;
}

void PrefixIndex::collect(std::span<const Rule> rules, std::size_t most) {
  Building& now = *building_;
  const std::size_t behind = std::min(rules.size(), now.next + most);
  for (; now.next < behind; ++now.next) {
    const Destination& to = rules[now.next].to;
    const bool is_here =
        to.kind == Destination::Kind::kPrefix && to.prefix.address().family() == now.family;
    if (!is_here) continue;
    now.sorted.push_back({key_of(to.prefix.address()),
                          static_cast<std::uint8_t>(to.prefix.length()),
                          static_cast<std::uint32_t>(now.next)});
  }
  if (behind < rules.size()) return;
  now.next = 0;
  now.stage = Building::Stage::kSort;
}

void PrefixIndex::close_last() {
  Building& now = *building_;
  const std::optional<Key> behind = now.open.back().behind;
  const std::uint32_t around = nodes_[now.open.back().node].around;
  now.open.pop_back();
  if (behind) put_boundary(now.boundaries, Boundary{*behind, around});
}

// The node of the next prefix, with all rules that have it.
void PrefixIndex::add_node(std::span<const Rule> rules, LaneTable& table) {
  Building& now = *building_;
  const Key key = now.sorted[now.next].key;
  const std::uint8_t length = now.sorted[now.next].length;
  now.intervals.clear();
  for (; now.next < now.sorted.size(); ++now.next) {
    const PrefixRule& here = now.sorted[now.next];
    if (here.key != key || here.length != length) break;
    LaneTable::add_intervals(rules[here.rule], Match(rules[here.rule], here.rule), false,
                             now.intervals);
  }
  while (!now.open.empty() && now.open.back().behind && !(key < *now.open.back().behind)) {
    close_last();
  }
  const auto index = static_cast<std::uint32_t>(nodes_.size());
  nodes_.push_back({.around = now.open.empty() ? kNone : now.open.back().node,
                    .lanes = table.add(now.intervals),
                    .is_one_address = length == (now.family == Family::kIpv4 ? 32 : 128)});
  put_boundary(now.boundaries, Boundary{key, index});
  now.open.push_back({index, key_behind(key, length)});
}

void PrefixIndex::add_nodes(std::span<const Rule> rules, LaneTable& table, std::size_t most) {
  Building& now = *building_;
  const std::size_t behind = std::min(now.sorted.size(), now.next + most);
  while (now.next < behind) add_node(rules, table);
  if (now.next < now.sorted.size()) return;
  while (!now.open.empty()) close_last();
  now.stage = Building::Stage::kBoundaries;
}

// Rules have few shapes, so that not many of their intervals are different ones.
bool PrefixIndex::add_to_all(std::span<const Rule> rules, LaneTable& table, std::size_t most) {
  Building& now = *building_;
  const std::size_t behind = std::min(rules.size(), now.next + most);
  for (; now.next < behind; ++now.next) {
    if (rules[now.next].to.kind != Destination::Kind::kPrefix) continue;
    const auto index = static_cast<std::uint32_t>(now.next);
    LaneTable::add_intervals(rules[index], Match(rules[index], index), false, now.intervals);
    if (now.intervals.size() < now.compact_at) continue;
    LaneTable::keep_deciding(now.intervals);
    now.compact_at = std::max(now.compact_at, 2 * now.intervals.size());
  }
  if (now.next < rules.size()) return false;
  LaneTable::keep_deciding(now.intervals);
  all_ = table.add(now.intervals);
  return true;
}

bool PrefixIndex::build_some(std::span<const Rule> rules, LaneTable& table, std::size_t most) {
  if (!building_) building_ = Building{};
  Building& now = *building_;
  switch (now.stage) {
    case Building::Stage::kCollect:
      collect(rules, most);
      return false;
    case Building::Stage::kSort:
      std::ranges::sort(now.sorted, [](const PrefixRule& a, const PrefixRule& b) {
        return std::tie(a.key, a.length, a.rule) < std::tie(b.key, b.length, b.rule);
      });
      now.stage = Building::Stage::kNodes;
      return false;
    case Building::Stage::kNodes:
      add_nodes(rules, table, most);
      return false;
    case Building::Stage::kBoundaries: {
      boundaries_[family_index(now.family)] = make_boundaries(now.boundaries);
      const bool is_last = now.family == Family::kIpv6;
      now = Building{.stage = is_last ? Building::Stage::kAll : Building::Stage::kCollect,
                     .family = Family::kIpv6};
      return false;
    }
    case Building::Stage::kAll:
      if (!add_to_all(rules, table, most)) return false;
      building_.reset();
      return true;
  }
  return true;
}

PrefixIndex::Place PrefixIndex::place_of(const IpAddress& address) const {
  const Boundaries& boundaries = boundaries_[family_index(address.family())];
  const Key wanted = key_of(address);
  std::size_t count = boundaries.highs.count_up_to(wanted.high);
  const std::size_t below = wanted.high == 0 ? 0 : boundaries.highs.count_up_to(wanted.high - 1);
  if (below < count) {
    const auto lows = std::span(boundaries.lows).subspan(below, count - below);
    const auto behind = std::upper_bound(lows.begin(), lows.end(), wanted.low);
    count = below + static_cast<std::size_t>(behind - lows.begin());
  }
  return Place{.node = count == 0 ? kNone : boundaries.nodes[count - 1]};
}

Match PrefixIndex::find(const Place& place, std::uint32_t key, const LaneTable& table) const {
  Match match;
  for (std::uint32_t i = place.node; i != kNone; i = nodes_[i].around) {
    match = std::min(match, table.find(nodes_[i].lanes, key));
  }
  return match;
}

Match PrefixIndex::find_one_address(const Place& place, std::uint32_t key,
                                    const LaneTable& table) const {
  // No prefix lies inside one for a single address.
  const bool is_one = place.node != kNone && nodes_[place.node].is_one_address;
  return is_one ? table.find(nodes_[place.node].lanes, key) : Match();
}

}  // namespace cordon
