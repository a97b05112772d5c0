// Where policies and presets are found by name.
//
// A name ("npm", "github:read") is the file NAME.toml of the first of these folders that has it, a
// colon in the name being a hyphen in the file's:
//
//     $XDG_CONFIG_HOME/cordon/policies   (or ~/.config/cordon/policies)
//     /etc/cordon/policies
//     PREFIX/share/cordon/policies       those that cordon brings along; in a build,
//     configs/policies
//
// So a file of one's own comes before one of the same name that was brought along.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/policy/policy_file.h"
#include "netstack/base/result.h"

namespace cordon {

/// The folders, in order; whether they are there is not looked at.
[[nodiscard]] std::vector<std::string> policy_folders();

struct FoundPolicy {
  std::string name;  // "github:read"
  std::string path;
};

/// The folders have no policy at all: which they are, and how to come by the presets.
[[nodiscard]] Error no_presets_in(std::span<const std::string> folders);

/// The error names the folders that were looked into and the nearest name that is there.
[[nodiscard]] Result<FoundPolicy> find_policy(std::string_view name,
                                              std::span<const std::string> folders);

/// Adds a problem for each `use` of the file that find_policy() does not find, in its place.
void add_unknown_presets(PolicyReading& reading, std::span<const std::string> folders);

/// All that can be found by name, each once, by name.
[[nodiscard]] std::vector<FoundPolicy> list_policies(std::span<const std::string> folders);

/// The preset that fits a recorded run best: its first host, the one that it is about, is among
/// `names`, and another one is as well unless the preset is a small one; no other preset has more
/// of them. For `cordon learn`.
[[nodiscard]] std::optional<std::string> preset_for(std::span<const std::string> names,
                                                    std::span<const std::string> folders);

}  // namespace cordon
