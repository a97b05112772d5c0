// A guest's stream as the first flight sees it. The first octet says how many octets come at a
// time: whatever it is, the same octets pass, and the same ones are refused.
#include <optional>
#include <string>

#include "netstack/names/first_flight.h"
#include "tests/fuzz/fuzz_support.h"

namespace {

using namespace cordon;
using fuzz::check;

struct Walk {
  std::uint64_t passed = 0;
  bool is_opaque = false;
  FlightFault fault = FlightFault::kNone;
  std::vector<std::string> names;
};

// The guest's octets, `step` more of them at a time, then its end.
Walk walk(Bytes stream, std::size_t step, const FirstFlightRules& rules) {
  FirstFlight flight(rules);
  Walk walk;
  std::size_t come = 0;
  for (int looks = 0; looks < 100000; ++looks) {
    const std::size_t begin = static_cast<std::size_t>(std::min<std::uint64_t>(walk.passed, come));
    const Bytes seen = stream.subspan(begin, std::min(come - begin, kLongestFirstFlight));
    const bool is_all = come == stream.size() && begin + seen.size() == come;
    const Look look = walk.passed > come ? Look{} : flight.look(seen, is_all);
    if (look.name) walk.names.push_back(look.name->to_string());
    switch (look.kind) {
      case Look::Kind::kWait:
        // Waits for an answer that nobody gives, or for more of a body than there is.
        if (come == stream.size()) return walk;
        come = std::min(stream.size(), come + step);
        continue;
      case Look::Kind::kPass:
        check(look.octets > 0, "a pass goes on");
        walk.passed += look.octets;
        continue;
      case Look::Kind::kOpaque:
        walk.is_opaque = true;
        return walk;
      case Look::Kind::kDeny:
        check(look.fault != FlightFault::kNone, "a refusal has a reason");
        walk.fault = look.fault;
        return walk;
    }
  }
  check(false, "a stream is judged in the end");
  return walk;
}

void check_head(Bytes stream) {
  const auto head = parse_http_request(stream);
  if (!head) return;
  check(head->octets <= stream.size(), "a head is all there");
  check(guess_http(stream, false) == HttpGuess::kHttp, "what is a request looks like one");
  const auto again = parse_http_request(stream.first(head->octets));
  check(again && again->host == head->host && again->body_octets == head->body_octets,
        "what is behind a head does not count");
  const auto less = parse_http_request(stream.first(head->octets - 1));
  check(!less && less.error() == HttpFault::kIncomplete, "it is not there before its last octet");
  check(!head->is_chunked || head->body_octets == 0, "a body has one end");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::size_t step = std::size_t{1} + input.octet();
  const std::vector<std::uint8_t> stream = input.rest();
  check_head(stream);
  (void)parse_http_answer(stream);
  for (const FirstFlightRules& rules : {FirstFlightRules{}, FirstFlightRules{.needs_name = true},
                                        FirstFlightRules{.needs_tls = true}}) {
    const Walk at_once = walk(stream, stream.size() + 1, rules);
    const Walk in_pieces = walk(stream, step, rules);
    check(at_once.names == in_pieces.names, "segments do not change who is named");
    check((at_once.fault == FlightFault::kNone) == (in_pieces.fault == FlightFault::kNone),
          "nor what is refused");
    check(at_once.is_opaque == in_pieces.is_opaque, "nor whether anybody looks");
    // Of a body that turns out to be wrong its beginning may be gone already.
    check(at_once.fault == FlightFault::kNone ? at_once.passed == in_pieces.passed
                                              : at_once.passed <= in_pieces.passed,
          "nor what passes");
  }
  FirstFlight answered;
  (void)answered.on_answer(stream, false);
  return 0;
}
