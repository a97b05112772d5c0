#include "netstack/policy/rule_index.h"

#include <algorithm>
#include <queue>
#include <tuple>

#include "netstack/policy/rule.h"

namespace cordon {
namespace {

constexpr std::array kProtocols{Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp};

std::size_t family_index(Family family) { return family == Family::kIpv4 ? 0 : 1; }

std::optional<std::uint32_t> as_optional(std::uint32_t rule) {
  if (rule == UINT32_MAX) return std::nullopt;
  return rule;
}

std::uint16_t port_of(const RuleQuery& query) {
  const bool has_port = query.protocol != Protocol::kIcmp && query.purpose != Purpose::kDenyInbound;
  return has_port ? query.port : std::uint16_t{0};
}

}  // namespace

RuleIndex::Key RuleIndex::key_of(const IpAddress& address) {
  Key key;
  const Bytes octets = address.octets();
  for (std::size_t i = 0; i < octets.size(); ++i) {
    std::uint64_t& half = i < 8 ? key.high : key.low;
    half |= std::uint64_t{octets[i]} << (56 - 8 * (i % 8));
  }
  return key;
}

// The first address after the prefix; none where the prefix reaches the end of the address space.
std::optional<RuleIndex::Key> RuleIndex::key_behind(const Key& key, unsigned length) {
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

std::uint32_t RuleIndex::lane_key(Purpose purpose, Protocol protocol, std::uint16_t port) {
  static_assert(kProtocols.size() == kProtocolCount);
  const std::uint32_t lane =
      static_cast<std::uint32_t>(purpose) * kProtocolCount + static_cast<std::uint32_t>(protocol);
  return (lane << 16) | port;
}

void RuleIndex::add_intervals(const Rule& rule, std::uint32_t index,
                              std::vector<Interval>& out) const {
  const RuleReach reach = reach_of(rule);
  const bool is_name = rule.to.kind == Destination::Kind::kName;
  const auto add = [&](Protocol protocol, const PortRange& ports) {
    const auto put = [&](Purpose purpose, const PortRange& range) {
      out.push_back({lane_key(purpose, protocol, range.first),
                     lane_key(purpose, protocol, range.last), index});
    };
    switch (rule.action) {
      case Action::kAllow:
        put(Purpose::kAllow, ports);
        if (rule.may_be_private) put(Purpose::kAllowPrivate, ports);
        break;
      case Action::kAsk:
        put(Purpose::kAsk, ports);
        if (rule.may_be_private) put(Purpose::kAskPrivate, ports);
        break;
      case Action::kDeny:
        put(Purpose::kDeny, ports);
        if (reach.ports.is_all() && !is_name) put(Purpose::kDenyInbound, PortRange());
        break;
    }
  };
  for (const Protocol protocol : kProtocols) {
    if (reach.protocol && *reach.protocol != protocol) continue;
    // What stands in an echo request is an identifier: a rule with a port is not about it.
    if (protocol == Protocol::kIcmp && !reach.ports.is_all()) continue;
    for (const PortRange& ports : reach.ports.ranges()) add(protocol, ports);
  }
  const bool is_https = reach.protocol == Protocol::kTcp && reach.ports.contains(kHttpsPort);
  if (is_quic_by_name_ && is_name && is_https && rule.action != Action::kDeny) {
    add(Protocol::kUdp, PortRange{.first = kHttpsPort, .last = kHttpsPort});
  }
}

// Cuts the overlapping intervals into segments that name the lowest rule each.
RuleIndex::Node RuleIndex::make_node(std::vector<Interval>& intervals) {
  Node node;
  node.first_segment = static_cast<std::uint32_t>(segments_.size());
  std::ranges::sort(intervals, {}, &Interval::first);
  std::vector<std::uint32_t> cuts;
  for (const Interval& interval : intervals) {
    cuts.push_back(interval.first);
    cuts.push_back(interval.last + 1);
  }
  std::ranges::sort(cuts);
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  const auto comes_later = [](const Interval& a, const Interval& b) { return a.rule > b.rule; };
  std::priority_queue<Interval, std::vector<Interval>, decltype(comes_later)> open(comes_later);
  std::size_t next = 0;
  std::uint32_t previous = kNone;
  for (const std::uint32_t cut : cuts) {
    while (next < intervals.size() && intervals[next].first <= cut) open.push(intervals[next++]);
    while (!open.empty() && open.top().last < cut) open.pop();
    const std::uint32_t rule = open.empty() ? kNone : open.top().rule;
    if (rule != previous) segments_.push_back({cut, rule});
    previous = rule;
  }
  node.segment_count = static_cast<std::uint32_t>(segments_.size()) - node.first_segment;
  return node;
}

std::uint32_t RuleIndex::first_rule(const Node& node, std::uint32_t key) const {
  const auto first = segments_.begin() + node.first_segment;
  const auto last = first + node.segment_count;
  const auto behind = std::upper_bound(
      first, last, key, [](std::uint32_t wanted, const Segment& s) { return wanted < s.key; });
  return behind == first ? kNone : (behind - 1)->rule;
}

void RuleIndex::put_boundary(Family family, const Key& key, std::uint32_t node) {
  std::vector<Boundary>& boundaries = boundaries_[family_index(family)];
  if (!boundaries.empty() && boundaries.back().key == key) {
    boundaries.back().node = node;
  } else {
    boundaries.push_back({key, node});
  }
}

void RuleIndex::build_family(std::span<const Rule> rules, Family family) {
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
  std::vector<Open> open;  // The prefixes around the current one, outermost first.
  const auto close_last = [&] {
    const std::optional<Key> behind = open.back().behind;
    const std::uint32_t around = nodes_[open.back().node].around;
    open.pop_back();
    if (behind) put_boundary(family, *behind, around);
  };
  std::vector<Interval> intervals;
  for (std::size_t i = 0; i < sorted.size();) {
    const Key key = sorted[i].key;
    const std::uint8_t length = sorted[i].length;
    intervals.clear();
    for (; i < sorted.size() && sorted[i].key == key && sorted[i].length == length; ++i) {
      add_intervals(rules[sorted[i].rule], sorted[i].rule, intervals);
    }
    while (!open.empty() && open.back().behind && !(key < *open.back().behind)) close_last();
    Node node = make_node(intervals);
    node.around = open.empty() ? kNone : open.back().node;
    node.length = length;
    const auto index = static_cast<std::uint32_t>(nodes_.size());
    nodes_.push_back(node);
    put_boundary(family, key, index);
    open.push_back({index, key_behind(key, length)});
  }
  while (!open.empty()) close_last();
}

RuleIndex::RuleIndex(const PolicyInput& input) : is_quic_by_name_(input.is_quic_by_name) {
  const std::span<const Rule> rules = input.rules;
  build_family(rules, Family::kIpv4);
  build_family(rules, Family::kIpv6);
  std::array<std::vector<Interval>, kClasses> by_class;
  std::vector<Interval> door;
  std::vector<Interval> prefixes;
  for (std::uint32_t i = 0; i < rules.size(); ++i) {
    const Destination& to = rules[i].to;
    switch (to.kind) {
      case Destination::Kind::kPrefix:
        add_intervals(rules[i], i, prefixes);
        break;
      case Destination::Kind::kClass:
        add_intervals(rules[i], i, by_class[static_cast<std::size_t>(to.address_class)]);
        break;
      case Destination::Kind::kHostDoor:
        add_intervals(rules[i], i, door);
        break;
      case Destination::Kind::kName: {
        std::vector<Interval> intervals;
        add_intervals(rules[i], i, intervals);
        names_.push_back({to.pattern, rules[i].dns_types, make_node(intervals)});
        break;
      }
    }
  }
  for (std::size_t i = 0; i < kClasses; ++i) class_nodes_[i] = make_node(by_class[i]);
  door_node_ = make_node(door);
  prefixes_node_ = make_node(prefixes);
}

std::optional<std::uint32_t> RuleIndex::find_prefix(const IpAddress& address,
                                                    const RuleQuery& query) const {
  const std::vector<Boundary>& boundaries = boundaries_[family_index(address.family())];
  const Key wanted = key_of(address);
  const auto behind =
      std::upper_bound(boundaries.begin(), boundaries.end(), wanted,
                       [](const Key& key, const Boundary& boundary) { return key < boundary.key; });
  if (behind == boundaries.begin()) return std::nullopt;
  const std::uint32_t key = lane_key(query.purpose, query.protocol, port_of(query));
  std::uint32_t best = kNone;
  for (std::uint32_t i = (behind - 1)->node; i != kNone; i = nodes_[i].around) {
    // Innermost first: where this one is wider than one address, so are all around it.
    if (query.is_exact_only && nodes_[i].length != address.bits()) break;
    best = std::min(best, first_rule(nodes_[i], key));
  }
  return as_optional(best);
}

std::optional<std::uint32_t> RuleIndex::find_class(AddressClass address_class,
                                                   const RuleQuery& query) const {
  const std::uint32_t key = lane_key(query.purpose, query.protocol, port_of(query));
  return as_optional(first_rule(class_nodes_[static_cast<std::size_t>(address_class)], key));
}

std::optional<std::uint32_t> RuleIndex::find_door(const RuleQuery& query) const {
  const std::uint32_t key = lane_key(query.purpose, query.protocol, port_of(query));
  return as_optional(first_rule(door_node_, key));
}

std::optional<std::uint32_t> RuleIndex::find_name(const DnsName& name,
                                                  const RuleQuery& query) const {
  const std::uint32_t key = lane_key(query.purpose, query.protocol, port_of(query));
  std::uint32_t best = kNone;
  for (const NameNode& candidate : names_) {
    if (candidate.pattern.matches(name)) best = std::min(best, first_rule(candidate.node, key));
  }
  return as_optional(best);
}

std::optional<std::uint32_t> RuleIndex::find_any_prefix(const RuleQuery& query) const {
  return as_optional(
      first_rule(prefixes_node_, lane_key(query.purpose, query.protocol, port_of(query))));
}

bool RuleIndex::is_dns_type_listed(const DnsName& name, std::uint16_t type) const {
  return std::ranges::any_of(names_, [&](const NameNode& candidate) {
    return candidate.pattern.matches(name) &&
           std::ranges::find(candidate.dns_types, type) != candidate.dns_types.end();
  });
}

}  // namespace cordon
