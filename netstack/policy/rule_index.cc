#include "netstack/policy/rule_index.h"

#include <algorithm>

namespace cordon {

bool RuleIndex::build_some(const PolicyInput& input, std::size_t most) {
  switch (stage_) {
    case Stage::kPrefixes:
      if (prefixes_.build_some(input.rules, table_, most)) stage_ = Stage::kNames;
      return false;
    case Stage::kNames:
      if (!names_.build_some(input.rules, input.is_quic_by_name, table_, most)) return false;
      stage_ = Stage::kRest;
      return false;
    case Stage::kRest:
      add_rest(input);
      stage_ = Stage::kDone;
      return true;
    case Stage::kDone:
      return true;
  }
  return true;
}

// Class rules and those for the host door are few.
void RuleIndex::add_rest(const PolicyInput& input) {
  std::array<std::vector<LaneTable::Interval>, kClasses> by_class;
  std::vector<LaneTable::Interval> door;
  for (std::uint32_t i = 0; i < input.rules.size(); ++i) {
    const Rule& rule = input.rules[i];
    switch (rule.to.kind) {
      case Destination::Kind::kPrefix:
      case Destination::Kind::kName:
        break;
      case Destination::Kind::kClass: {
        const auto at = static_cast<std::size_t>(rule.to.address_class);
        LaneTable::add_intervals(rule, Match(rule, i), false, by_class[at]);
        const bool is_for_every_name = rule.to.address_class == AddressClass::kPublic;
        if (rule.action == Action::kDeny || !is_for_every_name) break;
        types_of_every_name_.insert(types_of_every_name_.end(), rule.dns_types.begin(),
                                    rule.dns_types.end());
        break;
      }
      case Destination::Kind::kHostDoor:
        LaneTable::add_intervals(rule, Match(rule, i), false, door);
        break;
    }
  }
  for (std::size_t i = 0; i < kClasses; ++i) classes_[i] = table_.add(by_class[i]);
  door_ = table_.add(door);
}

bool RuleIndex::is_dns_type_listed(const NameIndex::Places& places, std::uint16_t type) const {
  return std::ranges::find(types_of_every_name_, type) != types_of_every_name_.end() ||
         names_.is_dns_type_listed(places, type);
}

}  // namespace cordon
