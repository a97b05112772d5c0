#include "launcher/verbs/run.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <memory>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/config.h"
#include "launcher/event_log.h"
#include "launcher/host_watch.h"
#include "launcher/policy_set.h"
#include "launcher/process_lookup.h"
#include "launcher/supervisor.h"
#include "netstack/base/token_bucket.h"
#include "netstack/host/messages.h"

namespace cordon {
namespace {

Instant monotonic_now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return Instant(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

/// Between the translator's messages and the person: denials are looked up, told, and only then
/// answered, so that the process is still there to be found.
class Reporter final : public TranslatorListener {
 public:
  explicit Reporter(EventLog& log) : log_(log) {}

  void on_started(const RunningSandbox& sandbox) override {
    has_started_ = true;
    control_ = sandbox.control;
    lookup_ = std::make_unique<ProcessLookup>(sandbox.sock_diag, sandbox.network_namespace,
                                              sandbox.guest_init);
    send_pending_upstreams();
  }

  void on_message(Bytes packet) override {
    const auto message = decode_message(packet);
    if (!message) return tell_nonsense();
    if (const auto denial = decode_denial(*message)) return on_denial(*denial);
    if (const auto report = decode_flow(*message)) return log_.flow(*report);
    if (const auto notice = decode_notice(*message)) return log_.notice(*notice, message->code);
    tell_nonsense();
  }

  void on_trouble(std::string_view words) override { log_.trouble(words); }

  [[nodiscard]] bool has_started() const { return has_started_; }

  void send_upstreams(std::vector<Endpoint> upstreams) {
    pending_upstreams_ = std::move(upstreams);
    send_pending_upstreams();
  }

 private:
  void send_pending_upstreams() {
    if (control_ < 0 || !pending_upstreams_) return;
    Message message;
    message.kind = MessageKind::kUpstreams;
    const std::size_t count = std::min(pending_upstreams_->size(), kMaxUpstreams);
    message.upstream_count = static_cast<std::uint32_t>(count);
    for (std::size_t i = 0; i < count; ++i) {
      message.upstreams[i] = encode_endpoint((*pending_upstreams_)[i]);
    }
    if (send(message)) pending_upstreams_.reset();
  }

  void on_denial(const Denial& denial) {
    std::optional<GuestProcess> process;
    if (lookup_ && lookups_.take(monotonic_now())) process = lookup_->find(denial.request);
    log_.denied(denial, process);
    Message told;
    told.kind = MessageKind::kDenialTold;
    told.id = denial.id;
    // Not taken: the translator refuses the guest by its own deadline.
    (void)send(told);
    send_pending_upstreams();
  }

  bool send(const Message& message) const {
    return ::send(control_, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL) ==
           ssize_t{sizeof(message)};
  }

  void tell_nonsense() {
    if (has_told_nonsense_) return;
    has_told_nonsense_ = true;
    log_.trouble("the translator sent a message that cannot be read; it is ignored");
  }

  EventLog& log_;
  int control_ = -1;
  std::unique_ptr<ProcessLookup> lookup_;
  TokenBucket lookups_{10, 10};
  std::optional<std::vector<Endpoint>> pending_upstreams_;
  bool has_started_ = false;
  bool has_told_nonsense_ = false;
};

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

struct Prepared {
  SandboxPlan plan;
  UniqueFd log;
  std::unique_ptr<HostWatch> watch;  // only with --dns host
  std::vector<std::string> remarks;
};

Result<Prepared> prepare(const RunOptions& options) {
  Prepared prepared;
  CORDON_TRY_STATUS(check_passed_fds(options.pass_fds));
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
  }
  CORDON_TRY(prepared.plan, plan_sandbox(options, host));
  CORDON_TRY(prepared.plan.published, bind_published(options.publish));
  for (const std::string& server : host.resolv_conf.skipped) {
    prepared.remarks.push_back(
        fmt::format("DNS server {} of /etc/resolv.conf is left out: cordon cannot ask it", server));
  }
  return prepared;
}

}  // namespace

int run(const RunOptions& given) {
  auto with_files = with_policies(given);
  auto prepared = with_files ? prepare(*with_files) : std::unexpected(with_files.error());
  if (!prepared) {
    fmt::print(stderr, "cordon: {}\n", prepared.error().message());
    return kExitOwnFailure;
  }
  const RunOptions& options = *with_files;
  const Policy policy = prepared->plan.translator.policy;
  EventLog log(options.verbosity, STDERR_FILENO, std::move(prepared->log), policy);
  for (const std::string& remark : prepared->remarks) log.remark(remark);
  Reporter reporter(log);
  std::vector<Watched> watched;
  if (HostWatch* const watch = prepared->watch.get()) {
    watched.push_back(Watched{.fd = watch->fd(), .on_readable = [watch, &reporter] {
                                if (const auto servers = watch->on_readable()) {
                                  reporter.send_upstreams(*servers);
                                }
                              }});
  }
  const int status = supervise(std::move(prepared->plan), reporter, std::move(watched));
  if (status == kExitOwnFailure && !reporter.has_started()) {
    log.trouble("the sandbox could not be made; `cordon doctor` says what this host lacks");
  }
  log.finish();
  return status;
}

}  // namespace cordon
