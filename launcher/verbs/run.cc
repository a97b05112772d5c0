#include "launcher/verbs/run.h"

#include <algorithm>
#include <fcntl.h>
#include <memory>
#include <optional>
#include <sys/resource.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/clock.h"
#include "launcher/complaint.h"
#include "launcher/config.h"
#include "launcher/control/control_socket.h"
#include "launcher/control/questions.h"
#include "launcher/control/sandbox_requests.h"
#include "launcher/control/sandbox_watch.h"
#include "launcher/events/event_log.h"
#include "launcher/host/host_watch.h"
#include "launcher/policy/live_policy.h"
#include "launcher/policy/policy_file_edit.h"
#include "launcher/policy/policy_set.h"
#include "launcher/side_loop.h"
#include "launcher/supervisor.h"
#include "launcher/terminal/terminal.h"
#include "launcher/terminal/terminal_prompt.h"
#include "launcher/text_file.h"
#include "launcher/translator_link.h"

namespace cordon {
namespace {

/// Before anything of ours is opened: a number that is free now would be ours a moment later.
Status check_passed_fds(const std::vector<int>& fds) {
  for (const int fd : fds) {
    if (::fcntl(fd, F_GETFD) < 0) {
      return plain_error(
          fmt::format("--pass-fd {0}: descriptor {0} is not open; open it in the "
                      "shell: cordon run --pass-fd {0} … {0}<FILE",
                      fd));
    }
  }
  return {};
}

/// Tables are reserved at the start, and would not fit: better told than died of.
Status check_address_space() {
  constexpr rlim_t kLeast = rlim_t{128} << 20;
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur >= kLeast) return {};
  return plain_error(
      fmt::format("the limit on address space is {} MiB, and {} MiB are needed; to lift it: "
                  "ulimit -v unlimited",
                  limit.rlim_cur >> 20, kLeast >> 20));
}

struct Prepared {
  SandboxPlan plan;
  UniqueFd log;
  std::unique_ptr<HostWatch> watch;  // only with --dns host
  std::unique_ptr<SideLoop> loop;
  std::unique_ptr<ControlSocket> control;  // none where there is no place for it
  std::vector<std::string> remarks;
};

/// A sandbox that cannot be spoken to runs all the same, but one that was given a name is to have
/// it.
Status open_control(const RunOptions& options, Prepared& prepared) {
  auto folder = ControlFolder::open();
  if (!folder && !options.name.empty()) return wrap("--name", folder.error());
  if (!folder) {
    prepared.remarks.push_back("no control socket: " + folder.error().message());
    return {};
  }
  prepared.plan.hidden_folders.push_back(folder->path());
  CORDON_TRY(ControlFolder::Bound bound, folder->bind(options.name));
  prepared.control = std::make_unique<ControlSocket>(*std::move(folder), std::move(bound));
  return {};
}

Result<Prepared> prepare(const RunOptions& options) {
  Prepared prepared;
  CORDON_TRY_STATUS(check_passed_fds(options.pass_fds));
  CORDON_TRY_STATUS(check_address_space());
  if (!options.log_path.empty()) {
    CORDON_TRY(prepared.log, open_log(options.log_path));
  }
  HostFacts host;
  if (!options.is_offline) {
    if (options.dns.kind == DnsChoice::Kind::kHost) {
      auto watch = HostWatch::open();
      // Without a watch the list of this moment still serves.
      if (watch) {
        prepared.watch = *std::move(watch);
      } else {
        prepared.remarks.push_back(watch.error().message());
      }
    }
    host.resolv_conf = prepared.watch ? prepared.watch->current()
                                      : parse_resolv_conf(read_text_file("/etc/resolv.conf"));
    CORDON_TRY(host.networks, read_host_networks());
    host.processors = std::thread::hardware_concurrency();
  }
  CORDON_TRY(prepared.plan, plan_sandbox(options, host));
  CORDON_TRY(prepared.plan.published, bind_published(options.publish));
  CORDON_TRY(prepared.loop, SideLoop::open());
  CORDON_TRY_STATUS(open_control(options, prepared));
  for (const std::string& server : host.resolv_conf.skipped) {
    prepared.remarks.push_back(
        fmt::format("DNS server {} of /etc/resolv.conf is left out: cordon cannot ask it", server));
  }
  return prepared;
}

/// Everything that a sandbox has outside of itself while it runs.
class RunningSandboxDesk {
 public:
  /// `given`: the options without what policy files say; `options` with it.
  RunningSandboxDesk(const RunOptions& given, const RunOptions& options, Prepared prepared,
                     FlowRecorder* recorder)
      : given_(given),
        options_(options),
        prepared_(std::move(prepared)),
        log_(options.verbosity, STDERR_FILENO, std::move(prepared_.log)),
        live_({.policy = prepared_.plan.translator.policy.input(),
               .names = prepared_.plan.translator.names}),
        questions_(*prepared_.loop, link_, log_, live_),
        watch_(*prepared_.loop, log_, live_, link_, questions_),
        prompt_(TerminalPrompt::open_terminal(), *prepared_.loop, questions_, screen_) {
    log_.set_choice({.is_text = options.log_format == LogFormat::kText,
                     .has_flows = options.logs_flows,
                     .has_denied = options.logs_denied});
    if (prepared_.control) make_requests();
    watch_.set_recorder(recorder);
    connect();
  }

