#include "launcher/command_line.h"

#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "launcher/suggestion.h"
#include "launcher/verbs/allow.h"
#include "launcher/verbs/ask.h"
#include "launcher/verbs/audit.h"
#include "launcher/verbs/events.h"
#include "launcher/verbs/flows.h"
#include "launcher/verbs/learn.h"
#include "launcher/verbs/policy.h"
#include "launcher/verbs/ps.h"
#include "launcher/verbs/replay.h"

namespace cordon {
namespace {

constexpr std::string_view kRunHelp =
    R"(Runs COMMAND in a network of its own; its files and working directory are yours as ever.

Usage: cordon run [OPTIONS] [--] COMMAND [ARGUMENTS...]

Without a policy everything on the public internet may be reached, and nothing of this host, of the
local network or of a cloud's metadata service. With one only what is listed may be reached.

What may be reached
  --allow DEST            allow DEST; everything not allowed is then denied
  --deny DEST             deny DEST; stronger than every --allow
  --use PRESET            allow what PRESET lists (npm, github:read, ...; `cordon policy presets`)
  --policy FILE|NAME      what the file says; a NAME is looked up in ~/.config/cordon/policies and
                          /etc/cordon/policies
  --trust                 ./cordon.toml is a policy, too
  --ask                   ask about what is not allowed, rather than deny it
  --report                deny nothing, but say what would be denied
  --mode MODE             enforce (default), ask or report
  --class CLASS=PREFIX    count PREFIX as lan, vpn or public (--class public=198.51.100.0/24)
  --offline               no network at all but lo

