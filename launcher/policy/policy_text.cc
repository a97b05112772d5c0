#include "launcher/policy/policy_text.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "launcher/policy/policy_values.h"
#include "launcher/policy/policy_words.h"

namespace cordon {
namespace {

bool is_plain(const Rule& rule) {
  return rule.limits.is_none() && rule.label.empty() && !rule.may_be_private && !rule.needs_tls &&
         rule.dns_types.empty();
}

/// `key = "value"` pairs of a rule's table, in the order of the manual.
std::vector<std::pair<std::string_view, std::string>> extras_of(const Rule& rule) {
  std::vector<std::pair<std::string_view, std::string>> extras;
  const auto text = [&extras](std::string_view key, std::string value) {
    extras.emplace_back(key, fmt::format("\"{}\"", value));
  };
  const RuleLimits& limits = rule.limits;
  if (limits.up_bytes != 0) text("up", format_octets(limits.up_bytes));
  if (limits.down_bytes != 0) text("down", format_octets(limits.down_bytes));
  if (limits.bytes_per_second != 0) text("rate", format_octets(limits.bytes_per_second) + "/s");
  if (limits.flows != 0) extras.emplace_back("flows", fmt::format("{}", limits.flows));
  if (limits.until_seconds != 0) text("until", format_duration(limits.until_seconds));
  if (rule.may_be_private) extras.emplace_back("private", "true");
  if (rule.needs_tls) extras.emplace_back("tls", "true");
  if (!rule.dns_types.empty()) {
    std::string types;
    for (const std::uint16_t type : rule.dns_types) {
      types += fmt::format("{}\"{}\"", types.empty() ? "" : ", ", word_for(kDnsTypes, type));
    }
    extras.emplace_back("dns", fmt::format("[{}]", types));
  }
  return extras;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char character : text) {
    if (character == '"' || character == '\\') out += '\\';
    out += character;
  }
  return out;
}

void add_list(std::string& out, const std::vector<Rule>& rules, Action action) {
  std::vector<std::pair<std::string, std::string>> lines;  // destination, origin
  std::set<std::string> seen;
  for (const Rule& rule : rules) {
    if (rule.action != action || !is_plain(rule)) continue;
    std::string text = format_destination(rule.to);
    if (seen.insert(text).second) lines.emplace_back(std::move(text), rule.origin);
  }
  if (lines.empty()) return;
  std::size_t width = 0;
  for (const auto& [text, origin] : lines) width = std::max(width, text.size());
  out += fmt::format("\n{} = [\n", action_name(action));
  for (const auto& [text, origin] : lines) {
    out += fmt::format("  {:<{}} # {}\n", fmt::format("\"{}\",", text), width + 3, origin);
  }
  out += "]\n";
}

/// Rules of one entry share their budgets, so they are written as one again.
void add_rule_tables(std::string& out, const std::vector<Rule>& rules) {
  for (std::size_t at = 0; at < rules.size();) {
    const Rule& rule = rules[at];
    const std::size_t first = at++;
    if (is_plain(rule)) continue;
    std::string targets = fmt::format("\"{}\"", format_destination(rule.to));
    for (; at < rules.size() && rule.entry != 0 && rules[at].entry == rule.entry; ++at) {
      targets += fmt::format(", \"{}\"", format_destination(rules[at].to));
    }
    out += fmt::format("\n[[rule]]  # {}\n", rule.origin);
    if (!rule.label.empty()) out += fmt::format("name = \"{}\"\n", escaped(rule.label));
    out += fmt::format("to = {}\naction = \"{}\"\n",
                       at - first > 1 ? fmt::format("[{}]", targets) : targets,
                       action_name(rule.action));
    for (const auto& [key, value] : extras_of(rule)) out += fmt::format("{} = {}\n", key, value);
  }
}

/// The settings that are not what they are without a file: table, key, value.
struct Written {
  std::string_view table;
  std::string_view key;
  std::string value;
};

std::vector<Written> settings_of(const RunOptions& options) {
  std::vector<Written> all;
  const auto text = [&all](std::string_view table, std::string_view key, std::string_view value) {
    all.push_back({table, key, fmt::format("\"{}\"", value)});
  };
  const NameSettings plain;
  if (options.dns != DnsChoice{}) {
    std::string servers;
    for (const std::string& server : format_dns_choice(options.dns)) {
      servers += fmt::format("{}\"{}\"", servers.empty() ? "" : ", ", server);
    }
    all.push_back({"dns", "upstream", fmt::format("[{}]", servers)});
  }
  const NameSettings& names = options.names;
  if (names.mode != plain.mode) text("dns", "mode", word_for(kDnsModeWords, names.mode));
  if (names.wildcard_names_per_minute != plain.wildcard_names_per_minute) {
    text("dns", "wildcard-budget", fmt::format("{}/min", names.wildcard_names_per_minute));
  }
  if (names.sni != plain.sni) text("tls", "sni", word_for(kSniWords, names.sni));
  if (names.ech != plain.ech) text("tls", "ech", word_for(kEchWords, names.ech));
  if (names.quic != plain.quic) text("tls", "quic", word_for(kQuicWords, names.quic));
  const RuleLimits& limits = options.policy.limits;
  if (limits.up_bytes != 0) text("limits", "up", format_octets(limits.up_bytes));
  if (limits.down_bytes != 0) text("limits", "down", format_octets(limits.down_bytes));
  if (limits.bytes_per_second != 0) {
    text("limits", "rate", format_octets(limits.bytes_per_second) + "/s");
  }
  if (limits.flows != 0) all.push_back({"limits", "flows", fmt::format("{}", limits.flows)});
  if (limits.until_seconds != 0) text("limits", "time", format_duration(limits.until_seconds));
  if (!options.log_path.empty()) text("log", "file", escaped(options.log_path));
  if (options.log_format != LogFormat::kJson) text("log", "format", "text");
  if (!options.logs_flows) all.push_back({"log", "flows", "false"});
  if (!options.logs_denied) all.push_back({"log", "denied", "false"});
  return all;
}

void add_classes(std::string& out, const std::vector<ClassOverride>& overrides) {
  if (overrides.empty()) return;
  std::map<std::string_view, std::string> lists;
  for (const ClassOverride& moved : overrides) {
    std::string& list = lists[class_name(moved.address_class)];
    list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", moved.prefix.to_string());
  }
  out += "\n[classes]\n";
  for (const auto& [name, list] : lists) out += fmt::format("{} = [{}]\n", name, list);
}

void add_settings(std::string& out, const RunOptions& options) {
  std::string_view table;
  for (const Written& setting : settings_of(options)) {
    if (setting.table != table) out += fmt::format("\n[{}]\n", setting.table);
    table = setting.table;
    out += fmt::format("{} = {}\n", setting.key, setting.value);
  }
}

/// Everything that makes a policy what it is, a line each, with where it comes from.
std::map<std::string, std::string> lines_of(const RunOptions& options) {
  std::map<std::string, std::string> lines;
  const PolicyInput& policy = options.policy;
  lines.emplace(fmt::format("default {}", default_action_name(policy.default_action)), "");
  lines.emplace(fmt::format("mode {}", mode_name(policy.mode)), "");
  for (const Rule& rule : policy.rules) {
    std::string line = fmt::format("{} {}", action_name(rule.action), format_destination(rule.to));
    for (const auto& [key, value] : extras_of(rule)) line += fmt::format(" {}={}", key, value);
    lines.emplace(std::move(line), rule.origin);
  }
  for (const ClassOverride& moved : policy.overrides) {
    lines.emplace(
        fmt::format("class {} {}", class_name(moved.address_class), moved.prefix.to_string()), "");
  }
  for (const PublishSpec& spec : options.publish) lines.emplace("publish " + spec.text, "");
  for (const Written& setting : settings_of(options)) {
    lines.emplace(fmt::format("{}.{} {}", setting.table, setting.key, setting.value), "");
  }
  return lines;
}

}  // namespace

