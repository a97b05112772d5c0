// What the supervisor hears of a sandbox that runs, and what becomes of it: denials are looked up,
// told, and only then answered, so that the process is still there to be found; flows are counted;
// questions go to those who can answer.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launcher/control/questions.h"
#include "launcher/events/event_log.h"
#include "launcher/events/process_lookup.h"
#include "launcher/policy/live_policy.h"
#include "launcher/side_loop.h"
#include "launcher/supervisor.h"
#include "launcher/translator_link.h"
#include "netstack/base/token_bucket.h"

namespace cordon {

/// Gets every flow as it begins and ends, and every denial, with the process where it can be found.
class FlowRecorder {
 public:
  virtual ~FlowRecorder() = default;
  virtual void on_flow(const FlowReport& report, const std::optional<GuestProcess>& process) = 0;
  virtual void on_denial(const Denial& denial, const std::optional<GuestProcess>& process) = 0;
  /// As Events::resolved().
  virtual void on_resolved(const Resolution& resolution) = 0;
};

/// Counted since the start.
struct SandboxCounts {
  std::uint64_t denied = 0;
  std::uint64_t asked = 0;
};

class SandboxWatch final : public TranslatorListener {
 public:
  using OnStarted = std::function<void(const RunningSandbox&)>;
  /// A living flow; nullptr at the end of a piece of the list, which goes on at `next_cursor`.
  using OnListed = std::function<void(const FlowReport* flow, std::uint64_t next_cursor)>;
  /// The translator decides by that generation now, or (false) could not read it.
  using OnPolicy = std::function<void(std::uint32_t generation, bool is_taken)>;

  /// All outlive this.
  SandboxWatch(SideLoop& loop, EventLog& log, LivePolicy& live, TranslatorLink& link,
               Questions& questions)
      : loop_(loop), log_(log), live_(live), link_(link), questions_(questions) {}

  void set_on_started(OnStarted on_started) { on_started_ = std::move(on_started); }
  void set_on_listed(OnListed on_listed) { on_listed_ = std::move(on_listed); }
  void set_on_policy(OnPolicy on_policy) { on_policy_ = std::move(on_policy); }
  /// nullptr: none.
  void set_recorder(FlowRecorder* recorder) { recorder_ = recorder; }

  void on_started(const RunningSandbox& sandbox) override;
  void on_message(Bytes packet) override;
  void on_trouble(std::string_view words) override { log_.trouble(words); }

  [[nodiscard]] bool has_started() const { return sandbox_.has_value(); }
  [[nodiscard]] const std::optional<RunningSandbox>& sandbox() const { return sandbox_; }
  [[nodiscard]] const SandboxCounts& counts() const { return counts_; }

  void send_upstreams(const std::vector<Endpoint>& upstreams);

 private:
  void on_denial(const Denial& denial, const Policy& policy);
  void on_flow(const FlowReport& report, const Policy& policy);
  void on_introduced(std::uint32_t id, const Request& request);
  std::optional<GuestProcess> take_introduced(const Request& request);
  std::optional<GuestProcess> find_process(const Request& request, TokenBucket& bucket);
  void tell_nonsense();

  SideLoop& loop_;
  EventLog& log_;
  LivePolicy& live_;
  TranslatorLink& link_;
  Questions& questions_;
  OnStarted on_started_;
  OnListed on_listed_;
  OnPolicy on_policy_;
  FlowRecorder* recorder_ = nullptr;
  std::optional<RunningSandbox> sandbox_;
  std::unique_ptr<ProcessLookup> lookup_;
  TokenBucket denial_lookups_{10, 10};
  TokenBucket flow_lookups_{50, 50};
  // Those who wait are looked up as fast as that can be done; past it signals would wait, too.
  TokenBucket introductions_{500, 100};
  std::map<std::string, GuestProcess> introduced_;  // until their flow has begun
  std::optional<std::vector<Endpoint>> early_upstreams_;
  SandboxCounts counts_;
  bool has_told_nonsense_ = false;
};

}  // namespace cordon
