#include "launcher/policy/learned_policy.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "launcher/events/event_text.h"
#include "launcher/policy/policy_words.h"
#include "launcher/readable_octets.h"

namespace cordon {
namespace {

// More destinations than a policy could list is a scan.
constexpr std::size_t kMostDestinations = 20'000;
constexpr std::size_t kNamesOfASuffix = 3;
constexpr std::size_t kMostPresets = 16;
constexpr std::size_t kMostNamesShown = 4;
// Names that were only looked up are for a person to read.
constexpr std::size_t kMostNamesNotDialled = 200;

struct Line {
  std::string rule;
  std::string why;
  bool is_comment = false;
};

std::string join(std::span<const std::string> words, std::size_t most) {
  std::string text;
  for (std::size_t i = 0; i < words.size() && i < most; ++i) {
    text += (i == 0 ? "" : ", ") + words[i];
  }
  if (words.size() > most) text += fmt::format(" and {} more", words.size() - most);
  return text;
}

struct Total {
  std::uint64_t flows = 0;
  std::uint64_t up = 0;
  std::uint64_t down = 0;
  std::set<std::string> programs;

  void add(const LearnedDestination& one) {
    flows += one.flows;
    up += one.bytes_up;
    down += one.bytes_down;
    programs.insert(one.programs.begin(), one.programs.end());
  }
  [[nodiscard]] std::string why() const {
    std::string text = flows == 1 ? "1 flow" : fmt::format("{} flows", flows);
    if (up > 0) text += fmt::format(", {} up", readable_octets(up));
    if (down > 0) text += fmt::format(", {} down", readable_octets(down));
    const std::vector<std::string> names(programs.begin(), programs.end());
    if (!names.empty()) text += "; " + join(names, kMostNamesShown);
    return text;
  }
};

std::string time_of_day(std::int64_t unix_milliseconds) {
  constexpr std::int64_t kDay = 86'400'000;
  const std::int64_t seconds = unix_milliseconds % kDay / 1000;
  return fmt::format("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

std::string parent_of(const std::string& name) {
  const std::size_t dot = name.find('.');
  return dot == std::string::npos ? std::string() : name.substr(dot + 1);
}

using Destinations = std::vector<const LearnedDestination*>;

bool is_web(const LearnedDestination& one) {
  return one.protocol == Protocol::kTcp && (one.port == 80 || one.port == 443);
}

// Takes out of `left` what presets are for; each preset with the names that it took.
std::vector<Line> take_presets(Destinations& left, const PolicyLore& lore) {
  std::vector<Line> lines;
  std::set<std::string> used;
  for (std::size_t i = 0; i < kMostPresets; ++i) {
    std::vector<std::string> names;
    for (const LearnedDestination* one : left) {
      if (!one->name.empty() && one->protocol == Protocol::kTcp) names.push_back(one->name);
    }
    const auto preset = lore.preset_for(names);
    if (!preset || !used.insert(*preset).second) break;
    std::vector<std::string> taken;
    Total total;
    const auto is_covered = [&](const LearnedDestination* one) {
      const bool is_its = one->protocol == Protocol::kTcp && !one->name.empty() &&
                          lore.covers(*preset, one->name, one->port);
      if (is_its) total.add(*one);
      if (is_its) taken.push_back(one->name);
      return is_its;
    };
    std::erase_if(left, is_covered);
    if (taken.empty()) break;
    std::ranges::sort(taken);
    taken.erase(std::unique(taken.begin(), taken.end()), taken.end());
    lines.push_back({*preset, fmt::format("{}: {}", join(taken, kMostNamesShown), total.why())});
  }
  return lines;
}

// "" for what a name without a port means.
std::string port_text(const Destinations& of_name) {
  const LearnedDestination& one = *of_name.front();
  const bool is_plain = std::ranges::all_of(of_name, [](const auto* d) { return is_web(*d); }) &&
                        std::ranges::any_of(of_name, [](const auto* d) { return d->port == 443; });
  return is_plain || one.protocol == Protocol::kIcmp ? std::string() : fmt::format(":{}", one.port);
}

std::string protocol_text(Protocol protocol) {
  return protocol == Protocol::kTcp ? std::string() : fmt::format("{}/", protocol_name(protocol));
}

// Names that are reached alike: what a rule for one says but for the name itself.
struct Shape {
  Protocol protocol = Protocol::kTcp;
  std::string ports;
  friend auto operator<=>(const Shape&, const Shape&) = default;
};

std::map<Shape, std::map<std::string, Destinations>> by_shape(const Destinations& left) {
  std::map<std::string, Destinations> of_name;  // the web's two ports together, others apart
  for (const LearnedDestination* one : left) {
    if (one->name.empty()) continue;
    const std::string apart =
        is_web(*one) ? "" : fmt::format("{}{}", protocol_name(one->protocol), one->port);
    of_name[one->name + " " + apart].push_back(one);
  }
  std::map<Shape, std::map<std::string, Destinations>> shapes;
  for (const auto& [key, destinations] : of_name) {
    const LearnedDestination& one = *destinations.front();
    shapes[{one.protocol, port_text(destinations)}][one.name] = destinations;
  }
  return shapes;
}

// The names of a shape by the suffix that might stand for them; "" for those that have none.
using Families = std::map<std::string, std::vector<std::string>>;

Families families_of(const std::map<std::string, Destinations>& names, const PolicyLore& lore) {
  Families families;
  for (const auto& [name, destinations] : names) {
    const std::string parent = parent_of(name);
    const bool may_be_suffix =
        parent.find('.') != std::string::npos && !lore.is_public_suffix(parent);
    families[may_be_suffix ? parent : std::string()].push_back(name);
  }
  return families;
}

void add_total(Total& total, const Destinations& destinations) {
  for (const LearnedDestination* one : destinations) total.add(*one);
}

void add_names(std::vector<Line>& lines, const Destinations& left, const PolicyLore& lore) {
  for (const auto& [shape, names] : by_shape(left)) {
    const auto line = [&](const std::string& name, const Total& total, const std::string& more) {
      lines.push_back({protocol_text(shape.protocol) + name + shape.ports, more + total.why()});
    };
    for (const auto& [parent, children] : families_of(names, lore)) {
      if (!parent.empty() && children.size() >= kNamesOfASuffix) {
        Total all;
        for (const std::string& child : children) add_total(all, names.at(child));
        line("*." + parent, all,
             fmt::format("{} names: {}; ", children.size(), join(children, kMostNamesShown)));
        continue;
      }
      for (const std::string& child : children) {
        Total total;
        add_total(total, names.at(child));
        const std::int64_t first = names.at(child).front()->first_seen_unix_milliseconds;
        line(child, total, fmt::format("first at {}; ", time_of_day(first)));
      }
    }
  }
}

void add_addresses(std::vector<Line>& lines, const Destinations& left) {
  for (const LearnedDestination* one : left) {
    if (!one->name.empty()) continue;
    Total total;
    total.add(*one);
    lines.push_back({one->to_string(),
                     fmt::format("an address, dialled without a name; first at {}; {}",
                                 time_of_day(one->first_seen_unix_milliseconds), total.why())});
  }
}

Line comment_on(const LearnedDestination& one) {
  Total total;
  total.add(one);
  const std::string what = one.is_host_door
                               ? "a port of this host"
                               : fmt::format("class {}", class_name(one.address_class));
  return {.rule = one.to_string(),
          .why = fmt::format("was denied, {}: {}", what, total.why()),
          .is_comment = true};
}

// Those of a name's types that a rule of the policy lists.
std::set<std::uint16_t> listed_types(const LearnedRecords& one, const PolicyLore& lore) {
  std::set<std::uint16_t> types;
  if (!lore.may_be_named(one.name)) return types;
  for (const std::uint16_t type : one.found) {
    if (!word_for(kDnsTypes, type).empty()) types.insert(type);
  }
  return types;
}

// What presets and suffix rules answer anyway is left out.
void add_names_not_dialled(std::vector<Line>& lines, const LearnedRun& run,
                           std::span<const Line> presets, const PolicyLore& lore) {
  std::set<std::string> rules;
  for (const Line& line : lines) rules.insert(line.rule);
  std::size_t told = 0;
  std::size_t more = 0;
  for (const LearnedName& one : run.names_not_dialled) {
    const auto has_records = [&](const LearnedRecords& records) {
      return records.name == one.name && !listed_types(records, lore).empty();
    };
    const bool is_answered =
        std::ranges::any_of(run.records_asked, has_records) ||
        rules.contains("*." + parent_of(one.name)) ||
        std::ranges::any_of(presets, [&](const Line& preset) {
          return lore.covers(preset.rule, one.name, 443) || lore.covers(preset.rule, one.name, 80);
        });
    if (is_answered) continue;
    if (told++ >= kMostNamesNotDialled) {
      ++more;
      continue;
    }
    lines.push_back({.rule = one.name,
                     .why = fmt::format("looked up at {}, never dialled: without a rule it is not "
                                        "answered",
                                        time_of_day(one.first_seen_unix_milliseconds)),
                     .is_comment = true});
  }
  if (more > 0) lines.back().why += fmt::format(" (and {} more such names)", more);
}

std::string quoted(const std::string& text) { return fmt::format("\"{}\",", text); }

std::string list_text(std::string_view key, const std::vector<Line>& lines) {
  // As `cordon policy fmt` has it: under the `default` before it; rules in line with rules,
  // comments with comments.
  if (lines.empty()) return fmt::format("{:<7} = []\n", key);
  std::array<std::size_t, 2> widths{};
  for (const Line& line : lines) {
    std::size_t& width = widths.at(line.is_comment ? 1 : 0);
    width = std::max(width, quoted(line.rule).size());
  }
  std::string text = fmt::format("{} = [\n", key);
  for (const Line& line : lines) {
    text += fmt::format("  {}{:<{}} # {}\n", line.is_comment ? "# " : "", quoted(line.rule),
                        widths.at(line.is_comment ? 1 : 0), line.why);
  }
  return text + "]\n";
}

std::string type_text(std::uint16_t type) {
  const std::string_view word = word_for(kDnsTypes, type);
  return word.empty() ? query_type_text(type) : std::string(word);
}

std::string types_text(const std::set<std::uint16_t>& types, std::string_view quote) {
  std::set<std::string> words;
  for (const std::uint16_t type : types) {
    words.insert(fmt::format("{0}{1}{0}", quote, type_text(type)));
  }
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string why_not_listed(const LearnedRecords& one, const PolicyLore& lore) {
  const std::string time = time_of_day(one.first_seen_unix_milliseconds);
  if (one.found.empty()) {
    return fmt::format("asked for {} records at {}, and had none", types_text(one.in_vain, ""),
                       time);
  }
  return fmt::format("asked for {} records at {}: no rule can {}", types_text(one.found, ""), time,
                     lore.may_be_named(one.name) ? "list those" : "be for such a name");
}

void add_records_without_rule(std::vector<Line>& lines, const LearnedRun& run,
                              const PolicyLore& lore) {
  std::size_t told = 0;
  for (const LearnedRecords& one : run.records_asked) {
    if (!listed_types(one, lore).empty()) continue;
    if (++told > kMostNamesNotDialled) return;
    lines.push_back({.rule = one.name, .why = why_not_listed(one, lore), .is_comment = true});
  }
}

// What goes to port 53 ends at the resolver, so a rule for it lets a name be asked for and nothing
// be dialled.
std::string records_text(const LearnedRun& run, const PolicyLore& lore) {
  std::map<std::set<std::uint16_t>, std::vector<Line>> by_types;
  for (const LearnedRecords& one : run.records_asked) {
    const std::set<std::uint16_t> types = listed_types(one, lore);
    if (types.empty()) continue;
    by_types[types].push_back(
        {.rule = one.name + ":53",
         .why = fmt::format("asked at {}", time_of_day(one.first_seen_unix_milliseconds))});
  }
  std::string text;
  for (const auto& [types, lines] : by_types) {
    text += fmt::format(
        "\n# For their records: what is sent to port 53 meets the resolver, so this lets nothing "
        "be "
        "dialled.\n[[rule]]\nname = \"records: {}\"\ndns  = [{}]\n{}",
        types_text(types, ""), types_text(types, "\""), list_text("to", lines));
  }
  return text;
}

std::string classes_text(std::span<const ClassOverride> classes) {
  std::map<AddressClass, std::vector<std::string>> prefixes;
  for (const ClassOverride& moved : classes) {
    prefixes[moved.address_class].push_back(fmt::format("\"{}\"", moved.prefix.to_string()));
  }
  if (prefixes.empty()) return {};
  std::string text = "\n[classes]  # as they were given to cordon learn\n";
  for (const auto& [address_class, list] : prefixes) {
    text += fmt::format("{} = [{}]\n", class_name(address_class), fmt::join(list, ", "));
  }
  return text;
}

}  // namespace

std::string LearnedDestination::to_string() const {
  if (is_host_door) return fmt::format("{}host:{}", protocol_text(protocol), port);
  if (name.empty()) return protocol_text(protocol) + address;
  const bool is_plain = protocol == Protocol::kIcmp || (protocol == Protocol::kTcp && port == 443);
  return protocol_text(protocol) + name + (is_plain ? "" : fmt::format(":{}", port));
}

LearnedDestination* Learner::at(std::int64_t unix_milliseconds, const Request& request,
                                bool is_denied, const std::optional<GuestProcess>& process) {
  if (request.direction != Direction::kOutbound) return nullptr;
  LearnedDestination one{.protocol = request.protocol,
                         .port = request.dialled.port,
                         .is_host_door = request.is_host_door,
                         .address_class = request.address_class,
                         .is_denied = is_denied,
                         .first_seen_unix_milliseconds = unix_milliseconds};
  if (request.name != nullptr) {
    one.name = escape_text(request.name->lower_case().to_string());
  } else {
    one.address = request.protocol == Protocol::kIcmp ? request.dialled.address.to_string()
                                                      : request.dialled.to_string();
  }
  const std::string key = fmt::format("{} {}:{}", is_denied, one.to_string(), request.dialled.port);
  if (seen_.size() >= kMostDestinations && !seen_.contains(key)) return nullptr;
  LearnedDestination& kept = seen_.try_emplace(key, std::move(one)).first->second;
  if (process) kept.programs.insert(escape_text(process->program));
  return &kept;
}

void Learner::on_flow(std::int64_t unix_milliseconds, const FlowReport& report,
                      const std::optional<GuestProcess>& process) {
  LearnedDestination* const one = at(unix_milliseconds, report.request, false, process);
  if (one == nullptr) return;
  if (!report.end) ++one->flows;
  one->bytes_up += report.bytes_up;
  one->bytes_down += report.bytes_down;
}

void Learner::on_denial(std::int64_t unix_milliseconds, const Denial& denial,
                        const std::optional<GuestProcess>& process) {
  if (denial.kind != Denial::Kind::kFlow) return;
  LearnedDestination* const one = at(unix_milliseconds, denial.request, true, process);
  if (one != nullptr) ++one->flows;
}

void Learner::on_resolved(std::int64_t unix_milliseconds, const Resolution& resolution) {
  if (resolution.request.name == nullptr) return;
  const std::string name = escape_text(resolution.request.name->lower_case().to_string());
  if (resolution.type != 0) {
    if (records_.size() >= kMostDestinations && !records_.contains(name)) return;
    LearnedRecords& records =
        records_
            .try_emplace(name, LearnedRecords{.name = name,
                                              .found = {},
                                              .in_vain = {},
                                              .first_seen_unix_milliseconds = unix_milliseconds})
            .first->second;
    (resolution.has_data ? records.found : records.in_vain).insert(resolution.type);
    return;
  }
  if (resolved_.size() >= kMostDestinations && !resolved_.contains(name)) return;
  resolved_.try_emplace(
      name, LearnedName{.name = name, .first_seen_unix_milliseconds = unix_milliseconds});
}

std::vector<LearnedName> Learner::names_not_dialled() const {
  std::set<std::string> dialled;
  for (const auto& [key, one] : seen_) dialled.insert(one.name);
  std::vector<LearnedName> names;
  for (const auto& [name, one] : resolved_) {
    if (!dialled.contains(name)) names.push_back(one);
  }
  std::ranges::stable_sort(names, {}, &LearnedName::first_seen_unix_milliseconds);
  return names;
}

std::vector<LearnedRecords> Learner::records_asked() const {
  std::vector<LearnedRecords> all;
  all.reserve(records_.size());
  for (const auto& [name, one] : records_) all.push_back(one);
  return all;
}

std::vector<LearnedDestination> Learner::destinations() const {
  std::vector<LearnedDestination> all;
  all.reserve(seen_.size());
  for (const auto& [key, one] : seen_) all.push_back(one);
  std::ranges::stable_sort(all, {}, &LearnedDestination::first_seen_unix_milliseconds);
  return all;
}

std::string learned_policy(const LearnedRun& run, const PolicyLore& lore) {
  Destinations left;
  std::vector<Line> comments;
  for (const LearnedDestination& one : run.destinations) {
    if (one.is_denied || one.flows == 0) {
      if (one.is_denied) comments.push_back(comment_on(one));
    } else {
      left.push_back(&one);
    }
  }
  const std::vector<Line> presets = take_presets(left, lore);
  std::vector<Line> allow;
  add_names(allow, left, lore);
  add_addresses(allow, left);
  allow.insert(allow.end(), comments.begin(), comments.end());
  add_names_not_dialled(allow, run, presets, lore);
  add_records_without_rule(allow, run, lore);
  std::string text = fmt::format(
      "# What `{}` reached on {}, as cordon learn saw it.\n"
      "# It allows what one run did: read it before you rely on it.\n"
      "version = 1\n",
      escape_text(fmt::format("{}", fmt::join(run.command, " "))), run.date);
  if (!presets.empty()) text += list_text("use", presets);
  text += "default = \"deny\"\n";
  text += list_text("allow", allow);
  return text + records_text(run, lore) + classes_text(run.classes);
}

}  // namespace cordon
