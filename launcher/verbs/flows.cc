#include "launcher/verbs/flows.h"

#include <fmt/format.h>

#include "launcher/events/event_text.h"
#include "launcher/readable_octets.h"
#include "launcher/supervisor.h"
#include "launcher/text_table.h"

namespace cordon {
namespace {

constexpr std::string_view kFlowsHelp =
    R"(Lists the flows of a sandbox that live at this moment.

Usage: cordon flows [--json] [ID]

  ID        the sandbox, as `cordon ps` lists it; may be left out where one runs
  --json    one JSON object a line (cordon-control(7))
)";

constexpr Duration kPatience = std::chrono::seconds(5);

std::string peer_of(const Json& flow) {
  const std::string name = text_of(flow, "name");
  const std::string destination = text_of(flow, "destination");
  if (truth_of(flow, "host_door")) return fmt::format("host ({})", destination);
  return name.empty() ? destination : fmt::format("{} ({})", name, destination);
}

Result<std::vector<Json>> fetch(ControlClient& client) {
  CORDON_TRY_STATUS(client.send({{"request", "flows"}}));
  std::vector<Json> flows;
  for (;;) {
    CORDON_TRY(std::optional<Json> line, client.receive(kPatience));
    if (!line) return plain_error(fmt::format("sandbox {} does not answer", client.id()));
    if (const auto flow = line->find("flow"); flow != line->end() && flow->is_object()) {
      flows.push_back(*flow);
      continue;
    }
    if (truth_of(*line, "ok")) return flows;
    return plain_error(text_of(*line, "error"));
  }
}

Result<std::vector<Json>> fetch_from(const std::string& id) {
  CORDON_TRY(const ControlFolder folder, ControlFolder::open());
  CORDON_TRY(ControlClient client, ControlClient::connect_to_one(folder, id));
  return fetch(client);
}

int flows(const std::string& id, bool is_json) {
  const auto list = fetch_from(id);
  if (!list) {
    fmt::print(stderr, "cordon: flows: {}\n", list.error().message());
    return kExitOwnFailure;
  }
  if (!is_json) {
    fmt::print("{}", flows_table(*list));
    return 0;
  }
  for (const Json& flow : *list) fmt::print("{}\n", dump_line(flow));
  return 0;
}

}  // namespace

std::string flows_table(std::span<const Json> flows) {
  TextTable table({"PROTO", "GUEST", "DESTINATION", "UP", "DOWN", "RULE"});
  for (const Json& flow : flows) {
    const bool is_inbound = text_of(flow, "direction") == "inbound";
    table.add({text_of(flow, "protocol"), text_of(flow, "guest"),
               (is_inbound ? "from " : "") + peer_of(flow),
               readable_octets(number_of(flow, "bytes_up")),
               readable_octets(number_of(flow, "bytes_down")), text_of(flow, "rule")});
  }
  return table.to_string();
}

Result<CommandLine> parse_flows(std::span<const std::string> arguments) {
  bool is_json = false;
  bool wants_help = false;
  const OptionSpec specs[] = {{.names = "--json", .is_set = &is_json},
                              {.names = "-h,--help", .is_set = &wants_help}};
  CORDON_TRY(const std::vector<std::string> rest,
             read_options("flows", arguments, specs, OptionPlace::kAnywhere));
  if (wants_help) return show_text(kFlowsHelp);
  if (rest.size() > 1) return plain_error("flows: one sandbox at a time");
  const std::string id = rest.empty() ? std::string() : rest.front();
  return perform([id, is_json] { return flows(id, is_json); });
}

}  // namespace cordon
