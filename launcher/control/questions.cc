#include "launcher/control/questions.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "launcher/clock.h"
#include "launcher/events/event_text.h"

namespace cordon {
namespace {

// More at once is a scan, not somebody's wish.
constexpr std::size_t kMostPending = 64;
constexpr std::size_t kMostFlowsOfOne = 256;
constexpr std::size_t kMostRemembered = 4096;
// Who has answered what nobody answered.
constexpr std::string_view kNobody = "nobody";
// How long a no holds for what tries again.
constexpr Duration kNoHolds = std::chrono::seconds(60);

Action action_of(Answer::Kind kind) {
  return kind == Answer::Kind::kNo || kind == Answer::Kind::kNeverInRun ? Action::kDeny
                                                                        : Action::kAllow;
}

Policy policy_of(const std::vector<Rule>& rules) {
  return Policy(PolicyInput{.default_action = DefaultAction::kDeny, .rules = rules});
}

// What rules alone say of a request: nothing where none is about it.
std::optional<Action> said_by(const Policy& rules, const Request& request) {
  const Verdict verdict =
      request.name != nullptr ? rules.judge_unresolved(request) : rules.evaluate(request);
  if (verdict.action == Action::kAllow) return Action::kAllow;
  if (verdict.reason == Reason::kRule) return Action::kDeny;
  return std::nullopt;
}

}  // namespace

std::string_view answer_name(Answer::Kind kind) {
  constexpr std::array<std::string_view, 6> kNames{"once",   "run", "minutes",
                                                   "always", "no",  "never"};
  return kNames.at(static_cast<std::size_t>(kind));
}

std::optional<Answer> parse_answer(std::string_view text) {
  using Kind = Answer::Kind;
  constexpr std::pair<std::string_view, Kind> kWords[] = {
      {"o", Kind::kOnce},        {"once", Kind::kOnce},
      {"y", Kind::kOnce},        {"yes", Kind::kOnce},
      {"r", Kind::kRun},         {"run", Kind::kRun},
      {"t", Kind::kMinutes},     {"minutes", Kind::kMinutes},
      {"10", Kind::kMinutes},    {"a", Kind::kAlways},
      {"always", Kind::kAlways}, {"n", Kind::kNo},
      {"no", Kind::kNo},         {"never", Kind::kNeverInRun},
  };
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return std::nullopt;
  std::string word(text.substr(first, text.find_last_not_of(" \t\r") - first + 1));
  std::ranges::transform(word, word.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  for (const auto& [known, kind] : kWords) {
    if (word == known) return Answer{.kind = kind};
  }
  return std::nullopt;
}

std::optional<Destination> destination_of(const Request& request) {
  Destination to;
  to.protocol = request.protocol;
  const bool has_port = request.protocol != Protocol::kIcmp;
  if (has_port && request.dialled.port == 0) return std::nullopt;
  if (has_port) to.ports = PortSet(request.dialled.port);
  if (request.is_host_door) {
    if (!has_port) return std::nullopt;
    to.kind = Destination::Kind::kHostDoor;
  } else if (request.name != nullptr) {
    to.kind = Destination::Kind::kName;
    to.pattern = {.kind = NamePattern::Kind::kExact, .name = request.name->lower_case()};
  } else {
    to.prefix = Prefix(request.dialled.address, request.dialled.address.bits());
  }
  return to;
}

void Questions::ask(const Question& question, const std::optional<GuestProcess>& process) {
  const Instant now = monotonic_now();
  if (const auto said = remembered(question.request, now)) return send(question.id, *said);
  const std::string what = way_text(question.request);
  for (auto& [id, other] : pending_) {
    if (other.what != what) continue;
    if (other.flows.size() == kMostFlowsOfOne) return send(question.id, Action::kDeny);
    other.flows.push_back(question.id);
    return;
  }
  PendingQuestion asked{.id = question.id,
                        .what = what,
                        .rule = rule_text(question.verdict, live_.current()),
                        .request = question.request,
                        .is_asked_by_rule = question.verdict.reason == Reason::kRule,
                        .process = process,
                        .flows = {question.id}};
  if (const auto to = destination_of(question.request)) asked.to = format_destination(*to);
  if (question.request.name != nullptr) asked.name = *question.request.name;
  const bool is_there = is_anybody_there_ && is_anybody_there_();
  if (!is_there || pending_.size() == kMostPending) {
    send(question.id, Action::kDeny);
    return tell_answer(asked, {.kind = Answer::Kind::kNo}, kNobody,
                       fmt::format("nobody could be asked about {}; to answer such questions: "
                                   "cordon ask",
                                   what));
  }
  asked.timer = loop_.at(now + kPersonPatience, [this, id = question.id] {
    settle(id, {.kind = Answer::Kind::kNo}, kNobody);
  });
  PendingQuestion& kept = pending_.emplace(question.id, std::move(asked)).first->second;
  if (kept.request.name != nullptr) kept.request.name = &kept.name;
  log_.tell(asked_event(kept), {});
  if (on_change_) on_change_();
}

bool Questions::tell_pending(std::string_view sandbox) {
  bool is_new = false;
  for (auto& [id, question] : pending_) {
    if (std::exchange(question.is_told, true)) continue;
    is_new = true;
    log_.say_to_person(fmt::format("{}; to answer: cordon ask {}", wish_text(question), sandbox));
  }
  return is_new;
}

std::string wish_text(const PendingQuestion& question) {
  const std::string who = question.process
                              ? fmt::format("{} (pid {})", escape_text(question.process->program),
                                            question.process->pid)
                              : "the command";
  return fmt::format("{} wants {}, id={}", who, question.what, question.id);
}

Json Questions::asked_event(const PendingQuestion& question) {
  Json event = begin_event(unix_milliseconds_now(), "asked");
  put_request(event, question.id, question.request);
  event["rule"] = question.rule;
  if (!question.to.empty()) event["to"] = question.to;
  put_process(event, question.process);
  return event;
}

bool Questions::answer(std::uint32_t id, const Answer& answer, std::string_view by) {
  if (!pending_.contains(id)) return false;
  settle(id, answer, by);
  return true;
}

void Questions::settle(std::uint32_t id, const Answer& answer, std::string_view by) {
  auto node = pending_.extract(id);
  if (node.empty()) return;
  PendingQuestion& question = node.mapped();
  if (question.request.name != nullptr) question.request.name = &question.name;
  loop_.cancel(question.timer);
  for (const std::uint32_t flow : question.flows) send(flow, action_of(answer.kind));
  const bool was_said = by != kNobody;
  if (was_said) remember(question, answer);
  std::string words;
  if (!was_said) words = fmt::format("nobody answered about {} in time", question.what);
  if (was_said && answer.kind == Answer::Kind::kAlways) {
    if (question.is_asked_by_rule) {
      words = fmt::format("{} asks about {} each time; to allow it always, change that rule",
                          question.rule, question.to);
    } else if (write_down_) {
      words = write_down_(question.to);
    }
  }
  tell_answer(question, answer, by, words);
  if (on_change_) on_change_();
}

void Questions::answer_matching(const Policy& rules, std::string_view by) {
  std::vector<std::pair<std::uint32_t, Action>> matching;
  for (const auto& [id, question] : pending_) {
    if (const auto said = said_by(rules, question.request)) matching.emplace_back(id, *said);
  }
  for (const auto& [id, action] : matching) {
    settle(id, {.kind = action == Action::kAllow ? Answer::Kind::kOnce : Answer::Kind::kNo}, by);
  }
}

std::optional<Action> Questions::remembered(const Request& request, Instant now) {
  const auto gone =
      std::erase_if(remembered_, [&](const Remembered& one) { return one.until <= now; });
  if (gone > 0) {
    recall();
  }
  return said_by(memory_, request);
}

void Questions::remember(const PendingQuestion& question, const Answer& answer) {
  const Instant now = monotonic_now();
  Instant until = kNever;
  switch (answer.kind) {
    case Answer::Kind::kOnce:
      return;
    case Answer::Kind::kMinutes:
      until = now + std::chrono::minutes(answer.minutes);
      break;
    case Answer::Kind::kNo:
      until = now + kNoHolds;
      break;
    case Answer::Kind::kRun:
    case Answer::Kind::kAlways:
    case Answer::Kind::kNeverInRun:
      break;
  }
  const auto to = destination_of(question.request);
  if (!to || remembered_.size() == kMostRemembered) return;
  remembered_.push_back({.rule = {.to = *to, .action = action_of(answer.kind)}, .until = until});
  recall();
}

void Questions::recall() {
  std::vector<Rule> rules;
  rules.reserve(remembered_.size());
  for (const Remembered& one : remembered_) rules.push_back(one.rule);
  memory_ = policy_of(rules);
}

void Questions::send(std::uint32_t flow, Action action) {
  Message message;
  message.kind = MessageKind::kAnswer;
  message.id = flow;
  message.action = static_cast<std::uint8_t>(action);
  // Not taken: the translator's own patience ends the wait with a no.
  (void)link_.send(message);
}

void Questions::tell_answer(const PendingQuestion& question, const Answer& answer,
                            std::string_view by, const std::string& words) {
  Json event = begin_event(unix_milliseconds_now(), "answered");
  put_request(event, question.id, question.request);
  event["answer"] = answer_name(answer.kind);
  if (answer.kind == Answer::Kind::kMinutes) event["minutes"] = answer.minutes;
  event["by"] = by;
  if (!words.empty()) event["text"] = words;
  log_.tell(event, words);
}

}  // namespace cordon