  int run();

 private:
  void make_requests();
  void connect();
  [[nodiscard]] Result<PolicySnapshot> load(const std::string& file) const;
  [[nodiscard]] std::string write_down(const std::string& destination) const;
  void release_lines_later();

  const RunOptions& given_;
  const RunOptions& options_;
  Prepared prepared_;
  EventLog log_;
  LivePolicy live_;
  TranslatorLink link_;
  Questions questions_;
  SandboxWatch watch_;
  GuestScreen screen_;
  TerminalPrompt prompt_;
  std::optional<SandboxRequests> requests_;
};

void RunningSandboxDesk::make_requests() {
  requests_.emplace(SandboxRequests::Parts{.socket = *prepared_.control,
                                           .loop = *prepared_.loop,
                                           .log = log_,
                                           .live = live_,
                                           .link = link_,
                                           .questions = questions_,
                                           .watch = watch_},
                    SandboxFacts{.id = prepared_.control->id(),
                                 .command = options_.command,
                                 .policy_files = given_.policy_files,
                                 .started_unix_milliseconds = unix_milliseconds_now(),
                                 .reports_flows = prepared_.plan.translator.reports_flows},
                    [this](const std::string& file) { return load(file); });
  if (const Status served = prepared_.control->serve(*prepared_.loop, *requests_); !served) {
    log_.trouble("control socket: " + served.error().message());
  }
}

Result<PolicySnapshot> RunningSandboxDesk::load(const std::string& file) const {
  RunOptions again = given_;
  if (!file.empty()) again.policy_files = {file};
  for (const std::string& path : again.policy_files) {
    struct stat status {};
    // A pipe that nobody writes to would hold everything up.
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
      return plain_error(path + ": not a regular file, and cannot be read a second time");
    }
  }
  CORDON_TRY(const RunOptions options, with_policies(again));
  PolicySnapshot loaded{.policy = options.policy, .names = options.names};
  // Names keep the addresses that the guest has been told.
  loaded.names.pool_v4 = live_.snapshot().names.pool_v4;
  loaded.names.pool_v6 = live_.snapshot().names.pool_v6;
  return loaded;
}

