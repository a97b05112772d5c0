// Name rules, arranged so that a name meets only those that match it.
//
// A hash table has an entry for each name that stands in a rule, whatever its pattern: what the
// rules say of that very name, and what they say of the names below it. A name is looked up as
// itself and as each of its suffixes, from the right, with one running hash; no more labels are
// tried than the longest rule has, so that a guest's deep names cost no more than anybody's.
// Nothing allocates once it is built.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "netstack/policy/lane_table.h"
#include "netstack/wire/dns_name.h"

namespace cordon {

class NameIndex {
 private:
  // What the rules say of the entry's own name, or of those below.
  struct Side {
    LaneTable::Lanes lanes;
    std::uint32_t first_type = 0;
    std::uint32_t type_count = 0;
  };

 public:
  /// What matches a name: one entry at most for each of its suffixes.
  class Places {
   private:
    friend class NameIndex;
    static constexpr std::size_t kMost = kLongestDnsName / 2 + 1;
    std::array<const Side*, kMost> sides_;  // NOLINT(*-member-init): only the first count_ are
    std::size_t count_ = 0;
  };

  /// As PrefixIndex::build_some().
  [[nodiscard]] bool build_some(std::span<const Rule> rules, bool is_quic_by_name, LaneTable& table,
                                std::size_t most);

  [[nodiscard]] bool is_empty() const { return entries_.empty(); }
  /// Letter case does not count.
  [[nodiscard]] Places places_of(const DnsName& name) const;
  /// Of the rules that match, the one that decides.
  [[nodiscard]] static Match find(const Places& places, std::uint32_t key, const LaneTable& table);
  /// Whether an allow or ask rule that matches lists the type of record.
  [[nodiscard]] bool is_dns_type_listed(const Places& places, std::uint16_t type) const;

  /// As LaneTable::visit(), for all that matches.
  template <class Visit>
  bool visit(const Places& places, const LaneTable& table, Visit& visit) const {
    for (std::size_t i = 0; i < places.count_; ++i) {
      if (table.visit(places.sides_[i]->lanes, visit)) return true;
    }
    return false;
  }

 private:
  struct Slot {
    std::uint32_t tag = 0;    // of the hash, so that most other names are told apart here
    std::uint32_t entry = 0;  // 1 more than its index; 0: free
  };
  struct Entry {
    std::uint32_t octets = 0;  // the wire form in lower case, in octets_
    std::uint32_t size = 0;
    Side own;
    Side below;
  };

  struct NameRule {
    std::uint64_t hash = 0;
    std::uint32_t rule = 0;
  };
  // What is needed while it is built: the rules by the hash of their names, those of one name
  // together; then an entry for each name; then the slots.
  struct Building {
    enum class Stage : std::uint8_t { kCollect, kSort, kEntries, kSlots };
    Stage stage = Stage::kCollect;
    std::size_t next = 0;  // in the rules, in `sorted`, or in the entries
    std::vector<NameRule> sorted;
    std::vector<std::uint64_t> hashes;  // of the entries
  };

  void collect(std::span<const Rule> rules, std::size_t most);
  void add_entries(std::span<const Rule> rules, bool is_quic_by_name, LaneTable& table,
                   std::size_t most);
  void add_entry(std::span<const Rule> rules, std::span<const NameRule> of_one_name,
                 bool is_quic_by_name, LaneTable& table);
  bool fill_slots(std::size_t most);
  [[nodiscard]] Bytes wire_of(const Entry& entry) const;
  [[nodiscard]] const Entry* find_entry(std::uint64_t hash, Bytes suffix) const;
  [[nodiscard]] std::size_t slot_of(std::uint64_t hash) const;

  std::optional<Building> building_;
  std::vector<Slot> slots_;  // a power of two of them
  std::vector<Entry> entries_;
  std::vector<std::uint8_t> octets_;
  std::vector<std::uint16_t> types_;
  std::size_t most_labels_ = 0;
};

}  // namespace cordon