  DEST is a name, an address, a prefix or a class, with or without ports, or a port of this host:
    pypi.org    github.com:22    *.example.org    .example.org (itself, too)    udp/ntp.example:123
    198.51.100.7    198.51.100.7:80-90    10.1.2.0/24:5432    [2001:db8::/48]:443
    @public    @lan:443    @vpn    @linklocal    @metadata    udp/198.51.100.7:123    icmp/@public
    host:5432       this host's loopback; inside it is host.cordon.internal:5432
  A name without a port is allowed on 80 and 443; an address without one on all.

What may reach the command
  --publish [ADDR:]HOST:GUEST[/udp][,from=PREFIX]
                          lead port HOST of this host to port GUEST inside; ADDR is 127.0.0.1 if not
                          given, an IPv6 address stands in brackets; from=: for these clients alone

The network inside
  --dns ADDR[:PORT]|host|off
                          the DNS servers to ask (default: host, this host's own); may be repeated
  --dns-mode map|pin|open|off
                          how names are answered (default: map where names are in the policy: an
                          address of the sandbox's own for each; else open)
  --mtu BYTES             of the network interface, 1280 to 65520 (default: 1500)
  --subnet PREFIX         the subnet inside, IPv4 or IPv6 (default: one that this host does not use)
  --workers N             threads that move streams, 1 to 16 (default: 1, and up to 4 where there
                          are more than two processors)

The command
  --map-root              the command sees itself as root (with no power outside its walls)
  --pass-fd N             leave descriptor N open for the command
  --nested                let the command make namespaces of its own (browsers, build sandboxes)
  --new-session           a terminal session of its own

What is told
  --name NAME             the sandbox's name for `cordon ps` and the like (default: a number)
  --log FILE              append one JSON object a line for each denial and flow
  -q, --quiet             say nothing about denials on stderr
  -v, --verbose           also tell each flow
  -h, --help              this text

All options but -q, -v and the flags may be repeated. They stand before COMMAND.

Examples
  cordon run -- curl -O https://example.com/big.iso
  cordon run --use npm --allow github.com:22 -- npm install
  cordon run --allow 10.1.2.0/24:5432 --allow host:5432 -- sh
  cordon run --policy policy.toml --ask -- ./agent
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

Result<CommandLine> parse_run(std::span<const std::string> arguments) {
  CORDON_TRY(std::optional<RunOptions> options, read_run_options("run", arguments));
  if (!options) return show_text(kRunHelp);
  CommandLine result{.verb = CommandLine::Verb::kRun};
  result.run = *std::move(options);
  return result;
}

Result<CommandLine> parse_doctor(std::span<const std::string> arguments) {
  if (arguments.empty()) return CommandLine{.verb = CommandLine::Verb::kDoctor};
  if (arguments[0] == "--help" || arguments[0] == "-h") return show_text(kDoctorHelp);
  return plain_error(fmt::format("doctor {}: doctor takes no arguments", arguments[0]));
}

struct VerbEntry {
  std::string_view name;
  std::string_view words;    // how it is written, behind "cordon "; empty: not in the help
  std::string_view summary;  // what it does, for `cordon --help`
  /// Reads the words behind the verb; shows its own help for -h and --help.
  Result<CommandLine> (*parse)(std::span<const std::string> arguments);
};

// One line a verb, in the order in which `cordon --help` lists them.
constexpr auto kVerbs = std::to_array<VerbEntry>({
    {"run", "run [OPTIONS] [--] COMMAND [ARGUMENTS...]", "run a command in a network of its own",
     parse_run},
    {"learn", "learn [--write FILE] [OPTIONS] [--] COMMAND [ARGUMENTS...]",
     "run a command and write the policy that it needs", parse_learn},
    {"replay", "replay POLICY LOG", "say what a policy would have denied in a recorded run",
     parse_replay},
    {"policy", "policy show|explain|check|diff|fmt|add|presets|reload ...",
     "say what a policy means, find what is wrong with it", parse_policy},
    {"ps", "ps", "list your sandboxes that run", parse_ps},
    {"flows", "flows [ID]", "list what a sandbox is connected to", parse_flows},
    {"allow", "allow [--for TIME | --undo] ID DEST", "let a sandbox that runs reach DEST",
     parse_allow},
    {"deny", "deny [--for TIME | --undo] ID DEST", "let a sandbox that runs reach DEST no more",
     parse_deny},
    {"events", "events [ID]", "print what happens in a sandbox, as it happens", parse_events},
    {"ask", "ask [ID]", "answer the questions of a sandbox", parse_ask},
    {"doctor", "doctor", "say what this host lacks for `cordon run`, and the remedy for each",
     parse_doctor},
    {"audit", "audit [OPTIONS] -- SANDBOX...", "say what gets out of a sandbox, ours or another's",
     parse_audit},
    // Hidden: `cordon audit` starts them.
    {"audit-prober", "", "", parse_audit_prober},
    {"audit-witness", "", "", parse_audit_witness},
});

std::string main_help() {
  std::string text =
      "cordon gives a command a network of its own and decides about every flow that leaves it.\n"
      "No root, no setuid, no daemon.\n"
      "\n"
      "Usage:\n";
  for (const VerbEntry& verb : kVerbs) {
    if (!verb.words.empty()) text += fmt::format("  cordon {}\n", verb.words);
  }
  text += "  cordon --help | --version\n\n";
  for (const VerbEntry& verb : kVerbs) {
    if (!verb.words.empty()) text += fmt::format("  {:<8} {}\n", verb.name, verb.summary);
  }
  return text + "\n`cordon VERB --help` tells a verb's options.\n";
}

std::unexpected<Error> unknown_verb(const std::string& word) {
  std::array<std::string_view, kVerbs.size()> names;
  for (std::size_t i = 0; i < kVerbs.size(); ++i) names[i] = kVerbs[i].name;
  const auto near = nearest(word, names);
  std::string meant = near ? std::string(*near) : "";
  if (is_policy_verb(word)) meant = "policy " + word;
  return plain_error(fmt::format("'{}' is not a verb of cordon; {}to run it: cordon run -- {}",
                                 word, meant.empty() ? "" : fmt::format("did you mean {}? ", meant),
                                 word));
}

}  // namespace

CommandLine show_text(std::string_view text) {
  return CommandLine{.verb = CommandLine::Verb::kShowText, .text = std::string(text)};
}

CommandLine perform(std::function<int()> action) {
  return CommandLine{.verb = CommandLine::Verb::kPerform, .perform = std::move(action)};
}

Result<CommandLine> parse_command_line(std::span<const std::string> arguments) {
  if (arguments.empty()) {
    return plain_error("what to do is missing; write cordon run -- COMMAND, or see cordon --help");
  }
  const std::string& word = arguments[0];
  for (const VerbEntry& verb : kVerbs) {
    if (word == verb.name) return verb.parse(arguments.subspan(1));
  }
  if (word == "--help" || word == "-h" || word == "help") return show_text(main_help());
  if (word == "--version") return show_text("cordon " CORDON_VERSION "\n");
  if (word.starts_with('-')) {
    return plain_error(
        fmt::format("unknown option {}; options stand behind the verb: cordon run {} "
                    "-- COMMAND",
                    word, word));
  }
  return unknown_verb(word);
}

}  // namespace cordon
