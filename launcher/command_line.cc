#include "launcher/command_line.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "netstack/policy/destination.h"

namespace cordon {
namespace {

constexpr std::string_view kMainHelp =
    R"(cordon gives a command a network of its own and decides about every flow that leaves it.
No root, no setuid, no daemon.

Usage:
  cordon run [OPTIONS] [--] COMMAND [ARGUMENTS...]
  cordon doctor
  cordon --help | --version

  run      run a command in a network of its own
  doctor   say what this host lacks for `cordon run`, and the remedy for each

`cordon run --help` tells the options.
)";

constexpr std::string_view kRunHelp =
    R"(Runs COMMAND in a network of its own; its files and working directory are yours as ever.

Usage: cordon run [OPTIONS] [--] COMMAND [ARGUMENTS...]

Without --allow everything on the public internet may be reached, and nothing of this host, of the
local network or of a cloud's metadata service. With --allow only what is listed may be reached.

What may be reached
  --allow DEST            allow DEST; everything not allowed is then denied
  --deny DEST             deny DEST; stronger than every --allow
  --class CLASS=PREFIX    count PREFIX as lan, vpn or public (--class public=198.51.100.0/24)
  --offline               no network at all but lo

  DEST is an address, a prefix or a class, with or without ports, or a port of this host:
    198.51.100.7    198.51.100.7:80-90    10.1.2.0/24:5432    [2001:db8::/48]:443
    @public    @lan:443    @vpn    @linklocal    @metadata    udp/198.51.100.7:123    icmp/@public
    host:5432       this host's loopback; inside it is host.cordon.internal:5432

What may reach the command
  --publish [ADDR:]HOST:GUEST[/udp]
                          lead port HOST of this host to port GUEST inside; ADDR is 127.0.0.1 if not
                          given, an IPv6 address stands in brackets

The network inside
  --dns ADDR[:PORT]|host|off
                          the DNS servers to ask (default: host, this host's own); may be repeated
  --mtu BYTES             of the network interface, 1280 to 65520 (default: 1500)
  --subnet PREFIX         the subnet inside, IPv4 or IPv6 (default: one that this host does not use)

The command
  --map-root              the command sees itself as root (with no power outside its walls)
  --pass-fd N             leave descriptor N open for the command
  --nested                let the command make namespaces of its own (browsers, build sandboxes);
                          the kernel lets no uid 0 without capabilities do that, so not for root
  --new-session           a terminal session of its own

What is told
  --log FILE              append one JSON object a line for each denial and flow
  -q, --quiet             say nothing about denials on stderr
  -v, --verbose           also tell each flow
  -h, --help              this text

All options but -q, -v and the flags may be repeated. They stand before COMMAND.

Examples
  cordon run -- curl -O https://example.com/big.iso
  cordon run --deny 198.51.100.7 -- ./program
  cordon run --allow 198.51.100.0/24:443 --allow host:5432 -- sh
  cordon run --publish 8080:80 -- nginx -g 'daemon off;'
  cordon run --offline -- make test

Exit status: the command's own; 128+N where signal N ended it; 126 where it cannot be executed, 127
where it is not found, 125 where cordon itself failed.
)";

constexpr std::string_view kDoctorHelp =
    R"(Checks what `cordon run` needs from this host, by trying it, and says the remedy for what is
missing.

Usage: cordon doctor

Exit status: 0 where `cordon run` can work, 1 where it cannot.
)";

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
  std::vector<std::string> log;
  bool is_offline = false;
  bool maps_root = false;
  bool may_nest = false;
  bool has_new_session = false;
  bool is_quiet = false;
  bool is_verbose = false;
  bool wants_help = false;
};

void declare_run_options(CLI::App& app, RawOptions& raw) {
  app.set_help_flag();
  const auto values = [&app](const char* name, std::vector<std::string>& into) {
    app.add_option(name, into)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  };
  values("--allow", raw.allow);
  values("--deny", raw.deny);
  values("--class", raw.classes);
  values("--publish", raw.publish);
  values("--dns", raw.dns);
  values("--subnet", raw.subnet);
  values("--pass-fd", raw.pass_fds);
  values("--mtu", raw.mtu);
  values("--log", raw.log);
  const auto flag = [&app](const char* name, bool& into) {
    app.add_flag(name, into)
        ->disable_flag_override()
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  };
  flag("--offline", raw.is_offline);
  flag("--map-root", raw.maps_root);
  flag("--nested", raw.may_nest);
  flag("--new-session", raw.has_new_session);
  flag("-q,--quiet", raw.is_quiet);
  flag("-v,--verbose", raw.is_verbose);
  flag("-h,--help", raw.wants_help);
}

