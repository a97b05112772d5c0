// A policy file as it is written: every value with its place, nothing merged, nothing looked up.
//
//     version = 1
//     use     = ["npm", "github:read"]
//     default = "deny"                       # deny | ask | allow-public
//     deny    = ["*.telemetry.example", "@lan"]
//     allow   = ["pypi.org", "github.com:22", "host:5432"]
//     [[rule]]
//     to      = ["api.example.com"]
//     up      = "5MB"
//
// cordon-policy(5) lists the keys. The reading is strict: what is not understood, or cannot mean
// what its writer thinks (an allow that a deny of the same file beats, a wildcard over everybody's
// names, a budget for something denied), is a problem with file, line and column and the remedy.
// All problems of a file are found in one go; a file with a problem is not used at all.
//
// A preset is a policy file that holds rules only. Its text comes from the same reader.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/dns_choice.h"
#include "launcher/published_ports.h"
#include "netstack/base/result.h"
#include "netstack/flow/translator_config.h"
#include "netstack/policy/policy.h"

namespace cordon {

inline constexpr int kPolicyVersion = 1;
/// Nobody mends more of a file at a time.
inline constexpr std::size_t kMostProblemsTold = 20;
/// Enough for 100,000 rules with a comment each.
inline constexpr std::size_t kLargestPolicyFile = std::size_t{32} << 20;

struct Place {
  std::string file;          // as it is shown to people
  std::uint32_t line = 0;    // from 1; 0: the file as a whole
  std::uint32_t column = 0;  // in characters, from 1

  /// "policy.toml:12:9", or "policy.toml".
  [[nodiscard]] std::string to_string() const;
  /// "policy.toml:12".
  [[nodiscard]] std::string line_string() const;
};

struct Problem {
  Place place;
  std::string words;

  /// "policy.toml:12:9: unknown key \"alow\"; did you mean allow?".
  [[nodiscard]] std::string to_string() const { return place.to_string() + ": " + words; }
};

template <class T>
struct Placed {
  T value{};
  Place place;
};
template <class T>
using Setting = std::optional<Placed<T>>;

enum class LogFormat : std::uint8_t { kJson, kText };

struct PolicyFile {
  std::string name;     // as it is shown to people
  std::string about;    // one line: what it is for
  std::string checked;  // "2026-01-31": when its hosts were last looked at; or empty
  std::vector<Placed<std::string>> use;
  std::vector<Placed<Rule>> rules;  // in the order of the file; Rule::origin is the place's line
  std::vector<Placed<ClassOverride>> classes;
  std::vector<Placed<PublishSpec>> publish;
  Setting<DefaultAction> default_action;
  Setting<PolicyMode> mode;
  struct Dns {
    Setting<DnsChoice> upstream;
    Setting<NameSettings::Mode> mode;
    Setting<std::uint32_t> wildcard_names_per_minute;
  } dns;
  struct Tls {
    Setting<NameSettings::Sni> sni;
    Setting<NameSettings::Ech> ech;
    Setting<NameSettings::Quic> quic;
  } tls;
  struct Limits {
    Setting<std::uint64_t> up_bytes;
    Setting<std::uint64_t> down_bytes;
    Setting<std::uint64_t> bytes_per_second;
    Setting<std::uint32_t> flows;
    Setting<std::uint32_t> seconds;
  } limits;
  struct Log {
    Setting<std::string> file;
    Setting<LogFormat> format;
    Setting<bool> flows;
    Setting<bool> denied;
  } log;
};

enum class PolicyKind : std::uint8_t { kPolicy, kPreset };

struct PolicyReading {
  PolicyFile file;
  std::vector<Problem> problems;  // in the order of the file; none: the file may be used
};

/// `name` is how the file is called in messages.
[[nodiscard]] PolicyReading read_policy_text(std::string_view text, const std::string& name,
                                             PolicyKind kind = PolicyKind::kPolicy);

/// The file's text; the error names the path and the remedy. At most kLargestPolicyFile octets.
[[nodiscard]] Result<std::string> read_policy_octets(const std::string& path);

/// A line for each problem, up to kMostProblemsTold, and how many more there are.
[[nodiscard]] std::string summary_of(const std::vector<Problem>& problems);

}  // namespace cordon
