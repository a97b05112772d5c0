// The rules, arranged so that one request meets only those that can match it: address rules by
// prefix, name rules by suffix, class rules and the host door at one place each. The places of a
// request are found once; then each question (what allows it, what denies it ...) is a few array
// look-ups. Nothing allocates once it is built.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "netstack/address/classes.h"
#include "netstack/policy/lane_table.h"
#include "netstack/policy/name_index.h"
#include "netstack/policy/prefix_index.h"
#include "netstack/policy/rule.h"

namespace cordon {

class RuleIndex {
 public:
  /// No rules, until build_some() has said that it is done.
  RuleIndex() = default;
  /// Goes on building, about `most` rules further; true when it is done. `input` is the same in
  /// every call.
  [[nodiscard]] bool build_some(const PolicyInput& input, std::size_t most);

  [[nodiscard]] PrefixIndex::Place place_of(const IpAddress& address) const {
    return prefixes_.place_of(address);
  }
  [[nodiscard]] NameIndex::Places places_of(const DnsName& name) const {
    return names_.places_of(name);
  }

  /// Whether any rule is of this purpose.
  [[nodiscard]] bool has(Purpose purpose) const { return table_.has(purpose); }
  [[nodiscard]] bool has_names() const { return !names_.is_empty(); }

  /// Of the rules that cover the query, the one that decides; each for one kind of place.
  [[nodiscard]] Match find_prefix(const PrefixIndex::Place& place, const RuleQuery& query) const {
    return prefixes_.find(place, LaneTable::key_of(query), table_);
  }
  [[nodiscard]] Match find_one_address(const PrefixIndex::Place& place,
                                       const RuleQuery& query) const {
    return prefixes_.find_one_address(place, LaneTable::key_of(query), table_);
  }
  [[nodiscard]] Match find_any_prefix(const RuleQuery& query) const {
    return prefixes_.find_any(LaneTable::key_of(query), table_);
  }
  [[nodiscard]] Match find_class(AddressClass address_class, const RuleQuery& query) const {
    return table_.find(classes_[static_cast<std::size_t>(address_class)], LaneTable::key_of(query));
  }
  [[nodiscard]] Match find_door(const RuleQuery& query) const {
    return table_.find(door_, LaneTable::key_of(query));
  }
  [[nodiscard]] Match find_name(const NameIndex::Places& places, const RuleQuery& query) const {
    return NameIndex::find(places, LaneTable::key_of(query), table_);
  }

  /// Whether an allow or ask rule for the name, or for a class that makes every name possible,
  /// lists the type of record.
  [[nodiscard]] bool is_dns_type_listed(const NameIndex::Places& places, std::uint16_t type) const;

  /// Calls visit(Protocol, port) wherever what the rules for these names and for classes say may
  /// change (ports ascend, but 0 may be among them), until it says true.
  template <class Visit>
  void visit_changes(const NameIndex::Places& places, Visit visit) const {
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp}) {
      if (visit(protocol, std::uint16_t{0})) return;
    }
    if (names_.visit(places, table_, visit)) return;
    for (const LaneTable::Lanes& lanes : classes_) {
      if (table_.visit(lanes, visit)) return;
    }
  }

 private:
  static constexpr std::size_t kClasses = static_cast<std::size_t>(AddressClass::kPublic) + 1;
  enum class Stage : std::uint8_t { kPrefixes, kNames, kRest, kDone };

  void add_rest(const PolicyInput& input);

  Stage stage_ = Stage::kPrefixes;
  LaneTable table_;
  PrefixIndex prefixes_;
  NameIndex names_;
  std::array<LaneTable::Lanes, kClasses> classes_{};
  LaneTable::Lanes door_;
  std::vector<std::uint16_t> types_of_every_name_;
};

}  // namespace cordon
