#include "launcher/policy/policy_set.h"

#include <algorithm>
#include <optional>
#include <sys/stat.h>

#include <fmt/format.h>

#include "launcher/policy/policy_file_checks.h"

namespace cordon {
namespace {

bool is_path(std::string_view text) {
  return text.find('/') != std::string_view::npos || text.ends_with(".toml");
}

/// deny is stricter than ask, ask than allow-public.
int strictness(DefaultAction action) {
  switch (action) {
    case DefaultAction::kDeny:
      return 2;
    case DefaultAction::kAsk:
      return 1;
    case DefaultAction::kAllowPublic:
      break;
  }
  return 0;
}

/// What beats the files, for keys that have such a one.
struct BeatingOption {
  std::string_view name;
  bool is_given = false;
};

class PolicyMerger {
 public:
  PolicyMerger(const RunOptions& given, std::span<const std::string> folders)
      : given_(given), folders_(folders) {}

  Status add_option_policy(const std::string& text) {
    FoundPolicy policy{.name = text, .path = text};
    if (!is_path(text)) {
      auto found = find_policy(text, folders_);
      if (!found) return wrap("--policy " + text, found.error());
      policy = *std::move(found);
    }
    return add_file(policy, PolicyKind::kPolicy, "--policy " + text);
  }

  Status add_option_preset(const std::string& name) {
    auto found = find_policy(name, folders_);
    if (!found) return wrap("--use " + name, found.error());
    return add_file(*found, PolicyKind::kPreset, "--use " + name);
  }

  Status add_folder_policy() {
    return add_file({.name = std::string(kFolderPolicy), .path = std::string(kFolderPolicy)},
                    PolicyKind::kPolicy, "--trust");
  }

  /// Applies what was gathered to the options.
  Status apply(RunOptions& options) {
    if (!problems_.empty()) return plain_error(summary_of(problems_));
    apply_settings(options);
    options.policy.mode =
        options.mode.value_or(merged_.mode ? merged_.mode->value : PolicyMode::kEnforce);
    for (Placed<Rule>& rule : merged_.rules) {
      options.policy.rules.push_back(std::move(rule.value));
    }
    for (const auto& moved : merged_.classes) options.policy.overrides.push_back(moved.value);
    for (const auto& spec : merged_.publish) options.publish.push_back(spec.value);
    options.policy.default_action = default_for(options.policy);
    options.policy.is_quic_by_name = options.names.quic == NameSettings::Quic::kByName;
    return check_names_are_answered(options);
  }

  std::vector<FoundPolicy> files() && { return std::move(files_); }

 private:
  Status add_file(const FoundPolicy& policy, PolicyKind kind, const std::string& asked_by) {
    const bool is_known =
        std::ranges::find(files_, policy.path, &FoundPolicy::path) != files_.end();
    if (is_known) return {};
    files_.push_back(policy);
    has_policy_ = has_policy_ || kind == PolicyKind::kPolicy;
    auto text = read_policy_octets(policy.path);
    if (!text && policy.name == policy.path) return std::unexpected(text.error());
    if (!text) return wrap(asked_by, text.error());
    // People know a preset by its name, and a file by the path that they wrote.
    const std::string shown =
        policy.name == policy.path ? policy.path : policy.path.substr(policy.path.rfind('/') + 1);
    PolicyReading reading = read_policy_text(*text, shown, kind);
    add_unknown_presets(reading, folders_);
    if (!reading.problems.empty()) return plain_error(summary_of(reading.problems));
    for (const Placed<std::string>& use : reading.file.use) {
      auto found = find_policy(use.value, folders_);
      if (!found) return wrap(use.place.to_string(), found.error());
      CORDON_TRY_STATUS(add_file(*found, PolicyKind::kPreset, use.place.to_string()));
    }
    merge(std::move(reading.file));
    return {};
  }

  template <class T>
  void merge_setting(std::string_view key, Setting<T>& into, Setting<T>& from,
                     const BeatingOption& option = {}) {
    if (!from || option.is_given) return;
    if (into && !(into->value == from->value)) {
      problems_.push_back(
          {from->place,
           fmt::format("{} is set to something else in {}; remove one of them{}", key,
                       into->place.line_string(),
                       option.name.empty() ? "" : fmt::format(", or decide by {}", option.name))});
      return;
    }
    into = std::move(from);
  }

  void merge(PolicyFile file) {
    // An entry's number is its own within its file; here, within all of them.
    std::uint32_t last = entries_;
    for (Placed<Rule>& rule : file.rules) {
      if (rule.value.entry == 0) continue;
      rule.value.entry += entries_;
      last = std::max(last, rule.value.entry);
    }
    entries_ = last;
    const auto append = [](auto& into, auto& from) {
      into.insert(into.end(), std::make_move_iterator(from.begin()),
                  std::make_move_iterator(from.end()));
    };
    append(merged_.rules, file.rules);
    append(merged_.classes, file.classes);
    append(merged_.publish, file.publish);
    if (file.default_action) {
      const bool is_stricter =
          !merged_.default_action ||
          strictness(file.default_action->value) > strictness(merged_.default_action->value);
      if (is_stricter) merged_.default_action = file.default_action;
    }
    merge_setting("mode", merged_.mode, file.mode, {"--mode", given_.mode.has_value()});
    merge_setting("dns.upstream", merged_.dns.upstream, file.dns.upstream,
                  {.name = "--dns", .is_given = given_.dns_given.has_value()});
    merge_setting("dns.mode", merged_.dns.mode, file.dns.mode,
                  {"--dns-mode", given_.names.mode != NameSettings::Mode::kByPolicy});
    merge_setting("dns.wildcard-budget", merged_.dns.wildcard_names_per_minute,
                  file.dns.wildcard_names_per_minute);
    merge_setting("tls.sni", merged_.tls.sni, file.tls.sni);
    merge_setting("tls.ech", merged_.tls.ech, file.tls.ech);
    merge_setting("tls.quic", merged_.tls.quic, file.tls.quic);
    merge_setting("limits.up", merged_.limits.up_bytes, file.limits.up_bytes);
    merge_setting("limits.down", merged_.limits.down_bytes, file.limits.down_bytes);
    merge_setting("limits.rate", merged_.limits.bytes_per_second, file.limits.bytes_per_second);
    merge_setting("limits.flows", merged_.limits.flows, file.limits.flows);
    merge_setting("limits.time", merged_.limits.seconds, file.limits.seconds);
    merge_setting("log.file", merged_.log.file, file.log.file, {"--log", !given_.log_path.empty()});
    merge_setting("log.format", merged_.log.format, file.log.format);
    merge_setting("log.flows", merged_.log.flows, file.log.flows);
    merge_setting("log.denied", merged_.log.denied, file.log.denied);
  }

