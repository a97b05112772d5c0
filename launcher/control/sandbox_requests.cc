#include "launcher/control/sandbox_requests.h"

#include <algorithm>
#include <array>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/clock.h"
#include "launcher/control/control_client.h"
#include "launcher/events/event_text.h"
#include "netstack/policy/destination.h"
#include "netstack/translator.h"

namespace cordon {
namespace {

constexpr std::uint64_t kLongestFor = 366ULL * 24 * 3600;
constexpr Duration kListPatience = std::chrono::seconds(3);
constexpr std::size_t kMostAddedTold = 20;

// Another rule may say what was to change: a deny is stronger than what was just allowed, and what
// was taken back may be allowed, or denied, by more than that. Nothing has changed then, which is
// to be known.
std::string still(Action action, const Destination& to, const Policy& policy) {
  Request request;
  request.protocol = to.protocol.value_or(Protocol::kTcp);
  request.dialled.port = to.ports.ranges().front().first;
  request.is_host_door = to.kind == Destination::Kind::kHostDoor;
  const bool is_name =
      to.kind == Destination::Kind::kName && to.pattern.kind == NamePattern::Kind::kExact;
  if (is_name) request.name = &to.pattern.name;
  if (to.kind == Destination::Kind::kPrefix) {
    if (to.prefix.length() != to.prefix.address().bits()) return {};
    request.dialled.address = to.prefix.address();
    request.address_class = registry_class(request.dialled.address);
  }
  const bool is_one = is_name || request.is_host_door || to.kind == Destination::Kind::kPrefix;
  if (!is_one) return {};
  const Verdict verdict = is_name ? policy.judge_unresolved(request) : policy.evaluate(request);
  const bool is_meant = verdict.reason == Reason::kRule || action == Action::kAllow;
  if (verdict.action != action || !is_meant) return {};
  return fmt::format("; it stays {} by {}", action == Action::kAllow ? "allowed" : "denied",
                     rule_text(verdict, policy));
}

std::string added_text(const LivePolicy::Added& added) {
  return fmt::format("{} {}", action_name(added.rule.action), added.rule.text);
}

// Whole seconds that are left, at least one.
std::uint64_t seconds_left(Instant until, Instant now) {
  const auto left = std::chrono::ceil<std::chrono::seconds>(until - now);
  return static_cast<std::uint64_t>(std::max<std::int64_t>(left.count(), 1));
}

Json added_json(std::span<const LivePolicy::Added> all) {
  Json list = Json::array();
  const Instant now = monotonic_now();
  for (const LivePolicy::Added& added : all) {
    Json one;
    one["action"] = action_name(added.rule.action);
    one["to"] = added.rule.text;
    if (added.until != kNever) one["seconds"] = seconds_left(added.until, now);
    list.push_back(std::move(one));
  }
  return list;
}

std::string not_added(const Rule& rule, const std::string& id,
                      std::span<const LivePolicy::Added> all) {
  std::string words =
      fmt::format("{} {} was not added to sandbox {}", action_name(rule.action), rule.text, id);
  if (all.empty()) return words + ", nor was any other rule";
  std::vector<std::string> texts;
  for (const LivePolicy::Added& added : all.first(std::min(all.size(), kMostAddedTold))) {
    texts.push_back(added_text(added));
  }
  words += fmt::format("; added were: {}", fmt::join(texts, ", "));
  if (all.size() > texts.size()) words += fmt::format(" and {} more", all.size() - texts.size());
  return words;
}

}  // namespace

SandboxRequests::SandboxRequests(const Parts& parts, SandboxFacts facts, Load load)
    : parts_(parts), facts_(std::move(facts)), load_(std::move(load)) {
  parts_.watch.set_on_listed(
      [this](const FlowReport* flow, std::uint64_t next) { on_listed(flow, next); });
  parts_.watch.set_on_policy(
      [this](std::uint32_t generation, bool is_taken) { on_policy(generation, is_taken); });
}

bool SandboxRequests::has_answerers() const {
  return std::ranges::any_of(subscriptions_,
                             [](const auto& entry) { return entry.second.answers; });
}

void SandboxRequests::on_request(ClientId client, std::string_view line) {
  const std::optional<Json> request = parse_object(line);
  if (!request) return fail(client, "a request is one JSON object a line");
  const std::string what = text_of(*request, "request");
  if (what == "answer") return answer(client, *request);
  if (subscriptions_.contains(client) || listing_.contains(client)) {
    return fail(client, "one request at a time");
  }
  if (what == "status") return status(client);
  if (what == "flows") return list_flows(client);
  if (what == "allow") return change_rules(client, *request, Action::kAllow);
  if (what == "deny") return change_rules(client, *request, Action::kDeny);
  if (what == "reload") return reload(client, *request);
  if (what == "events") return subscribe(client, false);
  if (what == "ask") return subscribe(client, true);
  fail(client, fmt::format("'{}' is not a request", escape_text(what)));
}

void SandboxRequests::succeed(ClientId client, Json answer) {
  answer["ok"] = true;
  parts_.socket.send(client, dump_line(answer));
}

void SandboxRequests::fail(ClientId client, std::string_view why) {
  Json answer;
  answer["ok"] = false;
  answer["error"] = why;
  parts_.socket.send(client, dump_line(answer));
}

void SandboxRequests::status(ClientId client) {
  const Policy& policy = parts_.live.current();
  const auto& sandbox = parts_.watch.sandbox();
  Json answer;
  answer["id"] = facts_.id;
  answer["pid"] = ::getpid();
  if (sandbox) answer["guest_pid"] = sandbox->guest_init;
  if (sandbox && sandbox->translator > 0) answer["translator_pid"] = sandbox->translator;
  answer["started"] = rfc3339(facts_.started_unix_milliseconds);
  const std::int64_t age = unix_milliseconds_now() - facts_.started_unix_milliseconds;
  answer["seconds"] = std::max<std::int64_t>(age, 0) / 1000;
  answer["offline"] = sandbox && sandbox->control < 0;
  answer["mode"] = mode_name(policy.mode());
  answer["default"] = default_action_name(policy.default_action());
  answer["rules"] = policy.rules().size();
  answer["added"] = added_json(parts_.live.added());
  answer["policy"] = facts_.policy_files;
  answer["denied"] = parts_.watch.counts().denied;
  answer["asked"] = parts_.watch.counts().asked;
  answer["waiting"] = parts_.questions.pending().size();
  answer["command"] = facts_.command;
  succeed(client, std::move(answer));
}

void SandboxRequests::list_flows(ClientId client) {
  if (is_piece_under_way_ || !listing_.empty())
    return fail(client, "another client is listing the flows; try again");
  listing_[client] = 0;
  list_patience_ = parts_.loop.at(monotonic_now() + kListPatience, [this] {
    list_patience_.reset();
    is_piece_under_way_ = false;
    for (const auto& [waiting, count] : std::exchange(listing_, {})) {
      fail(waiting, "the translator does not answer");
    }
  });
  request_piece(0);
}

void SandboxRequests::request_piece(std::uint64_t cursor) {
  Message message;
  message.kind = MessageKind::kListFlows;
  message.cursor = cursor;
  is_piece_under_way_ = parts_.link.send(message);
  if (is_piece_under_way_) return;
  Json last;
  last["count"] = 0;
  finish_list(last);
}

void SandboxRequests::on_listed(const FlowReport* flow, std::uint64_t next_cursor) {
  if (flow == nullptr) is_piece_under_way_ = false;
  if (listing_.empty()) return;
  auto& [client, count] = *listing_.begin();
  if (flow != nullptr) {
    Json line;
    line["flow"] = listed_flow_json(*flow, parts_.live.current());
    ++count;
    return parts_.socket.send(client, dump_line(line));
  }
  if (next_cursor == Translator::kAllListed) {
    Json last;
    last["count"] = count;
    return finish_list(last);
  }
  if (parts_.socket.waiting(client) < kMostWaiting) return request_piece(next_cursor);
  held_cursor_ = next_cursor;
}

void SandboxRequests::finish_list(const Json& last) {
  if (list_patience_) parts_.loop.cancel(*std::exchange(list_patience_, std::nullopt));
  for (const auto& [client, count] : std::exchange(listing_, {})) succeed(client, last);
}

void SandboxRequests::on_room(ClientId client) {
  if (held_cursor_ && listing_.contains(client)) {
    request_piece(*std::exchange(held_cursor_, std::nullopt));
  }
  const auto found = subscriptions_.find(client);
  if (found == subscriptions_.end() || found->second.missed == 0) return;
  Json event = begin_event(unix_milliseconds_now(), "suppressed");
  event["count"] = std::exchange(found->second.missed, 0);
  parts_.socket.send(client, dump_line(event));
}

void SandboxRequests::change_rules(ClientId client, const Json& request, Action action) {
  const auto& sandbox = parts_.watch.sandbox();
  if (!sandbox || sandbox->control < 0) return fail(client, "this sandbox is offline");
  const std::string text = text_of(request, "to");
  const Result<Destination> to = parse_destination(text);
  if (!to) return fail(client, to.error().message());
  const std::uint64_t seconds = number_of(request, "for");
  if (seconds > kLongestFor) return fail(client, "\"for\" is at most 366 days, in seconds");
  const Rule rule{.to = *to,
                  .action = action,
                  .text = text,
                  .origin = fmt::format("cordon {}", action_name(action))};
  if (!truth_of(request, "undo")) return add_rule(client, rule, seconds);
  if (seconds > 0) return fail(client, "\"undo\" takes a rule back at once: leave out \"for\"");
  take_rule_back(client, rule);
}

void SandboxRequests::add_rule(ClientId client, const Rule& rule, std::uint64_t seconds) {
  const std::string_view verb = action_name(rule.action);
  parts_.live.add(rule, seconds == 0 ? kNever : monotonic_now() + std::chrono::seconds(seconds));
  apply_policy();
  std::string words = seconds == 0 ? fmt::format("{} {} for the rest of this run", verb, rule.text)
                                   : fmt::format("{} {} for {} s", verb, rule.text, seconds);
  if (rule.action == Action::kAllow) words += still(Action::kDeny, rule.to, parts_.live.current());
  tell_change(client, words);
  parts_.questions.answer_matching(
      Policy({.default_action = DefaultAction::kDeny, .rules = {rule}}), "control");
}

void SandboxRequests::take_rule_back(ClientId client, const Rule& rule) {
  if (!parts_.live.take_back(rule.action, rule.to)) {
    return fail(client, not_added(rule, facts_.id, parts_.live.added()));
  }
  apply_policy();
  tell_change(client, fmt::format("{} {} is taken back{}", action_name(rule.action), rule.text,
                                  still(rule.action, rule.to, parts_.live.current())));
}

void SandboxRequests::tell_change(ClientId client, const std::string& words) {
  Json event = begin_event(unix_milliseconds_now(), "policy");
  event["text"] = words;
  parts_.log.tell(event, {});
  Json answer;
  answer["text"] = words;
  answer_when_taken(client, std::move(answer));
}

void SandboxRequests::reload(ClientId client, const Json& request) {
  const auto& sandbox = parts_.watch.sandbox();
  if (!sandbox || sandbox->control < 0) return fail(client, "this sandbox is offline");
  const std::string file = text_of(request, "file");
  Result<PolicySnapshot> loaded = load_(file);
  if (!loaded) {
    return fail(client, fmt::format("{}\nthe policy stays as it was", loaded.error().message()));
  }
  parts_.live.replace(*std::move(loaded));
  if (!file.empty()) facts_.policy_files = {file};
  apply_policy();
  const std::string words =
      fmt::format("policy reloaded: {} rules", parts_.live.current().rules().size());
  Json event = begin_event(unix_milliseconds_now(), "policy");
  event["text"] = words;
  parts_.log.tell(event, {});
  Json answer;
  answer["rules"] = parts_.live.current().rules().size();
  answer["text"] = words;
  answer_when_taken(client, std::move(answer));
}

void SandboxRequests::answer_when_taken(ClientId client, Json answer) {
  changes_.push_back(
      {.generation = parts_.live.generation(), .client = client, .answer = std::move(answer)});
}

// Where several changes come one after another, only the last may ever be sent as a whole.
void SandboxRequests::on_policy(std::uint32_t generation, bool is_taken) {
  for (Change& change : changes_) {
    if (change.generation > generation) continue;
    if (is_taken) {
      succeed(change.client, std::move(change.answer));
    } else {
      fail(change.client, "the translator cannot read this policy; the one before goes on");
    }
  }
  std::erase_if(changes_, [&](const Change& change) { return change.generation <= generation; });
}

void SandboxRequests::apply_policy() {
  parts_.link.send_policy(parts_.live.generation(), encode_snapshot(parts_.live.snapshot()));
  if (expiry_) parts_.loop.cancel(*std::exchange(expiry_, std::nullopt));
  const Instant next = parts_.live.next_expiry();
  if (next == kNever) return;
  expiry_ = parts_.loop.at(next, [this] { expire_rules(); });
}

void SandboxRequests::expire_rules() {
  expiry_.reset();
  if (!parts_.live.expire(monotonic_now())) return;
  Json event = begin_event(unix_milliseconds_now(), "policy");
  event["text"] = "the time of a rule that was added is over";
  parts_.log.tell(event, {});
  apply_policy();
}

void SandboxRequests::subscribe(ClientId client, bool answers) {
  subscriptions_[client] = Subscription{.answers = answers};
  update_listener();
  Json answer;
  answer["id"] = facts_.id;
  succeed(client, std::move(answer));
  if (!answers) return;
  for (const auto& [id, question] : parts_.questions.pending()) {
    parts_.socket.send(client, dump_line(Questions::asked_event(question)));
  }
}

void SandboxRequests::answer(ClientId client, const Json& request) {
  const auto id = static_cast<std::uint32_t>(number_of(request, "id"));
  std::optional<Answer> answer = parse_answer(text_of(request, "answer"));
  if (!answer) return fail(client, "\"answer\" is once, run, minutes, always, no or never");
  if (const std::uint64_t minutes = number_of(request, "minutes"); minutes > 0) {
    answer->minutes = static_cast<unsigned>(std::min<std::uint64_t>(minutes, kLongestFor / 60));
  }
  if (!parts_.questions.answer(id, *answer, "control")) {
    return fail(client, fmt::format("question {} does not wait any more", id));
  }
  succeed(client, Json::object());
}

void SandboxRequests::on_event(std::string_view json) {
  const bool is_question = json.find(R"("event":"asked")") != std::string_view::npos ||
                           json.find(R"("event":"answered")") != std::string_view::npos;
  for (auto& [client, subscription] : subscriptions_) {
    if (subscription.answers && !is_question) continue;
    if (parts_.socket.waiting(client) > kMostWaiting) {
      ++subscription.missed;
    } else {
      parts_.socket.send(client, json);
    }
  }
}

void SandboxRequests::update_listener() {
  const bool wants_flows =
      std::ranges::any_of(subscriptions_, [](const auto& entry) { return !entry.second.answers; });
  Message message;
  message.kind = MessageKind::kReportFlows;
  message.action = facts_.reports_flows || wants_flows ? 1 : 0;
  (void)parts_.link.send(message);  // refused only offline, where there are none
  if (subscriptions_.empty()) return parts_.log.set_listener(nullptr);
  parts_.log.set_listener([this](std::string_view json) { on_event(json); });
}

void SandboxRequests::on_client_gone(ClientId client) {
  if (listing_.erase(client) > 0) {
    held_cursor_.reset();
    if (list_patience_) parts_.loop.cancel(*std::exchange(list_patience_, std::nullopt));
  }
  std::erase_if(changes_, [&](const Change& change) { return change.client == client; });
  if (subscriptions_.erase(client) > 0) update_listener();
}

}  // namespace cordon
