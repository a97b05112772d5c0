#include "launcher/run_options.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "launcher/control/control_folder.h"
#include "launcher/policy/policy_words.h"
#include "launcher/supervisor.h"
#include "netstack/policy/destination.h"

namespace cordon {
namespace {

/// The options as they were written, before they are judged.
struct RawOptions {
  std::vector<std::string> allow;
  std::vector<std::string> deny;
  std::vector<std::string> classes;
  std::vector<std::string> publish;
  std::vector<std::string> dns;
  std::vector<std::string> subnet;
  std::vector<std::string> pass_fds;
  std::vector<std::string> mtu;
  std::vector<std::string> workers;
  std::vector<std::string> log;
  std::vector<std::string> name;
  std::vector<std::string> policies;
  std::vector<std::string> presets;
  std::vector<std::string> modes;
  std::vector<std::string> dns_modes;
  bool asks = false;
  bool reports = false;
  bool trusts_folder = false;
  bool is_offline = false;
  bool maps_root = false;
  bool may_nest = false;
  bool has_new_session = false;
  bool is_quiet = false;
  bool is_verbose = false;
};

/// What may be reached: all that a policy is made of.
std::vector<OptionSpec> policy_specs_of(RawOptions& raw) {
  return {
      {.names = "--policy", .values = &raw.policies},
      {.names = "--use", .values = &raw.presets},
      {.names = "--trust", .is_set = &raw.trusts_folder},
      {.names = "--mode", .values = &raw.modes},
      {.names = "--ask", .is_set = &raw.asks},
      {.names = "--report", .is_set = &raw.reports},
      {.names = "--allow", .values = &raw.allow},
      {.names = "--deny", .values = &raw.deny},
      {.names = "--class", .values = &raw.classes},
      {.names = "--dns-mode", .values = &raw.dns_modes},
  };
}

std::vector<OptionSpec> specs_of(RawOptions& raw) {
  std::vector<OptionSpec> specs = policy_specs_of(raw);
  const OptionSpec others[] = {
      {.names = "--publish", .values = &raw.publish},
      {.names = "--dns", .values = &raw.dns},
      {.names = "--subnet", .values = &raw.subnet},
      {.names = "--pass-fd", .values = &raw.pass_fds},
      {.names = "--mtu", .values = &raw.mtu},
      {.names = "--workers", .values = &raw.workers},
      {.names = "--log", .values = &raw.log},
      {.names = "--name", .values = &raw.name},
      {.names = "--offline", .is_set = &raw.is_offline},
      {.names = "--map-root", .is_set = &raw.maps_root},
      {.names = "--nested", .is_set = &raw.may_nest},
      {.names = "--new-session", .is_set = &raw.has_new_session},
      {.names = "-q,--quiet", .is_set = &raw.is_quiet},
      {.names = "-v,--verbose", .is_set = &raw.is_verbose},
  };
  specs.insert(specs.end(), std::begin(others), std::end(others));
  return specs;
}

std::optional<unsigned> parse_number(std::string_view text) {
  unsigned number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return number;
}

std::string at_option(std::string_view option, std::string_view value) {
  return fmt::format("--{} {}", option, value);
}

Status read_rules(const std::vector<std::string>& texts, Action action, std::string_view option,
                  PolicyInput& policy) {
  for (const std::string& text : texts) {
    auto destination = parse_destination(text);
    if (!destination) return wrap(at_option(option, text), destination.error());
    policy.rules.push_back(Rule{
        .to = *destination, .action = action, .text = text, .origin = fmt::format("--{}", option)});
  }
  return {};
}

Status read_class(const std::string& text, PolicyInput& policy) {
  const std::string where = at_option("class", text);
  const auto equals = text.find('=');
  if (equals == std::string::npos) {
    return plain_error(where + ": write CLASS=PREFIX, for example public=198.51.100.0/24");
  }
  const auto address_class = parse_class(std::string_view(text).substr(0, equals));
  if (!address_class) {
    return plain_error(
        fmt::format("{}: '{}' is not a class; those that a prefix can be moved to are "
                    "lan, vpn and public",
                    where, text.substr(0, equals)));
  }
  const auto prefix = Prefix::parse(std::string_view(text).substr(equals + 1));
  if (!prefix) {
    return plain_error(
        fmt::format("{}: '{}' is not a prefix such as 198.51.100.0/24 or "
                    "2001:db8::/32 (bits behind the prefix length must be zero)",
                    where, text.substr(equals + 1)));
  }
  const ClassOverride candidate{.prefix = *prefix, .address_class = *address_class};
  if (const auto refusal = refuse_override(candidate)) {
    return plain_error(fmt::format("{}: {}", where, *refusal));
  }
  policy.overrides.push_back(candidate);
  return {};
}

Status read_mtu(const std::vector<std::string>& texts, RunOptions& options) {
  if (texts.empty()) return {};
  const auto mtu = parse_number(texts.back());
  if (!mtu || *mtu < kMinMtu || *mtu > kMaxMtu) {
    return plain_error(
        fmt::format("--mtu {}: must be a number from {} (IPv6 needs that much) to {}", texts.back(),
                    kMinMtu, kMaxMtu));
  }
  options.mtu = static_cast<std::uint16_t>(*mtu);
  return {};
}

Status read_workers(const std::vector<std::string>& texts, RunOptions& options) {
  if (texts.empty()) return {};
  const auto workers = parse_number(texts.back());
  if (!workers || *workers < 1 || *workers > kMaxWorkers) {
    return plain_error(
        fmt::format("--workers {}: must be a number from 1 to {}", texts.back(), kMaxWorkers));
  }
  options.workers = *workers;
  return {};
}

Status read_subnet(const std::string& text, RunOptions& options) {
  const auto prefix = Prefix::parse(text);
  if (!prefix) {
    return plain_error(
        fmt::format("--subnet {}: not a prefix such as 10.77.0.0/24 or "
                    "fd12:3456:789a::/64 (bits behind the prefix length must be zero)",
                    text));
  }
  auto& slot = prefix->address().is_v4() ? options.subnet_v4 : options.subnet_v6;
  if (slot) {
    return plain_error(
        fmt::format("--subnet {}: there is one subnet for each of IPv4 and IPv6, and "
                    "--subnet {} was given already",
                    text, slot->to_string()));
  }
  slot = *prefix;
  return {};
}

Status read_pass_fd(const std::string& text, RunOptions& options) {
  const auto number = parse_number(text);
  if (!number || *number > 1U << 20) {
    return plain_error(fmt::format("--pass-fd {}: not a descriptor number", text));
  }
  if (*number < 3) {
    return plain_error(fmt::format("--pass-fd {}: 0, 1 and 2 are always passed", text));
  }
  const int fd = static_cast<int>(*number);
  if (std::find(options.pass_fds.begin(), options.pass_fds.end(), fd) == options.pass_fds.end()) {
    options.pass_fds.push_back(fd);
  }
  return {};
}

/// --offline means no network at all; an option that says something about the network contradicts
/// it.
Status refuse_contradictions(const RawOptions& raw) {
  if (raw.is_quiet && raw.is_verbose) {
    return plain_error("--quiet and --verbose contradict each other; give one of them");
  }
  if (!raw.is_offline) return {};
  for (const auto& [name, is_set] :
       {std::pair("ask", raw.asks), {"report", raw.reports}, {"trust", raw.trusts_folder}}) {
    if (is_set) {
      return plain_error(
          fmt::format("--offline and --{} contradict each other: offline there is no "
                      "network but lo; remove one of them",
                      name));
    }
  }
  const std::pair<std::string_view, const std::vector<std::string>*> network_options[] = {
      {"policy", &raw.policies},    {"use", &raw.presets},     {"mode", &raw.modes},
      {"dns-mode", &raw.dns_modes}, {"allow", &raw.allow},     {"deny", &raw.deny},
      {"class", &raw.classes},      {"publish", &raw.publish}, {"dns", &raw.dns},
      {"subnet", &raw.subnet},      {"mtu", &raw.mtu},         {"workers", &raw.workers},
  };
  for (const auto& [name, values] : network_options) {
    if (!values->empty()) {
      return plain_error(
          fmt::format("--offline and --{} {} contradict each other: offline there is "
                      "no network but lo; remove one of them",
                      name, values->front()));
    }
  }
  return {};
}

Status read_mode(const RawOptions& raw, RunOptions& options) {
  std::vector<std::pair<std::string, std::string>> given;  // the option, the mode
  given.reserve(raw.modes.size() + 2);
  for (const std::string& mode : raw.modes) given.emplace_back("--mode " + mode, mode);
  if (raw.asks) given.emplace_back("--ask", "ask");
  if (raw.reports) given.emplace_back("--report", "report");
  if (given.empty()) return {};
  const auto& [option, word] = given.front();
  options.mode = value_of(kModeWords, word);
  if (!options.mode) {
    return plain_error(fmt::format("{}: the modes are enforce, report and ask", option));
  }
  for (const auto& [other, other_word] : given) {
    if (other_word == word) continue;
    return plain_error(
        fmt::format("{} and {} contradict each other; give one of them", option, other));
  }
  return {};
}

Status read_dns_mode(const RawOptions& raw, RunOptions& options) {
  if (raw.dns_modes.empty()) return {};
  const std::string& word = raw.dns_modes.back();
  const auto mode = value_of(kDnsModeWords, word);
  if (!mode) {
    return plain_error(fmt::format("--dns-mode {}: the modes are map, pin, open and off", word));
  }
  options.names.mode = *mode;
  return {};
}

Result<RunOptions> judge(const RawOptions& raw) {
  RunOptions options;
  CORDON_TRY_STATUS(refuse_contradictions(raw));
  CORDON_TRY_STATUS(read_rules(raw.allow, Action::kAllow, "allow", options.policy));
  CORDON_TRY_STATUS(read_rules(raw.deny, Action::kDeny, "deny", options.policy));
  options.policy.default_action =
      raw.allow.empty() ? DefaultAction::kAllowPublic : DefaultAction::kDeny;
  for (const std::string& text : raw.classes) {
    CORDON_TRY_STATUS(read_class(text, options.policy));
  }
  for (const std::string& text : raw.publish) {
    auto spec = parse_publish(text);
    if (!spec) return wrap(at_option("publish", text), spec.error());
    options.publish.push_back(*std::move(spec));
  }
  auto dns = parse_dns_choice(raw.dns);
  if (!dns) return plain_error("--dns " + dns.error().message());
  if (!raw.dns.empty()) options.dns_given = *dns;
  options.dns = *std::move(dns);
  options.policy_files = raw.policies;
  options.presets = raw.presets;
  options.trusts_folder = raw.trusts_folder;
  CORDON_TRY_STATUS(read_mode(raw, options));
  CORDON_TRY_STATUS(read_dns_mode(raw, options));
  CORDON_TRY_STATUS(read_mtu(raw.mtu, options));
  CORDON_TRY_STATUS(read_workers(raw.workers, options));
  for (const std::string& text : raw.subnet) CORDON_TRY_STATUS(read_subnet(text, options));
  for (const std::string& text : raw.pass_fds) CORDON_TRY_STATUS(read_pass_fd(text, options));
  if (!raw.name.empty()) {
    options.name = raw.name.back();
    if (!is_sandbox_name(options.name)) {
      return plain_error(
          fmt::format("--name {}: at most {} letters, digits, '-', '_' and '.', beginning with a "
                      "letter or a digit",
                      options.name, kLongestSandboxName));
    }
  }
  if (!raw.log.empty()) {
    options.log_path = raw.log.back();
    if (options.log_path.empty()) return plain_error("--log: the file's name is empty");
  }
  options.is_offline = raw.is_offline;
  options.maps_root = raw.maps_root;
  options.may_nest = raw.may_nest;
  options.has_new_session = raw.has_new_session;
  if (raw.is_quiet) options.verbosity = Verbosity::kQuiet;
  if (raw.is_verbose) options.verbosity = Verbosity::kVerbose;
  return options;
}

}  // namespace

Result<std::optional<RunOptions>> read_run_options(std::string_view verb,
                                                   std::span<const std::string> arguments,
                                                   std::span<const OptionSpec> own) {
  RawOptions raw;
  bool wants_help = false;
  std::vector<OptionSpec> specs = specs_of(raw);
  specs.push_back({.names = "-h,--help", .is_set = &wants_help});
  specs.insert(specs.end(), own.begin(), own.end());
  CORDON_TRY(std::vector<std::string> command,
             read_options(verb, arguments, specs, OptionPlace::kBeforeRest));
  if (wants_help) return std::optional<RunOptions>();
  CORDON_TRY(RunOptions options, judge(raw));
  if (command.empty()) {
    return plain_error(
        fmt::format("{0}: the command is missing; write cordon {0} [OPTIONS] -- COMMAND", verb));
  }
  if (command.front().empty()) {
    return plain_error(fmt::format("{}: the command's name is empty", verb));
  }
  options.command = std::move(command);
  return std::optional(std::move(options));
}

Result<std::optional<PolicyWords>> read_policy_options(std::string_view verb,
                                                       std::span<const std::string> arguments,
                                                       std::span<const OptionSpec> own) {
  RawOptions raw;
  bool wants_help = false;
  std::vector<OptionSpec> specs = policy_specs_of(raw);
  specs.push_back({.names = "-h,--help", .is_set = &wants_help});
  specs.insert(specs.end(), own.begin(), own.end());
  CORDON_TRY(std::vector<std::string> rest,
             read_options(verb, arguments, specs, OptionPlace::kAnywhere));
  if (wants_help) return std::optional<PolicyWords>();
  CORDON_TRY(RunOptions options, judge(raw));
  return std::optional(PolicyWords{.options = std::move(options), .rest = std::move(rest)});
}

}  // namespace cordon
