#include "launcher/verbs/events.h"

#include <cstdio>

#include <fmt/format.h>

#include "launcher/control/control_client.h"
#include "launcher/supervisor.h"

namespace cordon {
namespace {

constexpr std::string_view kEventsHelp =
    R"(Prints the events of a sandbox as they happen, one JSON object a line, until it ends.

Usage: cordon events [ID]

  ID    the sandbox, as `cordon ps` lists it; may be left out where one runs

The objects are those of `cordon run --log`; cordon-control(7) describes them.
)";

constexpr Duration kForever = std::chrono::hours(24 * 365);

Status follow(const std::string& id) {
  CORDON_TRY(const ControlFolder folder, ControlFolder::open());
  CORDON_TRY(ControlClient client, ControlClient::connect_to_one(folder, id));
  CORDON_TRY(const Json answer, client.ask({{"request", "events"}}));
  for (;;) {
    CORDON_TRY(const std::optional<Json> event, client.receive(kForever));
    if (!event) return {};
    const std::string line = dump_line(*event) + "\n";
    const bool is_written =
        std::fwrite(line.data(), 1, line.size(), stdout) == line.size() && std::fflush(stdout) == 0;
    if (!is_written) return {};
  }
}

int events(const std::string& id) {
  const Status followed = follow(id);
  if (followed) return 0;
  fmt::print(stderr, "cordon: events: {}\n", followed.error().message());
  return kExitOwnFailure;
}

}  // namespace

Result<CommandLine> parse_events(std::span<const std::string> arguments) {
  bool wants_help = false;
  const OptionSpec specs[] = {{.names = "-h,--help", .is_set = &wants_help}};
  CORDON_TRY(const std::vector<std::string> rest,
             read_options("events", arguments, specs, OptionPlace::kAnywhere));
  if (wants_help) return show_text(kEventsHelp);
  if (rest.size() > 1) return plain_error("events: one sandbox at a time");
  const std::string id = rest.empty() ? std::string() : rest.front();
  return perform([id] { return events(id); });
}

}  // namespace cordon
