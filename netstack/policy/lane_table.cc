#include "netstack/policy/lane_table.h"

#include <queue>
#include <span>
#include <tuple>
#include <utility>

#include "netstack/policy/search.h"

namespace cordon {
namespace {

constexpr std::array kEveryProtocol{Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp};

// The lanes that a rule is in. Inbound flows are denied by whom they come from, never by name, and
// not by the port that the client happens to have.
struct Purposes {
  std::array<Purpose, 2> list{};
  std::size_t count = 0;
  void add(Purpose purpose) { list[count++] = purpose; }
};

Purposes purposes_of(const Rule& rule, const RuleReach& reach) {
  const bool is_name = rule.to.kind == Destination::Kind::kName;
  const bool may_be_private =
      rule.may_be_private && is_name && rule.to.pattern.kind == NamePattern::Kind::kExact;
  Purposes purposes;
  switch (rule.action) {
    case Action::kAllow:
      purposes.add(Purpose::kAllow);
      if (may_be_private) purposes.add(Purpose::kAllowPrivate);
      break;
    case Action::kAsk:
      purposes.add(Purpose::kAsk);
      if (may_be_private) purposes.add(Purpose::kAskPrivate);
      break;
    case Action::kDeny:
      purposes.add(Purpose::kDeny);
      if (reach.ports.is_all() && !is_name) purposes.add(Purpose::kDenyInbound);
      break;
  }
  return purposes;
}

}  // namespace

std::uint32_t LaneTable::key_of(const RuleQuery& query) {
  static_assert(kEveryProtocol.size() == kProtocols);
  const bool has_port = query.protocol != Protocol::kIcmp && query.purpose != Purpose::kDenyInbound;
  const std::uint32_t lane = static_cast<std::uint32_t>(query.purpose) * kProtocols +
                             static_cast<std::uint32_t>(query.protocol);
  return (lane << 16) | (has_port ? query.port : 0U);
}

void LaneTable::add_intervals(const Rule& rule, const Match& match, bool is_quic_by_name,
                              std::vector<Interval>& out) {
  const RuleReach reach = reach_of(rule);
  const Purposes purposes = purposes_of(rule, reach);
  const auto add = [&](Protocol protocol, const PortRange& ports) {
    for (std::size_t i = 0; i < purposes.count; ++i) {
      const std::uint32_t lane = static_cast<std::uint32_t>(purposes.list[i]) * kProtocols +
                                 static_cast<std::uint32_t>(protocol);
      out.push_back({(lane << 16) | ports.first, (lane << 16) | ports.last, match});
    }
  };
  for (const Protocol protocol : kEveryProtocol) {
    if (reach.protocol && *reach.protocol != protocol) continue;
    // What stands in an echo request is an identifier: a rule with a port is not about it.
    if (protocol == Protocol::kIcmp && !reach.ports.is_all()) continue;
    for (const PortRange& ports : reach.ports.ranges()) add(protocol, ports);
  }
  const bool is_https_of_name = rule.to.kind == Destination::Kind::kName &&
                                reach.protocol == Protocol::kTcp &&
                                reach.ports.contains(kHttpsPort);
  if (is_quic_by_name && is_https_of_name && rule.action != Action::kDeny) {
    add(Protocol::kUdp, PortRange{.first = kHttpsPort, .last = kHttpsPort});
  }
}

std::vector<LaneTable::Segment> LaneTable::cut(std::vector<Interval>& intervals) {
  std::ranges::sort(intervals, {}, &Interval::first);
  std::vector<std::uint32_t> cuts;
  for (const Interval& interval : intervals) {
    cuts.push_back(interval.first);
    cuts.push_back(interval.last + 1);
  }
  std::ranges::sort(cuts);
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  const auto decides_later = [](const Interval& a, const Interval& b) { return a.match > b.match; };
  std::priority_queue<Interval, std::vector<Interval>, decltype(decides_later)> open(decides_later);
  std::vector<Segment> segments;
  std::size_t next = 0;
  Match previous;
  for (const std::uint32_t cut : cuts) {
    while (next < intervals.size() && intervals[next].first <= cut) open.push(intervals[next++]);
    while (!open.empty() && open.top().last < cut) open.pop();
    const Match match = open.empty() ? Match() : open.top().match;
    if (match != previous) segments.push_back({cut, match});
    previous = match;
  }
  return segments;
}

void LaneTable::keep_deciding(std::vector<Interval>& intervals) {
  const auto place = [](const Interval& interval) {
    return std::tie(interval.first, interval.last, interval.match);
  };
  std::ranges::sort(intervals, {}, place);
  const auto behind = std::unique(
      intervals.begin(), intervals.end(),
      [](const Interval& a, const Interval& b) { return a.first == b.first && a.last == b.last; });
  intervals.erase(behind, intervals.end());
}

// Where one rule stands alone, and its intervals are those of an earlier one.
std::optional<LaneTable::Lanes> LaneTable::find_recent(
    const std::vector<Interval>& intervals) const {
  if (intervals.empty()) return std::nullopt;
  const Match only = intervals.front().match;
  for (const Shape& shape : recent_) {
    const bool is_equal = std::ranges::equal(
        shape.intervals, intervals, [only](const Interval& known, const Interval& interval) {
          return known.first == interval.first && known.last == interval.last &&
                 interval.match == only;
        });
    if (!is_equal) continue;
    Lanes lanes = shape.lanes;
    lanes.only = only;
    return lanes;
  }
  return std::nullopt;
}

LaneTable::Lanes LaneTable::add(std::vector<Interval>& intervals) {
  if (const std::optional<Lanes> known = find_recent(intervals)) return *known;
  const std::vector<Interval> given = intervals;
  for (const Interval& interval : intervals) {
    has_purpose_[(interval.first >> 16) / kProtocols] = true;
  }
  std::vector<Segment> segments = cut(intervals);
  Lanes lanes{.first = static_cast<std::uint32_t>(segments_.size()),
              .count = static_cast<std::uint32_t>(segments.size())};
  const bool is_alone = std::ranges::all_of(segments, [&](const Segment& segment) {
    return !segment.match || segment.match == segments.front().match;
  });
  if (is_alone && !segments.empty()) {
    share(segments, lanes);
    const bool is_one_rule = std::ranges::all_of(
        given, [&](const Interval& interval) { return interval.match == given.front().match; });
    if (is_one_rule) recent_[next_recent_++ % kRecentShapes] = {given, lanes};
  } else {
    segments_.insert(segments_.end(), segments.begin(), segments.end());
  }
  return lanes;
}

void LaneTable::share(std::vector<Segment>& segments, Lanes& lanes) {
  lanes.only = segments.front().match;
  std::vector<std::uint32_t> keys;
  keys.reserve(segments.size());
  for (const Segment& segment : segments) keys.push_back(segment.key);
  const auto [known, is_new] = shapes_.emplace(std::move(keys), lanes.first);
  lanes.first = known->second;
  if (is_new) segments_.insert(segments_.end(), segments.begin(), segments.end());
}

Match LaneTable::find(const Lanes& lanes, std::uint32_t key) const {
  const auto segments = std::span(segments_).subspan(lanes.first, lanes.count);
  const std::size_t count =
      count_before(segments, [key](const Segment& segment) { return segment.key <= key; });
  if (count == 0) return {};
  const Match match = segments[count - 1].match;
  return match && lanes.only ? lanes.only : match;
}

}  // namespace cordon
