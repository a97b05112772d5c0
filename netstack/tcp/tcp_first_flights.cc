// What bounds a stream's octets before they move: the look at the first flight, and budgets. And
// what becomes of a flow whose first flight is refused:
//
//   told       the denial is reported; the host's side is reset at once, and the guest's answer (a
//              TLS alert, an HTTP 403) waits until the supervisor has looked the process up
//   an earlier request of the connection is still unanswered, for all that we know: the host gets
//              FIN instead, and the server's answers pass until its own; then the answer goes
//   answered   FIN to the guest, whose octets are read and forgotten until it has ended too: a
//              socket that is closed with octets unread resets, and takes the answer with it
//
// A stream that a limit or a new policy ends goes the same way, without words: nothing moves any
// more, and the guest's reset waits until its process has been looked up.
#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "netstack/flow/meter.h"
#include "netstack/tcp/stream_rules.h"
#include "netstack/tcp/tcp_flows.h"

namespace cordon {
namespace {

// How exactly the end of an undecided flight's time is kept.
constexpr Duration kUndecidedTick = std::chrono::milliseconds(20);
// Pieces of a refused guest's octets that are forgotten in one turn.
constexpr int kDiscardsPerTurn = 16;

// The longest a name's text can be here; parse_host_name() made it from one.
using NameText = std::array<char, kLongestDnsName>;

std::string_view text_of(const DnsName* name, NameText& text) {
  if (name == nullptr) return {};
  std::size_t size = 0;
  for (Bytes rest = name->wire(); !rest.empty() && rest[0] != 0;) {
    if (size > 0) text[size++] = '.';
    for (const std::uint8_t octet : rest.subspan(1, rest[0])) {
      // Whatever it was: it ends up in a line of text.
      text[size++] = octet > ' ' && octet < 0x7f ? static_cast<char>(octet) : '?';
    }
    rest = rest.subspan(std::size_t{1} + rest[0]);
  }
  return {text.data(), size};
}

// A rule as denials name it: where it stands, and for an option its value.
std::string_view text_of(const Rule& rule, std::span<char> text) {
  const bool is_option = rule.origin.starts_with("--");
  const auto written = fmt::format_to_n(text.data(), text.size(), "{}{}{}", rule.origin,
                                        is_option ? "=" : "", is_option ? rule.text : "");
  const std::size_t size = std::min(written.size, text.size());
  for (char& letter : text.first(size)) {
    if (letter < ' ' || letter > '~') letter = '?';
  }
  constexpr std::string_view kCut = "...";
  if (written.size > text.size()) std::ranges::copy(kCut, text.last(kCut.size()).begin());
  return {text.data(), size};
}

using RuleText = std::array<char, kLongestRuleWords>;

// "denied by default", "allowed by policy.toml:4".
std::string_view said_of(const Policy& policy, const Verdict& verdict, RuleText& text) {
  constexpr std::array<std::string_view, 3> kDone{"allowed", "denied", "asked about"};
  const auto start = fmt::format_to_n(text.data(), text.size(), "{} by ",
                                      kDone.at(static_cast<std::size_t>(verdict.action)));
  const std::span<char> rest = std::span(text).subspan(start.size);
  const Rule* const rule = policy.rule_of(verdict);
  if (rule != nullptr) return {text.data(), start.size + text_of(*rule, rest).size()};
  const std::string_view reason = reason_name(verdict.reason);
  std::ranges::copy(reason, rest.begin());
  return {text.data(), start.size + reason.size()};
}

}  // namespace

FirstFlight TcpFlows::first_flight_of(const Flow& flow) const {
  if (flow.direction == Direction::kInbound) return {};
  const NameSettings& names = context_.config.names;
  const std::optional<std::uint32_t> index = flow.destination->rule();
  const std::span<const Rule> rules = context_.config.policy.rules();
  const bool needs_tls = index && *index < rules.size() && rules[*index].needs_tls;
  const bool checks_names =
      flow.destination->request().name != nullptr && names.sni == NameSettings::Sni::kMatch;
  if (!checks_names && !needs_tls) return {};
  return FirstFlight(FirstFlightRules{
      .checks_names = checks_names,
      .needs_name = checks_names && context_.admission.name_mode() == NameSettings::Mode::kPin,
      .needs_tls = needs_tls,
      .ech = names.ech});
}

std::optional<std::size_t> TcpFlows::judged_octets(Instant now, FlowId id, bool is_up) {
  const Flow& flow = *table_.get(id);
  const std::uint64_t judged = flow.stream.half(is_up).judged;
  // Reading up to the mark and not to the end of all: the next look begins there.
  if (judged > 0) return std::min<std::uint64_t>(judged, kPumpBudget - 1);
  return look(now, id, is_up);
}

// Of the guest's octets, or of the server's.
std::optional<std::size_t> TcpFlows::look(Instant now, FlowId id, bool is_up) {
  Flow& flow = *table_.get(id);
  HalfStream& half = flow.stream.half(is_up);
  const IoResult<std::size_t> size = context_.streams.peek(source_of(flow.stream, is_up), seen_);
  if (!size) {
    // The error was told once, and is told to nobody again.
    if (size.error().value != EAGAIN) end(id, FlowEnd::kReset);
    return std::nullopt;
  }
  const Bytes seen = Bytes(seen_).first(*size);
  const bool is_all = seen.empty() || (half.has_ended && seen.size() < seen_.size());
  const bool owes_answer = is_up && flow.flight.may_owe_answer();
  const bool is_overdue = flow.undecided_until <= now;
  const Look look =
      is_up ? flow.flight.look(seen, is_all, is_overdue) : flow.flight.on_answer(seen, is_all);
  switch (look.kind) {
    case Look::Kind::kWait:
      if (look.is_undecided) await_decision(now, id);
      return std::nullopt;
    case Look::Kind::kPass: {
      const Request& request = flow.destination->request();
      if (look.name && request.name != nullptr &&
          !context_.admission.is_name_of(request, *look.name)) {
        return refuse_flight(now, id, FlightFault::kOtherName, &*look.name, owes_answer);
      }
      half.judged = look.octets;
      return judged_octets(now, id, is_up);
    }
    case Look::Kind::kOpaque:
      // The guest may have been waiting for what the server has just said.
      if (!is_up) queue(id);
      return kPumpBudget;
    case Look::Kind::kDeny:
      return refuse_flight(now, id, look.fault, nullptr, owes_answer);
  }
  return std::nullopt;
}

// Flows that wait come in groups, so that many of them are few wake-ups.
void TcpFlows::await_decision(Instant now, FlowId id) {
  Flow& flow = *table_.get(id);
  if (flow.undecided_until == kNever) {
    const Duration since_tick = (now + kUndecidedFlight).time_since_epoch() % kUndecidedTick;
    flow.undecided_until = now + kUndecidedFlight + (kUndecidedTick - since_tick);
  }
  pace(id, flow.undecided_until);
}

std::optional<std::size_t> TcpFlows::refuse_flight(Instant now, FlowId id, FlightFault fault,
                                                   const DnsName* named, bool owes_answer) {
  Flow& flow = *table_.get(id);
  Judgement denied{
      .request = flow.destination->request(),
      .verdict = {.action = Action::kDeny, .reason = Reason::kFirstFlight, .fault = fault}};
  if (fault == FlightFault::kNotTls) denied.verdict.rule = flow.destination->rule();
  if (named != nullptr) denied.request.name = named;
  const bool is_only_reported = context_.config.policy.mode() == PolicyMode::kReport;
  if (is_only_reported) denied.allowed = flow.destination;
  const Refusals::Told told = context_.refusals.tell(denied);
  if (is_only_reported) {
    flow.flight = FirstFlight();
    queue(id);
    return kPumpBudget;
  }
  Answer* const answer = begin_refusal(now, id, told.id);
  if (answer == nullptr) return std::nullopt;
  write_answer(*answer, flow, fault, denied);
  flow.flight = FirstFlight();
  flow.stream.up.is_done = true;
  context_.streams.drop_hold(flow.stream.up.hold);
  if (owes_answer && !flow.stream.down.is_done) {
    context_.streams.shutdown_write(flow.stream.host);
    queue(id);
    return std::nullopt;
  }
  answer_once_told(now, id, told.is_waited_for);
  return std::nullopt;
}

// A place for what the guest is told; without one the flow is no more.
TcpFlows::Answer* TcpFlows::begin_refusal(Instant now, FlowId id, std::uint32_t denial) {
  report(id, FlowEnd::kRevoked);
  Flow& flow = *table_.get(id);
  flow.state = State::kRefused;
  table_.touch(id, kListRefused, now);
  Answer* const answer = free_answer();
  if (answer == nullptr) {
    end(id, FlowEnd::kRevoked);
    return nullptr;
  }
  answer->flow = id;
  answer->denial = denial;
  ++answers_used_;
  flow.answer = static_cast<std::uint8_t>(answer - answers_.data() + 1);
  return answer;
}

void TcpFlows::answer_once_told(Instant now, FlowId id, bool is_waited_for) {
  Flow& flow = *table_.get(id);
  for (HalfStream* const half : {&flow.stream.up, &flow.stream.down}) {
    half->is_done = true;
    context_.streams.drop_hold(half->hold);
  }
  context_.streams.reset(flow.stream.host);
  flow.stream.host = {};
  answers_[flow.answer - 1U].until = is_waited_for ? now + kRefusalHold : now;
  if (!is_waited_for) send_answer(now, id);
}

void TcpFlows::refuse_stream(Instant now, FlowId id, Judgement denied) {
  denied.verdict.action = Action::kDeny;  // there is no SYN that could wait for a person
  const Refusals::Told told = context_.refusals.tell(denied);
  if (begin_refusal(now, id, told.id) != nullptr) answer_once_told(now, id, told.is_waited_for);
}

TcpFlows::Answer* TcpFlows::free_answer() {
  const auto found =
      std::ranges::find_if(answers_, [](const Answer& answer) { return answer.denial == 0; });
  return found == answers_.end() ? nullptr : &*found;
}

void TcpFlows::write_answer(Answer& answer, const Flow& flow, FlightFault fault,
                            const Judgement& denied) {
  NameText dialled{};
  NameText named{};
  RuleText dialled_rule{};
  RuleText named_rule{};
  std::array<char, kLongestRemedy> remedy{};
  const Policy& policy = context_.config.policy;
  FlightRefusal refusal{.fault = fault,
                        .denial_id = answer.denial,
                        .dialled = text_of(flow.destination->request().name, dialled)};
  const std::optional<std::uint32_t> index = flow.destination->rule();
  if (index && *index < policy.rules().size()) {
    refusal.dialled_rule = text_of(policy.rules()[*index], dialled_rule);
  }
  if (fault == FlightFault::kOtherName) {
    refusal.named = text_of(denied.request.name, named);
    const Verdict verdict = policy.judge_name(*denied.request.name);
    refusal.named_rule = said_of(policy, verdict, named_rule);
    const bool is_allowed = verdict.action == Action::kAllow;
    // One that is allowed already is to be dialled by its own name; a rule that denies would win,
    // and not every name can have a rule.
    const bool is_helped =
        is_allowed || (verdict.reason != Reason::kRule && may_have_rule(*denied.request.name));
    const std::uint16_t port = denied.request.dialled.port;
    const bool has_port = !is_allowed && !PortSet::web().contains(port);
    const auto text =
        has_port
            ? fmt::format_to_n(remedy.data(), remedy.size(), "--allow {}:{}", refusal.named, port)
            : fmt::format_to_n(remedy.data(), remedy.size(), "{} {}",
                               is_allowed ? "connect to" : "--allow", refusal.named);
    if (is_helped) refusal.remedy = {remedy.data(), std::min(text.size, remedy.size())};
  }
  answer.size = static_cast<std::uint16_t>(
      write_flight_refusal(answer.octets, flow.flight.protocol(), refusal));
}

void TcpFlows::on_denial_told(std::uint32_t id) {
  for (Answer& answer : answers_) {
    // One that waits for a server's answers has no time yet.
    if (id != 0 && answer.denial == id && answer.until != kNever) answer.until = Instant{};
  }
}

void TcpFlows::send_due_answers(Instant now) {
  if (answers_used_ == 0) return;
  for (const Answer& answer : answers_) {
    if (answer.denial != 0 && answer.until <= now) send_answer(now, answer.flow);
  }
}

void TcpFlows::send_answer(Instant now, FlowId id) {
  Flow& flow = *table_.get(id);
  if (flow.stream.host.is_open()) context_.streams.reset(flow.stream.host);
  flow.stream.host = {};
  flow.stream.down.is_done = true;
  const Answer answer = std::exchange(answers_[flow.answer - 1U], Answer());
  --answers_used_;
  const Bytes octets = Bytes(answer.octets).first(answer.size);
  flow.answer = 0;
  // Neither TLS nor HTTP: there are no words for it.
  if (octets.empty()) return end(id, FlowEnd::kRevoked);
  const IoResult<std::size_t> sent = context_.streams.send(flow.stream.guest, octets);
  if (!sent || *sent < octets.size()) return end(id, FlowEnd::kRevoked);
  context_.streams.shutdown_write(flow.stream.guest);
  table_.touch(id, kListRefused, now);
  discard(id);
}

void TcpFlows::on_refused(Instant now, FlowId id, bool is_host, const Readiness& readiness) {
  const Flow& flow = *table_.get(id);
  if (readiness.has_error) return end(id, FlowEnd::kRevoked);
  if (is_host || (flow.stream.down.is_blocked && readiness.is_writable)) pump(now, id, false);
  if (!is_host && table_.get(id) != nullptr) discard(id);
}

void TcpFlows::discard(FlowId id) {
  Flow& flow = *table_.get(id);
  // One who is told nothing waits with what it says: it might say all, and be gone.
  if (flow.answer != 0 && answers_[flow.answer - 1U].size == 0) return;
  for (int i = 0; i < kDiscardsPerTurn; ++i) {
    const IoResult<std::size_t> size = context_.streams.receive(flow.stream.guest, seen_);
    if (size && *size > 0) continue;
    if (!size && size.error().value == EAGAIN) return;
    // The end: once it has been answered both sides have said theirs.
    if (flow.answer != 0) return;
    context_.streams.close(flow.stream.guest);
    flow.stream.guest = {};
    return end(id, FlowEnd::kRevoked);
  }
  queue(id);
}

std::optional<std::size_t> TcpFlows::budget_octets(Instant now, FlowId id, bool is_up,
                                                   std::size_t most) {
  const Flow& flow = *table_.get(id);
  const Grant grant = context_.budgets.grant(now, flow.account, is_up ? Way::kUp : Way::kDown);
  if (grant.octets > 0) return std::min<std::uint64_t>(most, grant.octets);
  if (grant.is_used_up) return at_limit(now, id, is_up);
  pace(id, grant.again);
  return std::nullopt;
}

// A budget is used up to the last octet. Whoever has no more to say may end in peace.
std::optional<std::size_t> TcpFlows::at_limit(Instant now, FlowId id, bool is_up) {
  Flow& flow = *table_.get(id);
  if (flow.is_limit_reported) return kPumpBudget;
  const IoResult<std::size_t> size =
      context_.streams.peek(source_of(flow.stream, is_up), MutableBytes(seen_).first(1));
  if (!size) {
    if (size.error().value != EAGAIN) end(id, FlowEnd::kReset);
    return std::nullopt;
  }
  if (*size == 0) return 1;  // The FIN; there is no octet before it.
  const Judgement denied =
      limit_reached(context_, *flow.destination, context_.budgets.used_up(flow.account));
  if (denied.allowed) {
    flow.is_limit_reported = true;
    context_.refusals.report(denied);
    return kPumpBudget;
  }
  refuse_stream(now, id, denied);
  return std::nullopt;
}

void TcpFlows::pace(FlowId id, Instant again) {
  paced_until_ = std::min(paced_until_, again);
  Flow& flow = *table_.get(id);
  if (flow.is_paced) return;
  flow.is_paced = true;
  paced_.push_back(id);
}

// False, and the flow is no more, where it is one too many.
bool TcpFlows::join_budget(Instant now, FlowId id) {
  Flow& flow = *table_.get(id);
  const BudgetAccount account = context_.budgets.account_of(flow.destination->rule());
  if (const std::optional<Judgement> denied = one_too_many(context_, *flow.destination)) {
    if (!denied->allowed) {
      revoke(now, id, *denied);
      return false;
    }
    context_.refusals.report(*denied);
  }
  flow.account = account;
  context_.budgets.join(account);
  flow.is_counted = true;
  return true;
}

void TcpFlows::leave_budget(FlowId id) {
  Flow& flow = *table_.get(id);
  if (flow.is_counted) context_.budgets.leave(flow.account);
  flow.is_counted = false;
}

void TcpFlows::renew(FlowId id, const AllowedDestination& destination) {
  Flow& flow = *table_.get(id);
  flow.destination = destination;
  const BudgetAccount account = context_.budgets.account_of(destination.rule());
  if (!flow.is_counted || account == flow.account) return;
  context_.budgets.leave(flow.account);
  context_.budgets.join(account);
  flow.account = account;
}

bool TcpFlows::is_time_over(const Flow& flow) const {
  return flow.is_counted && !context_.budgets.may_go_on(flow.account) &&
         context_.config.policy.mode() != PolicyMode::kReport;
}

}  // namespace cordon
