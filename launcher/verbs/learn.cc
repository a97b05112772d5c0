#include "launcher/verbs/learn.h"

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/clock.h"
#include "launcher/complaint.h"
#include "launcher/events/event_json.h"
#include "launcher/policy/learned_policy.h"
#include "launcher/policy/policy_file_edit.h"
#include "launcher/policy/policy_set.h"
#include "launcher/policy/presets.h"
#include "launcher/policy/public_suffix.h"
#include "launcher/supervisor.h"
#include "launcher/verbs/run.h"

namespace cordon {
namespace {

constexpr std::string_view kLearnHelp =
    R"(Runs COMMAND with the public internet open, as `cordon run` does without a policy, records what it
reaches, and writes a policy for it: presets where they fit, names, ports, types of records (SRV, MX,
TXT), and why each line is there. What was denied (this host, the local network) and names that were
looked up but never dialled stand there as comments.

Usage: cordon learn [--write FILE] [--force] [OPTIONS] [--] COMMAND [ARGUMENTS...]

  --write FILE    the policy file; without it the policy is printed when COMMAND has ended
  --force         replace FILE where it is there already

The other options are those of `cordon run`; --allow opens what is denied otherwise.

Exit status: as that of cordon run.
)";

class InstalledLore final : public PolicyLore {
 public:
  [[nodiscard]] std::optional<std::string> preset_for(
      std::span<const std::string> names) const override {
    return cordon::preset_for(names, folders_);
  }
  [[nodiscard]] bool covers(const std::string& preset, const std::string& name,
                            std::uint16_t port) const override {
    const auto parsed = DnsName::parse(name);
    RunOptions given;
    given.presets = {preset};
    const auto options = read_policy_set(given, folders_);
    if (!parsed || !options) return false;
    Request request;
    request.name = &*parsed;
    request.dialled.port = port;
    return Policy(options->options.policy).judge_unresolved(request).action == Action::kAllow;
  }
  [[nodiscard]] bool is_public_suffix(const std::string& name) const override {
    return suffixes_.is_public(name);
  }
  [[nodiscard]] bool may_be_named(const std::string& name) const override {
    return parse_destination(name).has_value() && !suffixes_.is_of_registrars(name);
  }

 private:
  std::vector<std::string> folders_ = policy_folders();
  PublicSuffixes suffixes_;
};

class Recorder final : public FlowRecorder {
 public:
  void on_flow(const FlowReport& report, const std::optional<GuestProcess>& process) override {
    learner_.on_flow(unix_milliseconds_now(), report, process);
  }
  void on_denial(const Denial& denial, const std::optional<GuestProcess>& process) override {
    learner_.on_denial(unix_milliseconds_now(), denial, process);
  }
  void on_resolved(const Resolution& resolution) override {
    learner_.on_resolved(unix_milliseconds_now(), resolution);
  }
  [[nodiscard]] const Learner& learner() const { return learner_; }

 private:
  Learner learner_;
};

struct LearnOptions {
  RunOptions run;
  std::string path;  // empty: stdout
  bool may_replace = false;
};

int learn(const LearnOptions& options) {
  if (!options.path.empty() && !options.may_replace && ::access(options.path.c_str(), F_OK) == 0) {
    fmt::print(stderr, "cordon: --write {0}: it is there already; --force replaces it\n",
               options.path);
    return kExitOwnFailure;
  }
  // Better told now than when the run is over.
  const Status writable = options.path.empty() ? Status() : check_replaceable(options.path);
  if (!writable) {
    complain("--write " + writable.error().message());
    return kExitOwnFailure;
  }
  Recorder recorder;
  const int status = run(options.run, &recorder);
  const bool is_without_run =
      status == kExitOwnFailure || status == kExitCannotExecute || status == kExitNotFound;
  if (is_without_run && recorder.learner().destinations().empty()) {
    complain("nothing was learned, and no policy is written");
    return status;
  }
  const std::string text =
      learned_policy({.command = options.run.command,
                      .date = rfc3339(unix_milliseconds_now()).substr(0, 10),
                      .destinations = recorder.learner().destinations(),
                      .names_not_dialled = recorder.learner().names_not_dialled(),
                      .records_asked = recorder.learner().records_asked(),
                      .classes = options.run.policy.overrides},
                     InstalledLore());
  if (options.path.empty()) {
    fmt::print("{}", text);
    return status;
  }
  if (const Status written = replace_file(options.path, text); !written) {
    complain("--write " + written.error().message());
    fmt::print("{}", text);  // what was learned is not lost
    return kExitOwnFailure;
  }
  fmt::print(stderr, "cordon: the policy is in {0}; to use it: cordon run --policy {0} -- ...\n",
             options.path);
  return status;
}

}  // namespace

Result<CommandLine> parse_learn(std::span<const std::string> arguments) {
  std::vector<std::string> paths;
  LearnOptions options;
  const OptionSpec own[] = {{.names = "--write", .values = &paths},
                            {.names = "--force", .is_set = &options.may_replace}};
  CORDON_TRY(std::optional<RunOptions> run_options, read_run_options("learn", arguments, own));
  if (!run_options) return show_text(kLearnHelp);
  if (run_options->is_offline) return plain_error("learn --offline: there is nothing to learn");
  options.run = *std::move(run_options);
  if (!paths.empty()) options.path = paths.back();
  // What the run may reach is everything public, and what --allow opens on top.
  options.run.opens_public = true;
  // Every name gets an address of its own, so that each flow is known by its name.
  options.run.names.mode = NameSettings::Mode::kMap;
  return perform([options] { return learn(options); });
}

}  // namespace cordon