std::string RunningSandboxDesk::write_down(const std::string& destination) const {
  const std::vector<std::string> folders = policy_folders();
  const auto set = read_policy_set(given_, folders);
  // The last of the person's own: what came with cordon is not to be written to, even by root.
  const auto is_own = [&](const FoundPolicy& file) {
    const bool is_given =
        std::ranges::find(given_.policy_files, file.name) != given_.policy_files.end();
    return is_given && !file.path.starts_with(folders.back() + "/");
  };
  std::string path;
  for (const FoundPolicy& file : set ? set->files : std::vector<FoundPolicy>()) {
    if (is_own(file)) path = file.path;
  }
  if (path.empty()) {
    return fmt::format("there is no policy file to write to; next time: --allow {}", destination);
  }
  const std::string comment =
      fmt::format("answered on {}", rfc3339(unix_milliseconds_now()).substr(0, 10));
  const Status added = add_rule_to_file(path, Action::kAllow, destination, comment);
  if (!added) {
    std::string why = added.error().message();
    std::ranges::replace(why, '\n', ' ');  // one line, whatever else is wrong with the file
    return fmt::format("not written: {}; next time: --allow {}", why, destination);
  }
  return fmt::format("{} is allowed in {} now", destination, path);
}

void RunningSandboxDesk::connect() {
  questions_.set_write_down([this](const std::string& to) { return write_down(to); });
  watch_.set_on_started([this](const RunningSandbox& sandbox) {
    screen_.set_guest(sandbox.guest_init,
                      sandbox.terminal != nullptr ? sandbox.terminal->master() : -1);
    prompt_.set_guest(sandbox.guest_init, sandbox.terminal);
  });
  if (prepared_.control) prompt_.set_sandbox(prepared_.control->id());
  log_.set_screen([this] { return screen_.is_taken(STDERR_FILENO); },
                  [this] { release_lines_later(); });
  questions_.set_is_anybody_there(
      [this] { return (requests_ && requests_->has_answerers()) || prompt_.is_there(); });
  questions_.set_on_change([this] { prompt_.on_change(); });
}

// Lines that wait for a full-screen program's end are written soon after it.
void RunningSandboxDesk::release_lines_later() {
  constexpr Duration kPause = std::chrono::milliseconds(100);
  (void)prepared_.loop->at(monotonic_now() + kPause, [this] {
    if (!log_.release()) release_lines_later();
  });
}

int RunningSandboxDesk::run() {
  const bool is_quiet = options_.verbosity == Verbosity::kQuiet;
  const auto unread = is_quiet || options_.is_offline ? std::nullopt : unread_folder_policy(given_);
  if (unread) log_.trouble(*unread);
  for (const std::string& remark : prepared_.remarks) log_.remark(remark);
  if (prepared_.control) log_.remark(fmt::format("this sandbox is {}", prepared_.control->id()));
  std::vector<Watched> watched;
  watched.push_back(
      {.fd = prepared_.loop->fd(), .on_readable = [this] { prepared_.loop->turn(); }});
  if (HostWatch* const host = prepared_.watch.get()) {
    watched.push_back({.fd = host->fd(), .on_readable = [this, host] {
                         if (const auto servers = host->on_readable()) {
                           watch_.send_upstreams(*servers);
                         }
                       }});
  }
  const int status = supervise(std::move(prepared_.plan), watch_, std::move(watched));
  if (status == kExitOwnFailure && !watch_.has_started()) {
    log_.trouble("the sandbox could not be made; `cordon doctor` says what this host lacks");
  }
  log_.finish();
  return status;
}

}  // namespace

int run(const RunOptions& given, FlowRecorder* recorder) {
  auto with_files = with_policies(given);
  auto prepared = with_files ? prepare(*with_files) : std::unexpected(with_files.error());
  if (prepared && recorder != nullptr) {
    prepared->plan.translator.reports_flows = true;
    prepared->plan.translator.introduces = Introduces::kAll;
  }
  if (!prepared) {
    complain(prepared.error().message());
    return kExitOwnFailure;
  }
  return RunningSandboxDesk(given, *with_files, *std::move(prepared), recorder).run();
}

}  // namespace cordon
