#include "launcher/verbs/ps.h"

#include <fmt/format.h>

#include "launcher/events/event_text.h"
#include "launcher/supervisor.h"
#include "launcher/text_table.h"

namespace cordon {
namespace {

constexpr std::string_view kPsHelp =
    R"(Lists your sandboxes that run on this host.

ADDED are the rules that it was given meanwhile: `cordon allow ID` lists them.

Usage: cordon ps [--json]

  --json    the answers as they come, one JSON object a line (cordon-control(7))
)";

constexpr std::size_t kLongestCommand = 60;

std::string age_text(std::uint64_t seconds) {
  constexpr std::uint64_t kMinute = 60;
  constexpr std::uint64_t kHour = 60 * kMinute;
  constexpr std::uint64_t kDay = 24 * kHour;
  if (seconds < kMinute) return fmt::format("{}s", seconds);
  if (seconds < kHour) return fmt::format("{}m{:02}s", seconds / kMinute, seconds % kMinute);
  if (seconds < kDay) return fmt::format("{}h{:02}m", seconds / kHour, seconds % kHour / kMinute);
  return fmt::format("{}d{:02}h", seconds / kDay, seconds % kDay / kHour);
}

std::string command_text(const Json& answer) {
  std::string text;
  const auto found = answer.find("command");
  if (found == answer.end() || !found->is_array()) return text;
  for (const Json& word : *found) {
    if (word.is_string()) text += (text.empty() ? "" : " ") + word.get<std::string>();
  }
  text = escape_text(text);
  if (text.size() <= kLongestCommand) return text;
  return text.substr(0, kLongestCommand - 3) + "...";
}

std::string added_text(const Json& answer) {
  const auto added = answer.find("added");
  return std::to_string(added != answer.end() && added->is_array() ? added->size() : 0);
}

int ps(bool is_json) {
  const Result<ControlFolder> folder = ControlFolder::open();
  if (!folder) {
    fmt::print(stderr, "cordon: {}\n", folder.error().message());
    return kExitOwnFailure;
  }
  std::vector<Json> answers;
  for (const std::string& id : folder->list()) {
    auto client = ControlClient::connect(*folder, id);
    if (!client) continue;
    const auto answer = client->ask({{"request", "status"}});
    if (answer) answers.push_back(*answer);
  }
  if (!is_json) {
    fmt::print("{}", ps_table(answers));
    return 0;
  }
  for (const Json& answer : answers) fmt::print("{}\n", dump_line(answer));
  return 0;
}

}  // namespace

std::string ps_table(std::span<const Json> answers) {
  TextTable table({"ID", "PID", "AGE", "MODE", "ADDED", "DENIED", "COMMAND"});
  for (const Json& answer : answers) {
    const std::string mode = truth_of(answer, "offline") ? "offline" : text_of(answer, "mode");
    table.add({escape_text(text_of(answer, "id")), std::to_string(number_of(answer, "pid")),
               age_text(number_of(answer, "seconds")), escape_text(mode), added_text(answer),
               std::to_string(number_of(answer, "denied")), command_text(answer)});
  }
  return table.to_string();
}

Result<CommandLine> parse_ps(std::span<const std::string> arguments) {
  bool is_json = false;
  bool wants_help = false;
  const OptionSpec specs[] = {{.names = "--json", .is_set = &is_json},
                              {.names = "-h,--help", .is_set = &wants_help}};
  CORDON_TRY(const std::vector<std::string> rest,
             read_options("ps", arguments, specs, OptionPlace::kAnywhere));
  if (wants_help) return show_text(kPsHelp);
  if (!rest.empty()) return plain_error(fmt::format("ps {}: ps takes no arguments", rest.front()));
  return perform([is_json] { return ps(is_json); });
}

}  // namespace cordon
