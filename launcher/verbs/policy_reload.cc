#include "launcher/verbs/policy_reload.h"

#include <filesystem>

#include <fmt/format.h>

#include "launcher/complaint.h"
#include "launcher/control/control_client.h"
#include "launcher/option_words.h"
#include "launcher/path_error.h"
#include "launcher/supervisor.h"

namespace cordon {
namespace {

constexpr std::string_view kPolicyReloadHelp =
    R"(Reads the policy of a sandbox that runs once more. Flows that are no longer allowed are reset; the
others do not notice. Where a file has a problem nothing changes, and the problem is told.

Usage: cordon policy reload ID [FILE]

  ID      the sandbox, as `cordon ps` lists it
  FILE    in place of its policy files; --use, --allow and the like stay as they were given
)";

struct Reload {
  std::string id;
  std::string file;
};

Result<std::string> reload(const Reload& wanted) {
  CORDON_TRY(const ControlFolder folder, ControlFolder::open());
  CORDON_TRY(ControlClient client, ControlClient::connect(folder, wanted.id));
  Json request{{"request", "reload"}};
  // The sandbox stands in a folder of its own.
  std::error_code error;
  if (!wanted.file.empty()) {
    request["file"] = std::filesystem::absolute(wanted.file, error).string();
    if (error) return path_error(error.value(), wanted.file, PathUse::kRead);
  }
  CORDON_TRY(const Json answer, client.ask(request));
  return text_of(answer, "text");
}

int perform_reload(const Reload& wanted) {
  const auto words = reload(wanted);
  if (!words) {
    complain(words.error().message(), "policy reload");
    return kExitOwnFailure;
  }
  fmt::print("{}\n", *words);
  return 0;
}

}  // namespace

Result<CommandLine> parse_policy_reload(std::span<const std::string> arguments) {
  bool wants_help = false;
  const OptionSpec specs[] = {{.names = "-h,--help", .is_set = &wants_help}};
  CORDON_TRY(const std::vector<std::string> rest,
             read_options("policy reload", arguments, specs, OptionPlace::kAnywhere));
  if (wants_help) return show_text(kPolicyReloadHelp);
  if (rest.empty() || rest.size() > 2) {
    return plain_error("policy reload: write cordon policy reload ID [FILE]");
  }
  const Reload wanted{.id = rest[0], .file = rest.size() == 2 ? rest[1] : std::string()};
  return perform([wanted] { return perform_reload(wanted); });
}

}  // namespace cordon
