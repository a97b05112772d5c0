#include "launcher/verbs/allow.h"

#include <fmt/format.h>

#include "launcher/control/control_client.h"
#include "launcher/events/event_text.h"
#include "launcher/policy/policy_values.h"
#include "launcher/supervisor.h"
#include "launcher/text_table.h"
#include "netstack/policy/destination.h"

namespace cordon {
namespace {

constexpr std::string_view kAllowHelp =
    R"(Lets a sandbox that runs reach more (allow), or less (deny): for the rest of its run, or for a while.
Flows that are no longer allowed are reset.

Usage: cordon {0} [--for TIME | --undo] ID DEST
       cordon {0} ID

  ID            the sandbox, as `cordon ps` lists it; alone: lists the rules that were added
  DEST          as for cordon run --{0}: api.example, github.com:22, 10.1.2.0/24:5432, @lan
  --for TIME    10m, 1h30m, 2d; then the rule is gone again
  --undo        take back the rule that `cordon {0} ID DEST` has added

A deny is stronger than every allow, and floor classes (the local network, this host) are allowed
only by a rule that names them, now as ever.
)";

struct RuleChange {
  std::string verb;
  std::string id;
  std::string destination;  // empty: list what was added
  std::uint32_t seconds = 0;
  bool is_undone = false;
};

Result<std::string> list(ControlClient& client) {
  CORDON_TRY(const Json answer, client.ask({{"request", "status"}}));
  return added_table(answer);
}

Result<std::string> change(const RuleChange& wanted) {
  CORDON_TRY(const ControlFolder folder, ControlFolder::open());
  CORDON_TRY(ControlClient client, ControlClient::connect(folder, wanted.id));
  if (wanted.destination.empty()) return list(client);
  Json request{{"request", wanted.verb}, {"to", wanted.destination}};
  if (wanted.seconds > 0) request["for"] = wanted.seconds;
  if (wanted.is_undone) request["undo"] = true;
  CORDON_TRY(const Json answer, client.ask(request));
  return text_of(answer, "text") + "\n";
}

int perform_change(const RuleChange& wanted) {
  const auto words = change(wanted);
  if (!words) {
    fmt::print(stderr, "cordon: {}: {}\n", wanted.verb, words.error().message());
    return kExitOwnFailure;
  }
  fmt::print("{}", *words);
  return 0;
}

Result<CommandLine> parse_change(const std::string& verb, std::span<const std::string> arguments) {
  std::vector<std::string> times;
  bool wants_help = false;
  bool is_undone = false;
  const OptionSpec specs[] = {{.names = "--for", .values = &times},
                              {.names = "--undo", .is_set = &is_undone},
                              {.names = "-h,--help", .is_set = &wants_help}};
  CORDON_TRY(const std::vector<std::string> rest,
             read_options(verb, arguments, specs, OptionPlace::kAnywhere));
  if (wants_help) return show_text(fmt::format(fmt::runtime(kAllowHelp), verb));
  if (is_undone && !times.empty()) {
    return plain_error("--undo takes a rule back at once; leave out --for");
  }
  const bool is_list = rest.size() == 1 && !is_undone && times.empty();
  if (is_list) {
    return perform(
        [wanted = RuleChange{.verb = verb, .id = rest[0]}] { return perform_change(wanted); });
  }
  if (rest.size() != 2) {
    return plain_error(
        fmt::format("{0}: write cordon {0} ID DEST, for example cordon {0} 1 api.example", verb));
  }
  RuleChange wanted{.verb = verb, .id = rest[0], .destination = rest[1], .is_undone = is_undone};
  const Result<Destination> to = parse_destination(wanted.destination);
  if (!to) return wrap(fmt::format("{} {}", verb, wanted.destination), to.error());
  if (!times.empty()) {
    const auto seconds = parse_duration(times.back());
    if (!seconds) return wrap(fmt::format("--for {}", times.back()), seconds.error());
    wanted.seconds = *seconds;
  }
  return perform([wanted] { return perform_change(wanted); });
}

}  // namespace

std::string added_table(const Json& answer) {
  const std::string id = escape_text(text_of(answer, "id"));
  const auto added = answer.find("added");
  if (added == answer.end() || !added->is_array() || added->empty()) {
    return fmt::format("no rule was added to sandbox {0}; to add one: cordon allow {0} DEST\n", id);
  }
  TextTable table({"RULE", "LEFT", "TO TAKE IT BACK"});
  for (const Json& one : *added) {
    const std::string action = escape_text(text_of(one, "action"));
    const std::string to = escape_text(text_of(one, "to"));
    const auto seconds = static_cast<std::uint32_t>(number_of(one, "seconds"));
    table.add({fmt::format("{} {}", action, to),
               seconds == 0 ? "the rest of the run" : format_duration(seconds),
               fmt::format("cordon {} --undo {} {}", action, id, to)});
  }
  return table.to_string();
}

Result<CommandLine> parse_allow(std::span<const std::string> arguments) {
  return parse_change("allow", arguments);
}

Result<CommandLine> parse_deny(std::span<const std::string> arguments) {
  return parse_change("deny", arguments);
}

}  // namespace cordon
