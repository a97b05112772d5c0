// Address rules, arranged so that an address meets only those that hold it.
//
// Each family is one sorted list of boundaries: from a boundary to the next, the same set of
// prefixes holds every address, named by its innermost node; a node knows the node around it. One
// binary search and a walk outwards (as many steps as rules nest, mostly one or two) visits every
// prefix that holds an address. Nothing allocates once it is built.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "netstack/address/ip_address.h"
#include "netstack/policy/lane_table.h"
#include "netstack/policy/sorted_numbers.h"

namespace cordon {

class PrefixIndex {
 public:
  /// The innermost prefix around an address.
  struct Place {
    std::uint32_t node = kNone;
  };

  /// Goes on building, about `most` rules further; true when it is done. The rules of other kinds
  /// are passed over; `rules` and `table` are the same in every call.
  [[nodiscard]] bool build_some(std::span<const Rule> rules, LaneTable& table, std::size_t most);

  [[nodiscard]] Place place_of(const IpAddress& address) const;
  /// Of the rules with a prefix that holds the place's address, the one that decides.
  [[nodiscard]] Match find(const Place& place, std::uint32_t key, const LaneTable& table) const;
  /// The same of rules for the one address alone.
  [[nodiscard]] Match find_one_address(const Place& place, std::uint32_t key,
                                       const LaneTable& table) const;
  /// Whichever the prefix is.
  [[nodiscard]] Match find_any(std::uint32_t key, const LaneTable& table) const {
    return table.find(all_, key);
  }

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  // An address as a number; IPv4 fills the upper 32 bits.
  struct Key {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    friend constexpr bool operator==(const Key&, const Key&) = default;
    friend constexpr auto operator<=>(const Key&, const Key&) = default;
  };
  struct Node {
    std::uint32_t around = kNone;  // the node of the next shorter prefix
    LaneTable::Lanes lanes;
    bool is_one_address = false;
  };
  // In ascending order; from an address on, `nodes` has the innermost node. The upper halves mostly
  // suffice for a search.
  struct Boundaries {
    SortedNumbers highs;
    std::vector<std::uint64_t> lows;
    std::vector<std::uint32_t> nodes;
  };
  struct Boundary {
    Key key;
    std::uint32_t node = kNone;
  };
  struct PrefixRule {
    Key key;
    std::uint8_t length = 0;
    std::uint32_t rule = 0;
  };

  struct Open {
    std::uint32_t node = kNone;
    std::optional<Key> behind;
  };
  // What is needed while it is built: first a family's rules in order, then its nodes and
  // boundaries; at last what all rules say together.
  struct Building {
    enum class Stage : std::uint8_t { kCollect, kSort, kNodes, kBoundaries, kAll };
    Stage stage = Stage::kCollect;
    Family family = Family::kIpv4;
    std::size_t next = 0;  // in the rules, or in `sorted`
    std::vector<PrefixRule> sorted;
    std::vector<Boundary> boundaries;
    std::vector<Open> open;  // the prefixes around the current one, outermost first
    std::vector<LaneTable::Interval> intervals;
    std::size_t compact_at = 4096;
  };

  static Key key_of(const IpAddress& address);
  static std::optional<Key> key_behind(const Key& key, unsigned length);
  void collect(std::span<const Rule> rules, std::size_t most);
  void add_nodes(std::span<const Rule> rules, LaneTable& table, std::size_t most);
  void add_node(std::span<const Rule> rules, LaneTable& table);
  void close_last();
  bool add_to_all(std::span<const Rule> rules, LaneTable& table, std::size_t most);
  static Boundaries make_boundaries(const std::vector<Boundary>& list);

  std::optional<Building> building_;
  std::array<Boundaries, 2> boundaries_;
  std::vector<Node> nodes_;
  LaneTable::Lanes all_;
};

}  // namespace cordon
