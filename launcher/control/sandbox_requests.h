// What the lines on the control socket mean (cordon-control(7)).
//
// A request is an object with the member "request"; what is answered to it ends with an object that
// has "ok". `events` and `ask` go on until the client closes. Each client has one request under way
// at a time; what comes meanwhile is refused.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/control/control_socket.h"
#include "launcher/control/questions.h"
#include "launcher/control/sandbox_watch.h"
#include "launcher/events/event_log.h"
#include "launcher/policy/live_policy.h"
#include "launcher/side_loop.h"
#include "launcher/translator_link.h"

namespace cordon {

/// What `cordon ps` shows of a sandbox, besides what changes.
struct SandboxFacts {
  std::string id;
  std::vector<std::string> command;
  std::vector<std::string> policy_files;
  std::int64_t started_unix_milliseconds = 0;
  bool reports_flows = false;  // to the log, whether somebody listens or not
};

class SandboxRequests final : public ControlHandler {
 public:
  /// Reads the policy again: from `file`, or where it is empty from where it came from at first.
  /// The error is told to whoever asked for it.
  using Load = std::function<Result<PolicySnapshot>(const std::string& file)>;

  struct Parts {
    ControlSocket& socket;
    SideLoop& loop;
    EventLog& log;
    LivePolicy& live;
    TranslatorLink& link;
    Questions& questions;
    SandboxWatch& watch;
  };

  /// All outlive this.
  SandboxRequests(const Parts& parts, SandboxFacts facts, Load load);

  /// Somebody waits at the other end to answer questions.
  [[nodiscard]] bool has_answerers() const;

  void on_request(ClientId client, std::string_view line) override;
  void on_room(ClientId client) override;
  void on_client_gone(ClientId client) override;

 private:
  struct Subscription {
    bool answers = false;      // `ask`: questions only, and may answer them
    std::uint64_t missed = 0;  // events that it did not read fast enough
  };

  void status(ClientId client);
  void list_flows(ClientId client);
  void on_listed(const FlowReport* flow, std::uint64_t next_cursor);
  void request_piece(std::uint64_t cursor);
  void finish_list(const Json& last);
  void change_rules(ClientId client, const Json& request, Action action);
  void add_rule(ClientId client, const Rule& rule, std::uint64_t seconds);
  void take_rule_back(ClientId client, const Rule& rule);
  /// The policy is another one now: `words` say how, to everybody who listens and to the client.
  void tell_change(ClientId client, const std::string& words);
  void reload(ClientId client, const Json& request);
  void subscribe(ClientId client, bool answers);
  void answer(ClientId client, const Json& request);
  void on_event(std::string_view json);
  void update_listener();

  void apply_policy();
  void answer_when_taken(ClientId client, Json answer);
  void on_policy(std::uint32_t generation, bool is_taken);
  void expire_rules();
  void succeed(ClientId client, Json answer);
  void fail(ClientId client, std::string_view why);

  Parts parts_;
  SandboxFacts facts_;
  Load load_;
  std::map<ClientId, Subscription> subscriptions_;
  std::map<ClientId, std::size_t> listing_;  // flows sent so far
  bool is_piece_under_way_ = false;
  std::optional<std::uint64_t> held_cursor_;  // the next piece waits for room
  std::optional<SideLoop::Timer> list_patience_;
  std::optional<SideLoop::Timer> expiry_;
  struct Change {
    std::uint32_t generation = 0;
    ClientId client = 0;
    Json answer;
  };
  std::vector<Change> changes_;  // that the translator has not taken yet
};

}  // namespace cordon