/// Whether `word` is an option whose value is the next word.
bool takes_next_word(const CLI::App& app, const std::string& word) {
  if (word.find('=') != std::string::npos) return false;
  const CLI::Option* const option = app.get_option_no_throw(word);
  return option != nullptr && option->get_items_expected_max() > 0;
}

/// The option that was meant, for a word that is none: one letter away, or the beginning of one.
std::string did_you_mean(const CLI::App& app, const std::string& word) {
  const std::string name = word.substr(0, word.find('='));
  const std::string bare = name.substr(std::min(name.find_first_not_of('-'), name.size()));
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& known : option->get_lnames()) {
      const bool has_same_start =
          bare.size() >= 2 && (known.starts_with(bare) || bare.starts_with(known));
      if (has_same_start) return fmt::format("; did you mean --{}?", known);
    }
  }
  return "; `cordon run --help` lists the options";
}

Status check_long_option(const CLI::App& app, const std::string& word) {
  const std::string name = word.substr(0, word.find('='));
  const CLI::Option* const option = app.get_option_no_throw(name);
  if (option == nullptr) {
    return plain_error(fmt::format("unknown option {}{}", word, did_you_mean(app, word)));
  }
  if (name.size() != word.size() && option->get_items_expected_max() == 0) {
    return plain_error(fmt::format("{} takes no value; write {}", word, name));
  }
  return {};
}

struct SplitArguments {
  std::vector<std::string> options;
  std::vector<std::string> command;
};

Result<SplitArguments> split_command(const CLI::App& app, std::span<const std::string> arguments) {
  SplitArguments split;
  std::size_t at = 0;
  for (; at < arguments.size(); ++at) {
    const std::string& word = arguments[at];
    if (word == "--") {
      ++at;
      break;
    }
    if (word.size() < 2 || word[0] != '-') break;
    const bool is_bundle = word[1] != '-';
    if (!is_bundle) CORDON_TRY_STATUS(check_long_option(app, word));
    if (is_bundle && word.find_first_not_of("qvh", 1) != std::string::npos) {
      return plain_error(fmt::format("unknown option {}{}", word, did_you_mean(app, word)));
    }
    split.options.push_back(word);
    if (!is_bundle && takes_next_word(app, word)) {
      if (at + 1 == arguments.size() || arguments[at + 1] == "--") {
        return plain_error(fmt::format("{} needs a value", word));
      }
      split.options.push_back(arguments[++at]);
    }
  }
  split.command.assign(arguments.begin() + static_cast<std::ptrdiff_t>(at), arguments.end());
  return split;
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

/// ADDR, ADDR:PORT, [ADDR6]:PORT; an IPv6 address alone needs no brackets.
std::optional<Endpoint> parse_server(std::string_view text) {
  constexpr std::uint16_t kDnsPort = 53;
  if (const auto address = IpAddress::parse(text)) return Endpoint{*address, kDnsPort};
  std::string_view host = text;
  std::string_view port_text;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    host = text.substr(1, close - 1);
    port_text = text.substr(close + 1);
    if (!port_text.empty() && !port_text.starts_with(':')) return std::nullopt;
    if (!port_text.empty()) port_text.remove_prefix(1);
    if (port_text.empty() && !text.ends_with(']')) return std::nullopt;
  } else {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    host = text.substr(0, colon);
    port_text = text.substr(colon + 1);
    if (port_text.empty()) return std::nullopt;
  }
  const auto address = IpAddress::parse(host);
  if (!address || address->is_v6() != text.starts_with('[')) return std::nullopt;
  if (port_text.empty()) return Endpoint{*address, kDnsPort};
  const auto port = parse_number(port_text);
  if (!port || *port == 0 || *port > 65535) return std::nullopt;
  return Endpoint{*address, static_cast<std::uint16_t>(*port)};
}

