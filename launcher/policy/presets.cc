#include "launcher/policy/presets.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <dirent.h>
#include <memory>
#include <unistd.h>
#include <utility>

#include <climits>
#include <fmt/format.h>

#include "launcher/suggestion.h"

namespace cordon {
namespace {

constexpr std::string_view kSuffix = ".toml";
constexpr std::size_t kLongestName = 64;

std::string own_folder() {
  const char* const config = std::getenv("XDG_CONFIG_HOME");
  if (config != nullptr && config[0] == '/') return fmt::format("{}/cordon/policies", config);
  const char* const home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return fmt::format("{}/.config/cordon/policies", home);
  return {};
}

std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }

/// Beside the program: PREFIX/bin/cordon has PREFIX/share, BUILD/PRESET/launcher/cordon the tree.
std::string packaged_folder() {
  std::array<char, PATH_MAX> target{};
  const ssize_t size = ::readlink("/proc/self/exe", target.data(), target.size());
  if (size <= 0) return {};
  const std::string program(target.data(), static_cast<std::size_t>(size));
  const std::string folder = parent(program);
  if (folder.ends_with("/launcher")) {
    return parent(parent(parent(folder))) + "/configs/policies";
  }
  return parent(folder) + "/share/cordon/policies";
}

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > kLongestName || text[0] == '-' || text[0] == ':') return false;
  return std::ranges::all_of(text, [](char character) {
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           (character >= '0' && character <= '9') || character == '-' || character == '_' ||
           character == ':';
  });
}

std::string file_of(std::string_view name) {
  std::string file(name);
  std::ranges::replace(file, ':', '-');
  return file + std::string(kSuffix);
}

// github-read is written github:read, apt-debian is not: which hyphens stand for a colon is known
// for those that have groups.
std::string name_of(std::string_view file) {
  std::string name(file.substr(0, file.size() - kSuffix.size()));
  constexpr std::string_view kGrouped = "github-";
  if (name.starts_with(kGrouped)) name[kGrouped.size() - 1] = ':';
  return name;
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> files;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(folder.c_str()), ::closedir);
  if (!entries) return files;
  while (const dirent* const entry = ::readdir(entries.get())) {
    const std::string_view file = static_cast<const char*>(entry->d_name);
    const bool is_policy = file.ends_with(kSuffix) && is_name(file.substr(0, file.size() - 5));
    if (is_policy) files.emplace_back(file);
  }
  std::ranges::sort(files);
  return files;
}

bool has_match(const Rule& rule, std::span<const DnsName> names) {
  return rule.action == Action::kAllow && rule.to.kind == Destination::Kind::kName &&
         std::ranges::any_of(
             names, [&rule](const DnsName& name) { return rule.to.pattern.matches(name); });
}

/// How many of the preset's rules the run made use of; 0 where the preset does not fit.
std::size_t fit_of(const PolicyFile& preset, std::span<const DnsName> names) {
  constexpr std::size_t kSmall = 5;
  const auto count = static_cast<std::size_t>(std::ranges::count_if(
      preset.rules, [&names](const Placed<Rule>& rule) { return has_match(rule.value, names); }));
  const bool has_main = !preset.rules.empty() && has_match(preset.rules.front().value, names);
  return has_main && (count > 1 || preset.rules.size() <= kSmall) ? count : 0;
}

}  // namespace

std::vector<std::string> policy_folders() {
  std::vector<std::string> folders;
  for (std::string folder :
       {own_folder(), std::string("/etc/cordon/policies"), packaged_folder()}) {
    if (!folder.empty()) folders.push_back(std::move(folder));
  }
  return folders;
}

Error no_presets_in(std::span<const std::string> folders) {
  return Error{.what = fmt::format(
                   "no presets were found in {}; they come with cordon when it is installed, and "
                   "are in configs/policies of its source: copy them into one of these folders",
                   fmt::join(folders, ", "))};
}

Result<FoundPolicy> find_policy(std::string_view name, std::span<const std::string> folders) {
  if (!is_name(name)) {
    return plain_error(
        fmt::format("'{}' is not the name of a policy: letters, digits, '-', '_' and ':'"
                    "; a file is written with its folder, as in ./NAME.toml",
                    name));
  }
  const std::string file = file_of(name);
  for (const std::string& folder : folders) {
    std::string path = fmt::format("{}/{}", folder, file);
    if (::access(path.c_str(), F_OK) == 0) {
      return FoundPolicy{.name = name_of(file), .path = std::move(path)};
    }
  }
  const std::vector<FoundPolicy> there = list_policies(folders);
  if (there.empty())
    return wrap(fmt::format("there is no preset '{}'", name), no_presets_in(folders));
  std::vector<std::string_view> names;
  names.reserve(there.size());
  for (const FoundPolicy& policy : there) names.emplace_back(policy.name);
  const auto meant = nearest(name, names);
  if (meant)
    return plain_error(fmt::format("there is no preset '{}'; did you mean {}?", name, *meant));
  return plain_error(
      fmt::format("there is no preset '{}' in {}; `cordon policy presets` lists them", name,
                  fmt::join(folders, ", ")));
}

void add_unknown_presets(PolicyReading& reading, std::span<const std::string> folders) {
  for (const Placed<std::string>& use : reading.file.use) {
    const auto found = find_policy(use.value, folders);
    if (!found) reading.problems.push_back({use.place, found.error().message()});
  }
  std::ranges::stable_sort(reading.problems, {}, [](const Problem& problem) {
    return std::pair(problem.place.line, problem.place.column);
  });
}

std::vector<FoundPolicy> list_policies(std::span<const std::string> folders) {
  std::vector<FoundPolicy> found;
  for (const std::string& folder : folders) {
    for (const std::string& file : files_in(folder)) {
      const std::string name = name_of(file);
      if (std::ranges::find(found, name, &FoundPolicy::name) != found.end()) continue;
      found.push_back({.name = name, .path = fmt::format("{}/{}", folder, file)});
    }
  }
  std::ranges::sort(found, {}, &FoundPolicy::name);
  return found;
}

std::optional<std::string> preset_for(std::span<const std::string> names,
                                      std::span<const std::string> folders) {
  std::vector<DnsName> parsed;
  for (const std::string& text : names) {
    if (const auto name = DnsName::parse(text)) parsed.push_back(*name);
  }
  std::optional<std::string> best;
  std::size_t best_fit = 0;
  for (const FoundPolicy& found : list_policies(folders)) {
    const auto text = read_policy_octets(found.path);
    if (!text) continue;
    const PolicyReading reading = read_policy_text(*text, found.path, PolicyKind::kPreset);
    // One that stands on another is for more than its own hosts show.
    if (!reading.problems.empty() || !reading.file.use.empty()) continue;
    const std::size_t fit = fit_of(reading.file, parsed);
    if (fit <= best_fit) continue;
    best_fit = fit;
    best = found.name;
  }
  return best;
}

}  // namespace cordon
