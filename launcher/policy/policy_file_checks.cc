#include "launcher/policy/policy_file_checks.h"

#include <algorithm>
#include <set>
#include <string>
#include <unordered_map>

#include <fmt/format.h>

#include "launcher/policy/policy_words.h"
#include "launcher/policy/public_suffix.h"

namespace cordon {
namespace {

bool covers(const PortSet& one, const PortSet& other) {
  return std::ranges::all_of(other.ranges(), [&one](const PortRange& range) {
    return std::ranges::any_of(one.ranges(), [&range](const PortRange& around) {
      return around.first <= range.first && range.last <= around.last;
    });
  });
}

bool covers(const RuleReach& one, const RuleReach& other) {
  return (!one.protocol || one.protocol == other.protocol) && covers(one.ports, other.ports);
}

/// `name` is `other` or above it.
bool covers(const NamePattern& one, const NamePattern& other) {
  const bool is_same = one.name == other.name;
  switch (one.kind) {
    case NamePattern::Kind::kExact:
      return is_same && other.kind == NamePattern::Kind::kExact;
    case NamePattern::Kind::kSubdomains:
      return is_same ? other.kind == NamePattern::Kind::kSubdomains
                     : other.name.ends_with(one.name);
    case NamePattern::Kind::kSuffix:
      return other.name.ends_with(one.name);
  }
  return false;
}

/// Rules by where they lead, so that those around a destination are found without looking at all.
class RulesByPlace {
 public:
  using Found = const Placed<Rule>*;

  void add(const Placed<Rule>& rule) {
    const Destination& to = rule.value.to;
    if (to.kind == Destination::Kind::kPrefix) lengths_.insert(to.prefix.length());
    rules_[key_of(to)].push_back(&rule);
  }

  /// The first rule that is about every flow that `rule` is about.
  [[nodiscard]] Found around(const Rule& rule) const {
    if (rules_.empty()) return nullptr;
    switch (rule.to.kind) {
      case Destination::Kind::kName:
        return around_name(rule);
      case Destination::Kind::kPrefix:
        return around_prefix(rule);
      case Destination::Kind::kClass:
      case Destination::Kind::kHostDoor:
        break;
    }
    return first_of(key_of(rule.to), rule);
  }

 private:
  static std::string key_of(const Destination& to) {
    switch (to.kind) {
      case Destination::Kind::kName:
        return "name " + to.pattern.name.to_string();
      case Destination::Kind::kPrefix:
        return "prefix " + to.prefix.to_string();
      case Destination::Kind::kClass:
        return fmt::format("class {}", class_name(to.address_class));
      case Destination::Kind::kHostDoor:
        break;
    }
    return "door";
  }

  [[nodiscard]] Found first_of(const std::string& key, const Rule& rule) const {
    const auto found = rules_.find(key);
    if (found == rules_.end()) return nullptr;
    for (const Found candidate : found->second) {
      const bool is_around = rule.to.kind != Destination::Kind::kName ||
                             covers(candidate->value.to.pattern, rule.to.pattern);
      if (is_around && covers(reach_of(candidate->value), reach_of(rule))) return candidate;
    }
    return nullptr;
  }

  [[nodiscard]] Found around_name(const Rule& rule) const {
    std::string name = rule.to.pattern.name.to_string();
    for (;;) {
      if (const Found found = first_of("name " + name, rule)) return found;
      const std::size_t dot = name.find('.');
      if (dot == std::string::npos) return nullptr;
      name.erase(0, dot + 1);
    }
  }

  [[nodiscard]] Found around_prefix(const Rule& rule) const {
    for (const unsigned length : lengths_) {
      if (length > rule.to.prefix.length()) break;
      const Prefix around(rule.to.prefix.address(), length);
      if (const Found found = first_of("prefix " + around.to_string(), rule)) return found;
    }
    return nullptr;
  }