Result<DnsChoice> read_dns(const std::vector<std::string>& texts) {
  DnsChoice choice;
  for (const std::string& text : texts) {
    if (text == "host" || text == "off") {
      if (texts.size() > 1) {
        return plain_error(fmt::format("--dns {}: cannot be combined with another --dns", text));
      }
      choice.kind = text == "off" ? DnsChoice::Kind::kOff : DnsChoice::Kind::kHost;
      return choice;
    }
    const auto server = parse_server(text);
    if (!server) {
      return plain_error(
          fmt::format("--dns {}: not a DNS server's address; write an IP address, "
                      "ADDRESS:PORT, [IPV6]:PORT, host or off",
                      text));
    }
    if (server->address.is_unspecified() || server->address.is_multicast_or_broadcast()) {
      return plain_error(fmt::format("--dns {}: that address cannot be a DNS server's", text));
    }
    choice.kind = DnsChoice::Kind::kList;
    choice.servers.push_back(*server);
  }
  return choice;
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
  const std::pair<std::string_view, const std::vector<std::string>*> network_options[] = {
      {"allow", &raw.allow},     {"deny", &raw.deny}, {"class", &raw.classes},
      {"publish", &raw.publish}, {"dns", &raw.dns},   {"subnet", &raw.subnet},
      {"mtu", &raw.mtu},
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
  CORDON_TRY(options.dns, read_dns(raw.dns));
  CORDON_TRY_STATUS(read_mtu(raw.mtu, options));
  for (const std::string& text : raw.subnet) CORDON_TRY_STATUS(read_subnet(text, options));
  for (const std::string& text : raw.pass_fds) CORDON_TRY_STATUS(read_pass_fd(text, options));
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

CommandLine show(std::string_view text) {
  return CommandLine{.verb = CommandLine::Verb::kShowText, .text = std::string(text)};
}

Result<CommandLine> parse_run(std::span<const std::string> arguments) {
  RawOptions raw;
  CLI::App app;
  declare_run_options(app, raw);
  CORDON_TRY(SplitArguments split, split_command(app, arguments));
  try {
    // CLI11 takes the words last first.
    std::reverse(split.options.begin(), split.options.end());
    app.parse(split.options);
  } catch (const CLI::ParseError& error) {
    return plain_error(error.what());
  }
  if (raw.wants_help) return show(kRunHelp);
  CORDON_TRY(RunOptions options, judge(raw));
  if (split.command.empty()) {
    return plain_error("run: the command is missing; write cordon run [OPTIONS] -- COMMAND");
  }
  if (split.command.front().empty()) return plain_error("run: the command's name is empty");
  options.command = std::move(split.command);
  CommandLine result{.verb = CommandLine::Verb::kRun};
  result.run = std::move(options);
  return result;
}

Result<CommandLine> parse_doctor(std::span<const std::string> arguments) {
  if (arguments.empty()) return CommandLine{.verb = CommandLine::Verb::kDoctor};
  if (arguments[0] == "--help" || arguments[0] == "-h") return show(kDoctorHelp);
  return plain_error(fmt::format("doctor {}: doctor takes no arguments", arguments[0]));
}

}  // namespace

Result<CommandLine> parse_command_line(std::span<const std::string> arguments) {
  if (arguments.empty()) {
    return plain_error("what to do is missing; write cordon run -- COMMAND, or see cordon --help");
  }
  const std::string& verb = arguments[0];
  if (verb == "run") return parse_run(arguments.subspan(1));
  if (verb == "doctor") return parse_doctor(arguments.subspan(1));
  if (verb == "--help" || verb == "-h" || verb == "help") return show(kMainHelp);
  if (verb == "--version") return show("cordon " CORDON_VERSION "\n");
  if (verb.starts_with('-')) {
    return plain_error(
        fmt::format("unknown option {}; options stand behind the verb: cordon run {} "
                    "-- COMMAND",
                    verb, verb));
  }
  return plain_error(
      fmt::format("'{}' is not a verb of cordon; to run it: cordon run -- {}", verb, verb));
}

}  // namespace cordon
