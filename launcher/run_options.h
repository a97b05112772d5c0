// The options of `cordon run`, which verbs that run a command take as well.
//
// Everything that can be judged by its text alone is judged here, so that a typing error is told
// before anything is opened or bound. What depends on the host (is the port free, does the subnet
// overlap a route) is config.h.
//
// Our options stand before the command; the first word that is not an option, or "--", begins the
// command, and everything from there on is the command's own, whatever it looks like.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/dns_choice.h"
#include "launcher/option_words.h"
#include "launcher/policy/policy_file.h"
#include "launcher/published_ports.h"
#include "netstack/address/classes.h"
#include "netstack/address/ip_address.h"
#include "netstack/base/result.h"
#include "netstack/flow/translator_config.h"
#include "netstack/policy/policy.h"

namespace cordon {

/// Smallest MTU that IPv6 works with (RFC 8200 section 5), largest that a tap frame can carry.
inline constexpr std::uint16_t kMinMtu = 1280;
inline constexpr std::uint16_t kMaxMtu = 65520;

/// How much is said on stderr.
enum class Verbosity : std::uint8_t { kQuiet, kNormal, kVerbose };

struct RunOptions {
  PolicyInput policy;  // default action, rules, class overrides: of the options alone until
                       // with_policies() has read the files (policy_set.h)
  std::vector<std::string> policy_files;  // --policy, as written
  std::vector<std::string> presets;       // --use
  bool trusts_folder = false;             // --trust: ./cordon.toml counts
  std::optional<PolicyMode> mode;         // --mode, --ask, --report
  NameSettings names;                     // --dns-mode, and of the files [dns] and [tls]
  bool opens_public = false;              // learn: the default is allow-public, whoever states one
  bool is_offline = false;
  std::vector<PublishSpec> publish;
  std::uint16_t mtu = 1500;
  std::optional<unsigned> workers;     // --workers; none: as the machine's processors suggest
  std::optional<DnsChoice> dns_given;  // --dns
  DnsChoice dns;
  std::optional<Prefix> subnet_v4;
  std::optional<Prefix> subnet_v6;
  bool maps_root = false;
  bool may_nest = false;
  bool has_new_session = false;
  std::vector<int> pass_fds;
  std::string log_path;  // empty: no log
  LogFormat log_format = LogFormat::kJson;
  bool logs_flows = true;
  bool logs_denied = true;
  std::string name;  // of the sandbox; empty: a number
  Verbosity verbosity = Verbosity::kNormal;
  std::vector<std::string> command;  // never empty after a successful parse
};

/// Reads run's options, and the verb's `own` ones among them, and the command behind. nullopt: help
/// was asked for. `verb` is for messages.
[[nodiscard]] Result<std::optional<RunOptions>> read_run_options(
    std::string_view verb, std::span<const std::string> arguments,
    std::span<const OptionSpec> own = {});

struct PolicyWords {
  RunOptions options;
  std::vector<std::string> rest;
};

/// Reads those of run's options that say what may be reached, and the verb's `own`, in any order
/// with the other words. nullopt: help was asked for.
[[nodiscard]] Result<std::optional<PolicyWords>> read_policy_options(
    std::string_view verb, std::span<const std::string> arguments,
    std::span<const OptionSpec> own = {});

}  // namespace cordon