  std::unordered_map<std::string, std::vector<Found>> rules_;
  std::set<unsigned> lengths_;
};

/// A prefix around the whole loopback net is meant as "everything", and is: it opens this host,
/// too.
std::optional<std::string> why_too_wide(const Rule& rule) {
  const Prefix& prefix = rule.to.prefix;
  const Prefix loopback_net(loopback(prefix.address().family()),
                            prefix.address().is_v4() ? 8 : 128);
  const bool is_around =
      prefix.length() < loopback_net.length() && prefix.contains(loopback_net.address());
  if (!is_around) return std::nullopt;
  return fmt::format(
      "\"{}\" would open this host's loopback and its local networks, too; write "
      "@public for the internet",
      rule.text);
}

// Names below which others than the rule's writer choose the hosts.
std::optional<std::string> why_too_wide(const PublicSuffixes& suffixes, const Rule& rule) {
  if (rule.action != Action::kAllow) return std::nullopt;
  if (rule.to.kind == Destination::Kind::kPrefix) return why_too_wide(rule);
  if (rule.to.kind != Destination::Kind::kName) return std::nullopt;
  const std::string name = rule.to.pattern.name.to_string();
  if (rule.to.pattern.kind == NamePattern::Kind::kExact) {
    if (!suffixes.is_of_registrars(name)) return std::nullopt;
    return fmt::format("\"{}\" is a public suffix, not a host; write the host's whole name",
                       rule.text);
  }
  if (!suffixes.is_public(name)) return std::nullopt;
  return fmt::format(
      "\"{}\" is everybody's: anyone can have a name under {}; write the names that "
      "you mean, as in .yours.{}",
      rule.text, name, name);
}

void check_width(const PolicyFile& file, std::vector<Problem>& problems) {
  const PublicSuffixes suffixes;
  for (const Placed<Rule>& rule : file.rules) {
    if (const auto why = why_too_wide(suffixes, rule.value)) problems.push_back({rule.place, *why});
  }
}

bool is_same_grant(const Rule& one, const Rule& other) {
  return one.limits == other.limits && one.may_be_private == other.may_be_private &&
         one.needs_tls == other.needs_tls && one.dns_types == other.dns_types;
}

/// An allow, or an ask, that something stronger in the same file always beats.
void check_precedence(const PolicyFile& file, std::vector<Problem>& problems) {
  RulesByPlace denied;
  RulesByPlace asked;
  for (const Placed<Rule>& rule : file.rules) {
    if (rule.value.action == Action::kDeny) denied.add(rule);
    if (rule.value.action == Action::kAsk) asked.add(rule);
  }
  for (const Placed<Rule>& rule : file.rules) {
    if (rule.value.action == Action::kDeny) continue;
    if (const auto* const deny = denied.around(rule.value)) {
      problems.push_back(
          {rule.place,
           fmt::format("\"{}\" can never be {}: line {} denies \"{}\", and a deny beats "
                       "everything; remove one of them",
                       rule.value.text, rule.value.action == Action::kAsk ? "asked" : "allowed",
                       deny->place.line, deny->value.text)});
    } else if (rule.value.action == Action::kAllow) {
      const auto* const ask = asked.around(rule.value);
      if (ask == nullptr) continue;
      problems.push_back(
          {rule.place, fmt::format("\"{}\" is asked all the same: line {} asks \"{}\", "
                                   "and an ask beats an allow; remove one of them",
                                   rule.value.text, ask->place.line, ask->value.text)});
    }
  }
}

/// The same destination granted twice in different ways: which one would count?
void check_repetition(const PolicyFile& file, std::vector<Problem>& problems) {
  std::unordered_map<std::string, const Placed<Rule>*> seen;
  for (const Placed<Rule>& rule : file.rules) {
    if (rule.value.action != Action::kAllow) continue;
    const auto [at, is_new] = seen.try_emplace(format_destination(rule.value.to), &rule);
    if (is_new || is_same_grant(at->second->value, rule.value)) continue;
    problems.push_back(
        {rule.place, fmt::format("\"{}\" is allowed with other limits in line {}; keep one of them",
                                 rule.value.text, at->second->place.line)});
  }
}

void check_names_are_answered(const PolicyFile& file, std::vector<Problem>& problems) {
  if (!file.dns.mode) return;
  const NameSettings::Mode mode = file.dns.mode->value;
  if (mode != NameSettings::Mode::kOpen && mode != NameSettings::Mode::kOff) return;
  for (const Placed<Rule>& rule : file.rules) {
    if (rule.value.to.kind != Destination::Kind::kName) continue;
    problems.push_back(
        {file.dns.mode->place,
         fmt::format("dns.mode = \"{}\" {}, but line {} has a rule for the name \"{}\"; write "
                     "mode = \"map\", or rules for addresses",
                     word_for(kDnsModeWords, mode),
                     mode == NameSettings::Mode::kOff ? "answers no names" : "enforces no names",
                     rule.place.line, rule.value.text)});
    return;
  }
}

}  // namespace

std::vector<Problem> check_policy_file(const PolicyFile& file) {
  std::vector<Problem> problems;
  check_width(file, problems);
  check_precedence(file, problems);
  check_repetition(file, problems);
  check_names_are_answered(file, problems);
  return problems;
}

std::optional<std::string> find_too_wide(std::span<const Rule> rules) {
  const PublicSuffixes suffixes;
  for (const Rule& rule : rules) {
    if (auto why = why_too_wide(suffixes, rule)) return fmt::format("{}: {}", rule.origin, *why);
  }
  return std::nullopt;
}

}  // namespace cordon
