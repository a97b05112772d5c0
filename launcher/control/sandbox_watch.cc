#include "launcher/control/sandbox_watch.h"

#include <algorithm>

#include <fmt/format.h>

#include "launcher/clock.h"
#include "launcher/events/event_text.h"

namespace cordon {
namespace {

// Flows that were introduced and never began are forgotten with all others.
constexpr std::size_t kMostIntroduced = 1024;

// A flow as its beginning is reported under, too.
std::string key_of(const Request& request) {
  return fmt::format("{} {}", guest_text(request), way_text(request));
}

}  // namespace

void SandboxWatch::on_started(const RunningSandbox& sandbox) {
  sandbox_ = sandbox;
  link_.attach(sandbox.control, loop_);
  lookup_ = std::make_unique<ProcessLookup>(sandbox.sock_diag, sandbox.network_namespace,
                                            sandbox.guest_init);
  if (early_upstreams_) send_upstreams(*std::exchange(early_upstreams_, std::nullopt));
  if (on_started_) on_started_(sandbox);
}

void SandboxWatch::on_message(Bytes packet) {
  const auto message = decode_message(packet);
  if (!message) return tell_nonsense();
  live_.moved_on(message->generation);
  const Policy& policy = live_.of(message->generation);
  DnsName name;
  if (const auto denial = decode_denial(*message, name)) return on_denial(*denial, policy);
  if (const auto notice = decode_notice(*message)) return log_.notice(*notice, message->code);
  if (const auto question = decode_question(*message, name)) {
    ++counts_.asked;
    return questions_.ask(*question, find_process(question->request, denial_lookups_));
  }
  if (message->kind == MessageKind::kFlowsListed) {
    if (on_listed_) on_listed_(nullptr, message->cursor);
    return;
  }
  if (message->kind == MessageKind::kPolicyTaken) {
    const bool is_taken = message->code == 0;
    if (on_policy_) on_policy_(is_taken ? message->generation : message->id, is_taken);
    return;
  }
  if (const auto resolved = decode_resolved(*message, name)) {
    // Without its process: looking that up would cost the flow that follows its own look-up.
    if (recorder_ != nullptr) recorder_->on_resolved(*resolved);
    return;
  }
  if (const auto introduced = decode_introduced(*message, name)) {
    return on_introduced(message->id, *introduced);
  }
  const auto report = decode_flow(*message, name);
  if (!report) return tell_nonsense();
  if (message->kind == MessageKind::kFlow) return on_flow(*report, policy);
  if (on_listed_) on_listed_(&*report, 0);
}

void SandboxWatch::on_denial(const Denial& denial, const Policy& policy) {
  ++counts_.denied;
  const std::optional<GuestProcess> process = find_process(denial.request, denial_lookups_);
  log_.denied(denial, policy, process);
  if (recorder_ != nullptr) recorder_->on_denial(denial, process);
  Message told;
  told.kind = MessageKind::kDenialTold;
  told.id = denial.id;
  // Not taken: the translator refuses the guest by its own deadline.
  (void)link_.send(told);
}

void SandboxWatch::on_flow(const FlowReport& report, const Policy& policy) {
  std::optional<GuestProcess> process;
  const bool is_wanted = log_.is_read() || recorder_ != nullptr;
  if (is_wanted && !report.end) {
    process = take_introduced(report.request);
    if (!process) process = find_process(report.request, flow_lookups_);
  }
  log_.flow(report, policy, process);
  if (recorder_ != nullptr) recorder_->on_flow(report, process);
}

void SandboxWatch::on_introduced(std::uint32_t id, const Request& request) {
  if (introduced_.size() >= kMostIntroduced) introduced_.clear();
  if (auto process = find_process(request, introductions_)) {
    introduced_.insert_or_assign(key_of(request), *std::move(process));
  }
  Message told;
  told.kind = MessageKind::kIntroducedTold;
  told.id = id;
  // Not taken: the translator lets the flow begin by its own deadline.
  (void)link_.send(told);
}

std::optional<GuestProcess> SandboxWatch::take_introduced(const Request& request) {
  auto node = introduced_.extract(key_of(request));
  if (node.empty()) return std::nullopt;
  return std::move(node.mapped());
}

std::optional<GuestProcess> SandboxWatch::find_process(const Request& request,
                                                       TokenBucket& bucket) {
  const bool is_outbound = request.direction == Direction::kOutbound;
  if (!lookup_ || !is_outbound || !bucket.take(monotonic_now())) return std::nullopt;
  return lookup_->find(request);
}

void SandboxWatch::send_upstreams(const std::vector<Endpoint>& upstreams) {
  if (!sandbox_) {
    early_upstreams_ = upstreams;
    return;
  }
  Message message;
  message.kind = MessageKind::kUpstreams;
  const std::size_t count = std::min(upstreams.size(), kMaxUpstreams);
  message.upstream_count = static_cast<std::uint32_t>(count);
  for (std::size_t i = 0; i < count; ++i) message.upstreams[i] = encode_endpoint(upstreams[i]);
  (void)link_.send(message);  // refused only offline, where nobody asks them
}

void SandboxWatch::tell_nonsense() {
  if (has_told_nonsense_) return;
  has_told_nonsense_ = true;
  log_.trouble("the translator sent a message that cannot be read; it is ignored");
}

}  // namespace cordon
