#include "launcher/verbs/replay.h"

#include <cerrno>
#include <fstream>
#include <sys/stat.h>

#include <fmt/format.h>

#include "launcher/complaint.h"
#include "launcher/events/replayed_log.h"
#include "launcher/option_words.h"
#include "launcher/path_error.h"
#include "launcher/policy/policy_set.h"
#include "launcher/supervisor.h"
#include "launcher/text_table.h"

namespace cordon {
namespace {

constexpr std::string_view kReplayHelp =
    R"(Judges a recorded run (`cordon run --log LOG`) by another policy, and says what would have been
denied, or asked.

Usage: cordon replay POLICY LOG

  POLICY    a policy file, or a policy's name
  LOG       a file of JSON lines

Exit status: 0 where everything would have passed, 1 where something would not.
)";

std::string_view would(Action action) { return action == Action::kAsk ? "asked" : "denied"; }

int report(const ReplayedLog& log) {
  TextTable table({"WOULD BE", "FLOW", "TIMES", "RULE", "PROGRAM", "TO ALLOW IT"});
  std::uint64_t refused = 0;
  for (const ReplayedFlow& flow : log.flows()) {
    if (flow.action == Action::kAllow) continue;
    refused += flow.count;
    table.add({std::string(would(flow.action)), flow.what, std::to_string(flow.count), flow.rule,
               flow.program.empty() ? "-" : flow.program, flow.remedy.empty() ? "-" : flow.remedy});
  }
  if (refused > 0) fmt::print("{}\n", table.to_string());
  fmt::print("{} of {} recorded flows would have passed\n", log.judged() - refused, log.judged());
  if (log.not_understood() > 0) {
    fmt::print(stderr, "cordon: replay: {} lines are not cordon's, or are incomplete\n",
               log.not_understood());
  }
  return refused == 0 ? 0 : 1;
}

Result<int> replay(const std::string& policy_name, const std::string& path) {
  RunOptions given;
  given.policy_files = {policy_name};
  CORDON_TRY(const RunOptions options, with_policies(given));
  const Policy policy(options.policy);
  std::ifstream file(path);
  if (!file) return path_error(errno, path, PathUse::kRead);
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    return path_error(EISDIR, path, PathUse::kRead);
  }
  ReplayedLog log(policy);
  for (std::string line; std::getline(file, line);) log.add_line(line);
  if (log.judged() == 0 && log.not_understood() > 0) {
    return plain_error(
        fmt::format("{}: not one line of it is a denial or a flow of cordon's; LOG is "
                    "what `cordon run --log LOG` wrote in JSON",
                    path));
  }
  return report(log);
}

int perform_replay(const std::string& policy, const std::string& path) {
  const Result<int> status = replay(policy, path);
  if (status) return *status;
  complain(status.error().message(), "replay");
  return kExitOwnFailure;
}

}  // namespace

Result<CommandLine> parse_replay(std::span<const std::string> arguments) {
  bool wants_help = false;
  const OptionSpec specs[] = {{.names = "-h,--help", .is_set = &wants_help}};
  CORDON_TRY(const std::vector<std::string> rest,
             read_options("replay", arguments, specs, OptionPlace::kAnywhere));
  if (wants_help) return show_text(kReplayHelp);
  if (rest.size() != 2) return plain_error("replay: write cordon replay POLICY LOG");
  return perform([rest] { return perform_replay(rest[0], rest[1]); });
}

}  // namespace cordon
