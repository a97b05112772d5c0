// What the translator tells the supervisor: denials, flows, questions, trouble. The core calls this
// seam; the real one writes fixed-layout messages to the control channel (host/messages.h), tests
// collect values.
//
// A request's name (Request::name), where it has one, belongs to whoever reports it and is valid
// during the call only.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "netstack/policy/policy.h"
#include "netstack/policy/request.h"

namespace cordon {

struct Denial {
  enum class Kind : std::uint8_t {
    kFlow,   // a flow's first packet, or what its first flight said
    kQuery,  // a DNS question: the request's name is what was asked for, its guest the asking
             // socket, its remote end the resolver's
  };
  std::uint32_t id = 0;  // counts from 1; the same on stderr, in the log and in what the guest gets
  Kind kind = Kind::kFlow;
  Request request;
  Verdict verdict;
  std::uint16_t query_type = 0;   // kQuery: the type asked for, as the question has it
  bool is_only_reported = false;  // report mode: what was denied goes on all the same
};

/// A flow that waits for a person's answer (Translator::on_answer).
struct Question {
  std::uint32_t id = 0;  // counts from 1, apart from the denials' ids
  Request request;
  Verdict verdict;  // kAsk, and what rule asks
};

/// Trouble that a person may want to hear of; each is told at most a few times (the supervisor
/// limits).
enum class Notice : std::uint8_t {
  kNoHostResource,    // code: the errno (EMFILE, EADDRNOTAVAIL, …)
  kPingNotPermitted,  // ping_group_range of the host shuts this user out
  kAdoptionFailed,    // code: the errno of the TCP_REPAIR step
  kSteeringLost,      // the guest's rules were flushed; they are being put back
  kFlowLimit,         // the table is full
  kUpstreamSilent,    // no DNS upstream answered
};

enum class FlowEnd : std::uint8_t { kClosed, kReset, kRefused, kUnreachable, kTimedOut, kRevoked };

struct FlowReport {
  std::uint32_t id = 0;
  Request request;
  std::optional<std::uint32_t> rule;  // what allowed it, an index into Policy::rules()
  std::optional<FlowEnd> end;         // none: the flow has just been opened, or lives
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
};

/// A name that the guest asked for was answered.
struct Resolution {
  Request request;         // the name and the asking socket, no destination
  std::uint16_t type = 0;  // of the records that were asked for; 0: addresses
  bool has_data = true;    // records: there were some
};

class Events {
 public:
  virtual ~Events() = default;
  /// True where the supervisor will call back (Translator::on_denial_told) once it has looked the
  /// process up; the refusal to the guest then waits for that, or for a short deadline.
  virtual bool denied(const Denial& denial) = 0;
  virtual void flow(const FlowReport& report) = 0;
  /// A flow would begin. True where the supervisor will call back (Translator::on_introduced) once
  /// it has looked the process up; the flow then waits for that, or for kIntroduction. Only where
  /// TranslatorConfig::introduces says so.
  virtual bool introduced(std::uint32_t id, const Request& request) = 0;
  /// A name was answered with addresses for the first time, or with what there is of records of a
  /// type; those are told again now and then.
  virtual void resolved(const Resolution& resolution) = 0;
  /// A living flow, in answer to Translator::list_flows(). False where there is no room for more at
  /// the moment.
  virtual bool listed(const FlowReport& report) = 0;
  /// False where nobody can be asked: the flow is denied at once.
  virtual bool asked(const Question& question) = 0;
  virtual void notice(Notice notice, int code) = 0;
};

}  // namespace cordon
