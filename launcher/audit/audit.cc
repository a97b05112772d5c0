#include "launcher/audit/audit.h"

#include <array>
#include <cerrno>
#include <ctime>
#include <linux/limits.h>
#include <memory>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/audit/prober.h"
#include "launcher/audit/sandbox_process.h"
#include "launcher/audit/surroundings.h"

namespace cordon::audit {
namespace {

// What a server or the watch hears last may come after the prober's last word.
constexpr double kSettleSeconds = 0.3;
// What a sandbox prints is its own affair up to here; the prober's lines are a few hundred.
constexpr std::size_t kMostErrorText = 16384;
constexpr std::size_t kMostUnfinishedText = 65536;
constexpr std::size_t kMostReports = 16384;

double now_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

Result<std::string> own_program() {
  std::array<char, PATH_MAX> path{};
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  if (size <= 0) return errno_error("read /proc/self/exe");
  return std::string(path.data(), static_cast<std::size_t>(size));
}

/// Reads what the sandbox prints: the prober's lines, and what it complains about.
class Listener {
 public:
  Listener(Surroundings& surroundings, const SandboxProcess& process)
      : surroundings_(surroundings), process_(process) {
    surroundings.waiter().add(process.output(), [this] { read_output(); });
    surroundings.waiter().add(process.errors(), [this] { read_errors(); });
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() {
    surroundings_.waiter().remove(process_.output());
    surroundings_.waiter().remove(process_.errors());
  }

  [[nodiscard]] bool has_ended() const { return has_bye_ || is_closed_; }
  [[nodiscard]] bool has_hello() const { return has_hello_; }
  [[nodiscard]] bool has_bye() const { return has_bye_; }
  [[nodiscard]] const std::optional<bool>& reached_allowed() const { return reached_allowed_; }
  [[nodiscard]] const std::string& error_text() const { return error_text_; }
  [[nodiscard]] std::vector<ProbeReport>& reports() { return reports_; }
  [[nodiscard]] const std::vector<std::string>& remarks() const { return remarks_; }

 private:
  void read_output() {
    std::array<char, 4096> buffer;
    const ssize_t size = ::read(process_.output(), buffer.data(), buffer.size());
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) {
      is_closed_ = true;
      surroundings_.waiter().remove(process_.output());
      return;
    }
    text_.append(buffer.data(), static_cast<std::size_t>(size));
    for (auto end = text_.find('\n'); end != std::string::npos; end = text_.find('\n')) {
      on_line(std::string_view(text_).substr(0, end));
      text_.erase(0, end + 1);
    }
    if (text_.size() > kMostUnfinishedText) text_.clear();
  }

  void read_errors() {
    std::array<char, 4096> buffer;
    const ssize_t size = ::read(process_.errors(), buffer.data(), buffer.size());
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) return surroundings_.waiter().remove(process_.errors());
    if (error_text_.size() < kMostErrorText) {
      error_text_.append(buffer.data(), static_cast<std::size_t>(size));
    }
  }

  void on_line(std::string_view text) {
    auto line = read_line(surroundings_.plan().nonce, text);
    if (!line) return;
    if (auto* const report = std::get_if<ProbeReport>(&*line)) {
      if (reports_.size() < kMostReports) reports_.push_back(std::move(*report));
    } else {
      on_notice(std::get<ProberNotice>(*line));
    }
  }

  void on_notice(const ProberNotice& notice) {
    switch (notice.kind) {
      case ProberNotice::Kind::kHello:
        has_hello_ = true;
        return;
      case ProberNotice::Kind::kOwnNetwork:
        if (!notice.is_good) {
          remarks_.push_back(
              fmt::format("inside not even its own 127.0.0.1 works: {}", notice.words));
        }
        return;
      case ProberNotice::Kind::kAllowed:
        reached_allowed_ = notice.is_good;
        remarks_.push_back(fmt::format("the allowed destination: {}", notice.words));
        return;
      case ProberNotice::Kind::kAddressNow:
        surroundings_.add_address();
        return;
      case ProberNotice::Kind::kBye:
        has_bye_ = true;
        return;
    }
  }

  Surroundings& surroundings_;
  const SandboxProcess& process_;
  std::string text_;
  std::string error_text_;
  std::vector<ProbeReport> reports_;
  std::vector<std::string> remarks_;
  std::optional<bool> reached_allowed_;
  bool has_hello_ = false;
  bool has_bye_ = false;
  bool is_closed_ = false;
};

std::unexpected<Error> never_started(const AuditPlan& plan, const Listener& listener,
                                     const SandboxProcess& process) {
  std::string last = listener.error_text();
  while (!last.empty() && (last.back() == '\n' || last.back() == '\r')) last.pop_back();
  const auto status = process.status();
  return plain_error(fmt::format(
      "{} did not run the prober ({}); it must execute the words that are put behind its own, and "
      "let them see this program's file{}{}",
      plan.sandbox.front(),
      status ? fmt::format("exit status {}", *status) : std::string("still running"),
      last.empty() ? "" : "; it said:\n", last));
}

}  // namespace

Result<Report> run_audit(const AuditPlan& plan) {
  const double started = now_seconds();
  CORDON_TRY(const std::string program, own_program());
  CORDON_TRY(
      const auto surroundings,
      Surroundings::open(program, {.added_address = plan.added_address, .allowed = plan.allowed}));
  std::vector<std::string> words = plan.sandbox;
  words.insert(words.end(), {program, kProberVerb, encode_plan(surroundings->plan())});
  surroundings->turn();  // what others had open before is known before the prober begins
  CORDON_TRY(SandboxProcess process, SandboxProcess::start(words, surroundings->left_open()));
  Listener listener(*surroundings, process);
  while (!listener.has_ended() && now_seconds() - started < plan.seconds) surroundings->turn();
  const double settled = now_seconds() + kSettleSeconds;
  while (now_seconds() < settled) surroundings->turn();
  if (!listener.has_hello()) return never_started(plan, listener, process);

  Observations observations = std::move(*surroundings).observations(process.typed());
  observations.reports = std::move(listener.reports());
  observations.lets_public_out = plan.lets_public_out;
  Report report{.name = plan.name,
                .sandbox = plan.sandbox,
                .rows = judge(observations),
                .remarks = surroundings->remarks(),
                .is_complete = listener.has_bye(),
                .reached_allowed = listener.reached_allowed(),
                .seconds = now_seconds() - started};
  report.remarks.insert(report.remarks.end(), listener.remarks().begin(), listener.remarks().end());
  if (plan.allowed && !report.reached_allowed) report.reached_allowed = false;
  return report;
}

}  // namespace cordon::audit