std::string policy_as_file(const PolicySet& set, std::string_view heading) {
  const RunOptions& options = set.options;
  std::string out = fmt::format("# {}\n", heading);
  for (const FoundPolicy& file : set.files) {
    if (file.name != file.path) out += fmt::format("#   {} is {}\n", file.name, file.path);
  }
  out += fmt::format("\nversion = {}\ndefault = \"{}\"\n", kPolicyVersion,
                     default_action_name(options.policy.default_action));
  if (options.policy.mode != PolicyMode::kEnforce) {
    out += fmt::format("mode = \"{}\"\n", mode_name(options.policy.mode));
  }
  if (!options.publish.empty()) {
    out += "publish = [";
    for (const PublishSpec& spec : options.publish) {
      out += fmt::format("{}\"{}\"", &spec == &options.publish.front() ? "" : ", ", spec.text);
    }
    out += "]\n";
  }
  for (const Action action : {Action::kDeny, Action::kAsk, Action::kAllow}) {
    add_list(out, options.policy.rules, action);
  }
  add_rule_tables(out, options.policy.rules);
  add_classes(out, options.policy.overrides);
  add_settings(out, options);
  return out;
}

std::vector<std::string> policy_differences(const RunOptions& before, const RunOptions& after) {
  const auto old_lines = lines_of(before);
  const auto new_lines = lines_of(after);
  std::vector<std::string> differences;
  const auto add = [&differences](char sign, const auto& line) {
    const std::string origin = line.second.empty() ? "" : fmt::format("  ({})", line.second);
    differences.push_back(fmt::format("{} {}{}", sign, line.first, origin));
  };
  for (const auto& line : old_lines) {
    if (!new_lines.contains(line.first)) add('-', line);
  }
  for (const auto& line : new_lines) {
    if (!old_lines.contains(line.first)) add('+', line);
  }
  return differences;
}

std::string origin_with_path(const Rule& rule, std::span<const FoundPolicy> files) {
  const std::string file = rule.origin.substr(0, rule.origin.rfind(':'));
  for (const FoundPolicy& found : files) {
    if (found.path != file && found.path.ends_with("/" + file)) {
      return fmt::format("{} ({})", rule.origin, found.path);
    }
  }
  return rule.origin;
}

}  // namespace cordon
