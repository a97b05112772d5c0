#include "launcher/verbs/policy.h"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "launcher/complaint.h"
#include "launcher/policy/policy_file_edit.h"
#include "launcher/policy/policy_set.h"
#include "launcher/policy/policy_text.h"
#include "launcher/suggestion.h"
#include "launcher/supervisor.h"
#include "launcher/verbs/policy_explain.h"
#include "launcher/verbs/policy_reload.h"
#include "netstack/host/route_query.h"

namespace cordon {
namespace {

constexpr std::string_view kPolicyHelp =
    R"(Says what a policy means, without running anything.

Usage:
  cordon policy show    [OPTIONS] [POLICY...]
  cordon policy explain [OPTIONS] DEST
  cordon policy check   [FILE...]
  cordon policy diff    OLD NEW
  cordon policy fmt     [--write | --check] FILE...
  cordon policy add     FILE [--allow DEST | --deny DEST] [--comment WORDS]
  cordon policy presets
  cordon policy reload  ID [FILE]

  show      the policy as one file: presets written out, each rule with its place
  explain   what would happen to DEST, step by step, and which rule decides; exit status 0 if it is
            allowed, 1 if not. Without a port: 443, and 80 as well where that differs
  check     every problem of the files (./cordon.toml if none is given); exit status 1 if there is one
  diff      what the two policies say differently; exit status 1 if anything
  fmt       the file in the common form: printed, written back, or only checked (exit status 1)
  add       a rule into the file, comments and order kept
  presets   the presets that there are; `cordon policy show NAME` shows one
  reload    the files of a sandbox that runs are read once more (`cordon policy reload --help`)

OPTIONS are those of `cordon run` that say what may be reached: --policy, --use, --trust, --allow,
--deny, --class, --mode, --ask, --report, --dns-mode. A POLICY is a file, or a name as for --policy.

Examples
  cordon policy show --use npm --allow github.com:22
  cordon policy explain --policy policy.toml github.com:22
  cordon policy check policy.toml && cordon run --policy policy.toml -- ./agent
  cordon policy diff old.toml new.toml
)";

int fail(const Error& error) {
  complain(error.message());
  return kExitOwnFailure;
}

/// cordon(1), --policy: what has no slash in it and does not end in .toml.
bool is_policy_name(std::string_view text) {
  return text.find('/') == std::string_view::npos && !text.ends_with(".toml");
}

/// A file or a preset alone, as --policy would take it.
Result<PolicySet> read_alone(const std::string& policy) {
  RunOptions options;
  options.policy_files.push_back(policy);
  const std::vector<std::string> folders = policy_folders();
  return read_policy_set(options, folders);
}

// A person writes the policies behind show; they come after those of the options.
int show(RunOptions options, const std::vector<std::string>& policies) {
  for (const std::string& policy : policies) options.policy_files.push_back(policy);
  const std::vector<std::string> folders = policy_folders();
  const auto set = read_policy_set(options, folders);
  if (!set) return fail(set.error());
  const PolicyInput& policy = set->options.policy;
  const bool is_nothing_said = set->files.empty() && policy.rules.empty() &&
                               policy.default_action == DefaultAction::kAllowPublic;
  fmt::print("{}",
             policy_as_file(*set, is_nothing_said
                                      ? "Without a policy: the public internet, and nothing else."
                                      : "What this policy means, presets written out."));
  return 0;
}

int explain(const RunOptions& options, const std::string& destination) {
  const std::vector<std::string> folders = policy_folders();
  const auto set = read_policy_set(options, folders);
  if (!set) return fail(set.error());
  auto routes = FibQuery::open();
  if (!routes) return fail(routes.error());
  const auto answer = explain_destination(*set, destination, *routes);
  if (!answer) return fail(answer.error());
  fmt::print("{}", answer->text);
  return answer->is_allowed ? 0 : 1;
}

std::string summary_line(const PolicySet& set) {
  std::array<std::size_t, 3> counts{};
  for (const Rule& rule : set.options.policy.rules)
    ++counts.at(static_cast<std::size_t>(rule.action));
  std::string text;
  for (const Action action : {Action::kAllow, Action::kAsk, Action::kDeny}) {
    const std::size_t count = counts.at(static_cast<std::size_t>(action));
    if (count > 0) text += fmt::format("{} {}, ", count, action_name(action));
  }
  return text + fmt::format("default {}", default_action_name(set.options.policy.default_action));
}

/// Prints what is wrong with one file; false where something is.
bool check_file(const std::string& path) {
  std::string file = path;
  if (is_policy_name(path)) {
    const std::vector<std::string> folders = policy_folders();
    const auto found = find_policy(path, folders);
    if (!found) {
      fmt::print("{}\n", found.error().message());
      return false;
    }
    file = found->path;
  }
  const auto text = read_policy_octets(file);
  if (!text) {
    fmt::print("{}\n", text.error().message());
    return false;
  }
  PolicyReading reading = read_policy_text(*text, file);
  add_unknown_presets(reading, policy_folders());
  for (const Problem& problem : reading.problems) fmt::print("{}\n", problem.to_string());
  if (!reading.problems.empty()) return false;
  const auto set = read_alone(file);
  if (!set) {
    fmt::print("{}\n", set.error().message());
    return false;
  }
  fmt::print("{}: good ({})\n", file, summary_line(*set));
  return true;
}

int check(const std::vector<std::string>& files) {
  bool is_good = true;
  for (const std::string& file : files) is_good = check_file(file) && is_good;
  return is_good ? 0 : 1;
}

int diff(const std::string& before, const std::string& after) {
  const auto one = read_alone(before);
  if (!one) return fail(one.error());
  const auto other = read_alone(after);
  if (!other) return fail(other.error());
  const auto differences = policy_differences(one->options, other->options);
  for (const std::string& line : differences) fmt::print("{}\n", line);
  return differences.empty() ? 0 : 1;
}

enum class FormatUse : std::uint8_t { kPrint, kWrite, kCheck };

int format(const std::vector<std::string>& files, FormatUse use) {
  bool is_formed = true;
  for (const std::string& file : files) {
    const auto text = read_policy_octets(file);
    if (!text) return fail(text.error());
    const auto formatted = format_policy_text(*text, file);
    if (!formatted) return fail(formatted.error());
    if (use == FormatUse::kPrint) fmt::print("{}", *formatted);
    if (*formatted == *text) continue;
    is_formed = false;
    if (use == FormatUse::kCheck) fmt::print("{}\n", file);
    if (use != FormatUse::kWrite) continue;
    if (const Status written = replace_file(file, *formatted); !written)
      return fail(written.error());
  }
  return use == FormatUse::kCheck && !is_formed ? 1 : 0;
}

struct Addition {
  std::vector<std::string> allow;
  std::vector<std::string> deny;
  std::vector<std::string> comment;
};

int add(const std::string& file, const Addition& addition) {
  const std::string comment = addition.comment.empty() ? "" : addition.comment.back();
  for (const auto& [destinations, action] :
       {std::pair(&addition.allow, Action::kAllow), std::pair(&addition.deny, Action::kDeny)}) {
    for (const std::string& destination : *destinations) {
      const Status added = add_rule_to_file(file, action, destination, comment);
      if (!added) return fail(added.error());
    }
  }
  return 0;
}

int presets() {
  const std::vector<std::string> folders = policy_folders();
  const auto found = list_policies(folders);
  if (found.empty()) return fail(no_presets_in(folders));
  std::size_t width = 0;
  for (const FoundPolicy& preset : found) width = std::max(width, preset.name.size());
  for (const FoundPolicy& preset : found) {
    const auto text = read_policy_octets(preset.path);
    const PolicyReading reading = read_policy_text(text.value_or(""), preset.path);
    const std::string words =
        reading.problems.empty()
            ? reading.file.about
            : fmt::format("cannot be used: {}", reading.problems[0].to_string());
    const bool is_own = !folders.empty() && !preset.path.starts_with(folders.back());
    fmt::print("{:<{}}  {:<10}  {}{}\n", preset.name, width, reading.file.checked, words,
               is_own ? fmt::format("  ({})", preset.path) : "");
  }
  return 0;
}

using Words = std::span<const std::string>;

Result<CommandLine> parse_show(Words words) {
  CORDON_TRY(std::optional<PolicyWords> read, read_policy_options("policy", words));
  if (!read) return show_text(kPolicyHelp);
  return perform([read = *std::move(read)] { return show(read.options, read.rest); });
}

Result<CommandLine> parse_explain(Words words) {
  CORDON_TRY(std::optional<PolicyWords> read, read_policy_options("policy", words));
  if (!read) return show_text(kPolicyHelp);
  if (read->rest.size() != 1) {
    return plain_error("policy explain: write one destination, as in github.com:22");
  }
  return perform([read = *std::move(read)] { return explain(read.options, read.rest[0]); });
}

/// The words of a verb without options but help; nullopt: help was asked for.
Result<std::optional<std::vector<std::string>>> read_files(Words words,
                                                           std::vector<OptionSpec> specs) {
  bool wants_help = false;
  specs.push_back({.names = "-h,--help", .is_set = &wants_help});
  CORDON_TRY(std::vector<std::string> files,
             read_options("policy", words, specs, OptionPlace::kAnywhere));
  if (wants_help) return std::optional<std::vector<std::string>>();
  return std::optional(std::move(files));
}

Result<CommandLine> parse_check(Words words) {
  CORDON_TRY(auto files, read_files(words, {}));
  if (!files) return show_text(kPolicyHelp);
  if (files->empty()) files->push_back(std::string(kFolderPolicy));
  return perform([files = *std::move(files)] { return check(files); });
}

Result<CommandLine> parse_diff(Words words) {
  CORDON_TRY(auto files, read_files(words, {}));
  if (!files) return show_text(kPolicyHelp);
  if (files->size() != 2) return plain_error("policy diff: write two policies: OLD NEW");
  return perform([files = *std::move(files)] { return diff(files[0], files[1]); });
}

Result<CommandLine> parse_fmt(Words words) {
  bool writes = false;
  bool checks = false;
  CORDON_TRY(auto files, read_files(words, {{.names = "-w,--write", .is_set = &writes},
                                            {.names = "--check", .is_set = &checks}}));
  if (!files) return show_text(kPolicyHelp);
  if (files->empty()) return plain_error("policy fmt: the file is missing");
  if (writes && checks) return plain_error("policy fmt: --write and --check contradict each other");
  const FormatUse use =
      writes ? FormatUse::kWrite : (checks ? FormatUse::kCheck : FormatUse::kPrint);
  return perform([files = *std::move(files), use] { return format(files, use); });
}

Result<CommandLine> parse_add(Words words) {
  Addition addition;
  CORDON_TRY(auto files, read_files(words, {{.names = "--allow", .values = &addition.allow},
                                            {.names = "--deny", .values = &addition.deny},
                                            {.names = "--comment", .values = &addition.comment}}));
  if (!files) return show_text(kPolicyHelp);
  if (files->size() != 1) return plain_error("policy add: write one file, as in ./policy.toml");
  if (is_policy_name(files->front())) {
    return plain_error(
        fmt::format("policy add {0}: that is the name of a policy; a file is written "
                    "with its folder or its ending, as in {0}.toml",
                    files->front()));
  }
  if (addition.allow.empty() && addition.deny.empty()) {
    return plain_error("policy add: nothing to add; write --allow DEST or --deny DEST");
  }
  return perform([file = files->front(), addition] { return add(file, addition); });
}

Result<CommandLine> parse_presets(Words words) {
  CORDON_TRY(auto rest, read_files(words, {}));
  if (!rest) return show_text(kPolicyHelp);
  if (!rest->empty()) {
    return plain_error(
        fmt::format("policy presets {0}: presets takes no arguments; `cordon policy "
                    "show {0}` shows one",
                    rest->front()));
  }
  return perform([] { return presets(); });
}

struct SubVerb {
  std::string_view name;
  Result<CommandLine> (*parse)(Words words);
};

constexpr auto kSubVerbs = std::to_array<SubVerb>({
    {"show", parse_show},
    {"check", parse_check},
    {"explain", parse_explain},
    {"diff", parse_diff},
    {"fmt", parse_fmt},
    {"add", parse_add},
    {"presets", parse_presets},
    {"reload", parse_policy_reload},
});

}  // namespace

bool is_policy_verb(std::string_view word) {
  return std::ranges::find(kSubVerbs, word, &SubVerb::name) != kSubVerbs.end();
}

Result<CommandLine> parse_policy(std::span<const std::string> arguments) {
  std::array<std::string_view, kSubVerbs.size()> names;
  std::string list;
  for (std::size_t i = 0; i < kSubVerbs.size(); ++i) {
    names[i] = kSubVerbs[i].name;
    list += fmt::format("{}{}", i == 0 ? "" : ", ", names[i]);
  }
  if (arguments.empty()) return plain_error(fmt::format("policy: write what to do: {}", list));
  const std::string& word = arguments[0];
  if (word == "-h" || word == "--help" || word == "help") return show_text(kPolicyHelp);
  for (const SubVerb& verb : kSubVerbs) {
    if (verb.name == word) return verb.parse(arguments.subspan(1));
  }
  const auto meant = nearest(word, names);
  return plain_error(meant ? fmt::format("policy {}: did you mean {}?", word, *meant)
                           : fmt::format("policy {}: write one of {}", word, list));
}

}  // namespace cordon
