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
  for (const Boundary& boundary : list) {
    highs.push_back(boundary.key.high);
    boundaries.lows.push_back(boundary.key.low);
    boundaries.nodes.push_back(boundary.node);
  }
  boundaries.highs = SortedNumbers(std::move(highs));
  return boundaries;
}

void PrefixIndex::build_family(std::span<const Rule> rules, Family family, LaneTable& table) {
  std::vector<PrefixRule> sorted;
  for (std::uint32_t i = 0; i < rules.size(); ++i) {
    const Destination& to = rules[i].to;
    if (to.kind != Destination::Kind::kPrefix || to.prefix.address().family() != family) continue;
    sorted.push_back(
        {key_of(to.prefix.address()), static_cast<std::uint8_t>(to.prefix.length()), i});
  }
  std::ranges::sort(sorted, [](const PrefixRule& a, const PrefixRule& b) {
    return std::tie(a.key, a.length, a.rule) < std::tie(b.key, b.length, b.rule);
  });

  struct Open {
    std::uint32_t node = kNone;
    std::optional<Key> behind;
  };
  std::vector<Boundary> boundaries;
  const auto put_boundary = [&](const Key& key, std::uint32_t node) {
    const bool is_again = !boundaries.empty() && boundaries.back().key == key;
    if (is_again) boundaries.pop_back();
    boundaries.push_back({key, node});
  };
  std::vector<Open> open;  // The prefixes around the current one, outermost first.
  const auto close_last = [&] {
    const std::optional<Key> behind = open.back().behind;
    const std::uint32_t around = nodes_[open.back().node].around;
    open.pop_back();
    if (behind) put_boundary(*behind, around);
  };
  std::vector<LaneTable::Interval> intervals;
  for (std::size_t i = 0; i < sorted.size();) {
    const Key key = sorted[i].key;
    const std::uint8_t length = sorted[i].length;
    intervals.clear();
    for (; i < sorted.size() && sorted[i].key == key && sorted[i].length == length; ++i) {
      const Rule& rule = rules[sorted[i].rule];
      LaneTable::add_intervals(rule, Match(rule, sorted[i].rule), false, intervals);
    }
    while (!open.empty() && open.back().behind && !(key < *open.back().behind)) close_last();
    const auto index = static_cast<std::uint32_t>(nodes_.size());
    nodes_.push_back({.around = open.empty() ? kNone : open.back().node,
                      .lanes = table.add(intervals),
                      .is_one_address = length == (family == Family::kIpv4 ? 32 : 128)});
    put_boundary(key, index);
    open.push_back({index, key_behind(key, length)});
  }
  while (!open.empty()) close_last();
  boundaries_[family_index(family)] = make_boundaries(boundaries);
}

void PrefixIndex::build(std::span<const Rule> rules, LaneTable& table) {
  build_family(rules, Family::kIpv4, table);
  build_family(rules, Family::kIpv6, table);
  std::vector<LaneTable::Interval> intervals;
  for (std::uint32_t i = 0; i < rules.size(); ++i) {
    if (rules[i].to.kind != Destination::Kind::kPrefix) continue;
    LaneTable::add_intervals(rules[i], Match(rules[i], i), false, intervals);
  }
  all_ = table.add(intervals);
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