  template <class T, class U>
  static void take(const Setting<T>& setting, U& into) {
    if (setting) into = setting->value;
  }

  void apply_settings(RunOptions& options) const {
    if (!options.dns_given) take(merged_.dns.upstream, options.dns);
    const bool has_own_mode = options.names.mode != NameSettings::Mode::kByPolicy;
    if (!has_own_mode) take(merged_.dns.mode, options.names.mode);
    take(merged_.dns.wildcard_names_per_minute, options.names.wildcard_names_per_minute);
    take(merged_.tls.sni, options.names.sni);
    take(merged_.tls.ech, options.names.ech);
    take(merged_.tls.quic, options.names.quic);
    take(merged_.limits.up_bytes, options.policy.limits.up_bytes);
    take(merged_.limits.down_bytes, options.policy.limits.down_bytes);
    take(merged_.limits.bytes_per_second, options.policy.limits.bytes_per_second);
    take(merged_.limits.flows, options.policy.limits.flows);
    take(merged_.limits.seconds, options.policy.limits.until_seconds);
    if (options.log_path.empty()) take(merged_.log.file, options.log_path);
    take(merged_.log.format, options.log_format);
    take(merged_.log.flows, options.logs_flows);
    take(merged_.log.denied, options.logs_denied);
  }

  [[nodiscard]] DefaultAction default_for(const PolicyInput& policy) const {
    if (given_.opens_public) return DefaultAction::kAllowPublic;
    if (merged_.default_action) return merged_.default_action->value;
    const bool grants = std::ranges::any_of(
        policy.rules, [](const Rule& rule) { return rule.action != Action::kDeny; });
    const bool is_closed = has_policy_ || grants || policy.mode == PolicyMode::kAsk;
    return is_closed ? DefaultAction::kDeny : DefaultAction::kAllowPublic;
  }

  static Status check_names_are_answered(const RunOptions& options) {
    const NameSettings::Mode mode = options.names.mode;
    const bool has_no_resolver =
        options.dns.kind == DnsChoice::Kind::kOff || mode == NameSettings::Mode::kOff;
    if (!has_no_resolver && mode != NameSettings::Mode::kOpen) return {};
    for (const Rule& rule : options.policy.rules) {
      if (rule.to.kind != Destination::Kind::kName || rule.action == Action::kDeny) continue;
      return plain_error(fmt::format(
          "{} {} has a rule for a name, but {}; remove one of them", rule.origin, rule.text,
          has_no_resolver ? "no name is answered (DNS is off)"
                          : "names are not enforced (the DNS mode is open)"));
    }
    return {};
  }

  const RunOptions& given_;
  std::span<const std::string> folders_;
  std::vector<FoundPolicy> files_;
  bool has_policy_ = false;
  std::uint32_t entries_ = 0;  // the highest number so far
  PolicyFile merged_;
  std::vector<Problem> problems_;
};

}  // namespace

Result<PolicySet> read_policy_set(const RunOptions& given, std::span<const std::string> folders) {
  PolicySet set{.options = given};
  if (given.is_offline) return set;
  if (const auto why = find_too_wide(given.policy.rules)) return plain_error(*why);
  PolicyMerger merger(given, folders);
  for (const std::string& file : given.policy_files) {
    CORDON_TRY_STATUS(merger.add_option_policy(file));
  }
  if (given.trusts_folder) CORDON_TRY_STATUS(merger.add_folder_policy());
  for (const std::string& preset : given.presets) {
    CORDON_TRY_STATUS(merger.add_option_preset(preset));
  }
  CORDON_TRY_STATUS(merger.apply(set.options));
  set.files = std::move(merger).files();
  return set;
}

Result<RunOptions> with_policies(const RunOptions& given) {
  const std::vector<std::string> folders = policy_folders();
  CORDON_TRY(PolicySet set, read_policy_set(given, folders));
  return std::move(set.options);
}

std::optional<std::string> unread_folder_policy(const RunOptions& given) {
  struct stat ours {};
  const std::string path(kFolderPolicy);
  if (given.trusts_folder || ::stat(path.c_str(), &ours) != 0) return std::nullopt;
  const bool is_named = std::ranges::any_of(given.policy_files, [&](const std::string& file) {
    struct stat other {};
    return ::stat(file.c_str(), &other) == 0 && other.st_dev == ours.st_dev &&
           other.st_ino == ours.st_ino;
  });
  if (is_named) return std::nullopt;
  return fmt::format(
      "./{} is there and is not read, for it may be somebody else's; to use it: --trust", path);
}

}  // namespace cordon
