#include "netstack/policy/name_index.h"

#include <algorithm>
#include <bit>

namespace cordon {
namespace {

// FNV-1a, 64 bits. The table holds the user's names only, so that nobody else can make it collide.
constexpr std::uint64_t kHashStart = 0xcbf29ce484222325;
constexpr std::uint64_t kHashFactor = 0x100000001b3;
constexpr std::uint64_t kSlotFactor = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio

// A name's labels, as offsets of their length octets in the wire form.
struct Labels {
  std::array<std::uint8_t, kLongestDnsName / 2> starts{};
  std::size_t count = 0;
};

Labels labels_of(Bytes wire) {
  Labels labels;
  for (std::size_t at = 0; wire[at] != 0; at += std::size_t{1} + wire[at]) {
    labels.starts[labels.count++] = static_cast<std::uint8_t>(at);
  }
  return labels;
}

std::uint64_t extend_hash(std::uint64_t hash, Bytes label) {
  for (const std::uint8_t octet : label) hash = (hash ^ octet) * kHashFactor;
  return hash;
}

std::uint64_t hash_of(Bytes wire) {
  const Labels labels = labels_of(wire);
  std::uint64_t hash = kHashStart;
  for (std::size_t i = labels.count; i-- > 0;) {
    hash =
        extend_hash(hash, wire.subspan(labels.starts[i], std::size_t{1} + wire[labels.starts[i]]));
  }
  return hash;
}

}  // namespace

void NameIndex::collect(std::span<const Rule> rules, std::size_t most) {
  Building& now = *building_;
  const std::size_t behind = std::min(rules.size(), now.next + most);
  for (; now.next < behind; ++now.next) {
    const Destination& to = rules[now.next].to;
    if (to.kind != Destination::Kind::kName) continue;
    now.sorted.push_back({hash_of(to.pattern.name.wire()), static_cast<std::uint32_t>(now.next)});
  }
  if (behind < rules.size()) return;
  now.next = 0;
  now.stage = Building::Stage::kSort;
}

void NameIndex::add_entries(std::span<const Rule> rules, bool is_quic_by_name, LaneTable& table,
                            std::size_t most) {
  Building& now = *building_;
  const auto wire = [&](const NameRule& rule) { return rules[rule.rule].to.pattern.name.wire(); };
  const std::size_t behind = std::min(now.sorted.size(), now.next + most);
  while (now.next < behind) {
    const NameRule& first = now.sorted[now.next];
    const auto from = now.sorted.begin() + static_cast<std::ptrdiff_t>(now.next);
    const auto to = std::find_if(from, now.sorted.end(), [&](const NameRule& rule) {
      return rule.hash != first.hash || !std::ranges::equal(wire(rule), wire(first));
    });
    now.hashes.push_back(first.hash);
    add_entry(rules, {from, to}, is_quic_by_name, table);
    now.next += static_cast<std::size_t>(to - from);
  }
  if (now.next < now.sorted.size()) return;
  now.next = 0;
  now.stage = Building::Stage::kSlots;
  // At most half full, so that a suffix without a rule meets a free slot at once.
  slots_.assign(std::bit_ceil(2 * entries_.size() + 1), Slot());
}

bool NameIndex::build_some(std::span<const Rule> rules, bool is_quic_by_name, LaneTable& table,
                           std::size_t most) {
  if (!building_) building_ = Building{};
  switch (building_->stage) {
    case Building::Stage::kCollect:
      collect(rules, most);
      return false;
    case Building::Stage::kSort:
      std::ranges::sort(building_->sorted, [&](const NameRule& a, const NameRule& b) {
        if (a.hash != b.hash) return a.hash < b.hash;
        const Bytes one = rules[a.rule].to.pattern.name.wire();
        const Bytes other = rules[b.rule].to.pattern.name.wire();
        // Two names of one hash are next to nobody's luck; still each has its rules together.
        if (!std::ranges::equal(one, other)) {
          return std::ranges::lexicographical_compare(one, other);
        }
        return a.rule < b.rule;
      });
      building_->stage = Building::Stage::kEntries;
      return false;
    case Building::Stage::kEntries:
      add_entries(rules, is_quic_by_name, table, most);
      return false;
    case Building::Stage::kSlots:
      if (!fill_slots(most)) return false;
      building_.reset();
      return true;
  }
  return true;
}

void NameIndex::add_entry(std::span<const Rule> rules, std::span<const NameRule> of_one_name,
                          bool is_quic_by_name, LaneTable& table) {
  const auto make_side = [&](NamePattern::Kind other_side) {
    Side side{.first_type = static_cast<std::uint32_t>(types_.size())};
    std::vector<LaneTable::Interval> intervals;
    for (const NameRule& named : of_one_name) {
      const std::uint32_t index = named.rule;
      const Rule& rule = rules[index];
      if (rule.to.pattern.kind == other_side) continue;
      LaneTable::add_intervals(rule, Match(rule, index), is_quic_by_name, intervals);
      if (rule.action == Action::kDeny) continue;
      types_.insert(types_.end(), rule.dns_types.begin(), rule.dns_types.end());
    }
    side.lanes = table.add(intervals);
    side.type_count = static_cast<std::uint32_t>(types_.size()) - side.first_type;
    return side;
  };
  const Bytes wire = rules[of_one_name[0].rule].to.pattern.name.wire();
  most_labels_ = std::max(most_labels_, labels_of(wire).count);
  entries_.push_back({.octets = static_cast<std::uint32_t>(octets_.size()),
                      .size = static_cast<std::uint32_t>(wire.size()),
                      .own = make_side(NamePattern::Kind::kSubdomains),
                      .below = make_side(NamePattern::Kind::kExact)});
  octets_.insert(octets_.end(), wire.begin(), wire.end());
}

Bytes NameIndex::wire_of(const Entry& entry) const {
  return Bytes(octets_).subspan(entry.octets, entry.size);
}

std::size_t NameIndex::slot_of(std::uint64_t hash) const {
  return ((hash * kSlotFactor) >> 32) & (slots_.size() - 1);
}

bool NameIndex::fill_slots(std::size_t most) {
  Building& now = *building_;
  const std::size_t behind = std::min(entries_.size(), now.next + most);
  for (; now.next < behind; ++now.next) {
    const std::uint64_t hash = now.hashes[now.next];
    std::size_t slot = slot_of(hash);
    while (slots_[slot].entry != 0) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = {.tag = static_cast<std::uint32_t>(hash),
                    .entry = static_cast<std::uint32_t>(now.next) + 1};
  }
  return now.next == entries_.size();
}

const NameIndex::Entry* NameIndex::find_entry(std::uint64_t hash, Bytes suffix) const {
  for (std::size_t slot = slot_of(hash); slots_[slot].entry != 0;
       slot = (slot + 1) & (slots_.size() - 1)) {
    if (slots_[slot].tag != static_cast<std::uint32_t>(hash)) continue;
    const Entry& entry = entries_[slots_[slot].entry - 1];
    if (std::ranges::equal(wire_of(entry), suffix)) return &entry;
  }
  return nullptr;
}

NameIndex::Places NameIndex::places_of(const DnsName& name) const {
  Places places;
  if (entries_.empty()) return places;
  const Labels labels = labels_of(name.wire());
  const std::size_t tried = std::min(labels.count, most_labels_);
  // Only what is tried is put into lower case.
  std::array<std::uint8_t, kLongestDnsName> lowered;  // NOLINT(*-member-init): filled below
  const Bytes wire = Bytes(lowered).first(name.wire().size());
  const std::size_t first = tried == 0 ? wire.size() - 1 : labels.starts[labels.count - tried];
  std::transform(name.wire().begin() + static_cast<std::ptrdiff_t>(first), name.wire().end(),
                 lowered.begin() + first, lower_dns_octet);
  // All hashes first, so that the slots are on their way from memory together.
  std::array<std::uint64_t, kLongestDnsName / 2 + 1> hashes;  // NOLINT(*-member-init): filled below
  hashes[0] = kHashStart;
  for (std::size_t i = 1; i <= tried; ++i) {
    const std::size_t start = labels.starts[labels.count - i];
    hashes[i] = extend_hash(hashes[i - 1], wire.subspan(start, std::size_t{1} + wire[start]));
    __builtin_prefetch(&slots_[slot_of(hashes[i])]);
  }
  for (std::size_t i = 0; i <= tried; ++i) {
    const std::size_t start = i == 0 ? wire.size() - 1 : labels.starts[labels.count - i];
    const Entry* const entry = find_entry(hashes[i], wire.subspan(start));
    if (entry == nullptr) continue;
    places.sides_[places.count_++] = i == labels.count ? &entry->own : &entry->below;
  }
  return places;
}

Match NameIndex::find(const Places& places, std::uint32_t key, const LaneTable& table) {
  Match match;
  for (std::size_t i = 0; i < places.count_; ++i) {
    match = std::min(match, table.find(places.sides_[i]->lanes, key));
  }
  return match;
}

bool NameIndex::is_dns_type_listed(const Places& places, std::uint16_t type) const {
  for (std::size_t i = 0; i < places.count_; ++i) {
    const Side& side = *places.sides_[i];
    const auto first = types_.begin() + side.first_type;
    if (std::find(first, first + side.type_count, type) != first + side.type_count) return true;
  }
  return false;
}

}  // namespace cordon
