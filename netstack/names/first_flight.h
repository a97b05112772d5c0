// The first flight: what the guest's first octets on a stream say about whom they are for. Pure; it
// sees what waits at the front of the guest's stream, says how much of it may pass, and is asked
// again when that much has passed. A payload never changes what is dialled: it only ends a flow.
//
//   kStart        TLS, HTTP or neither? Whoever waits for the server to speak first is in no hurry
//     TLS         the ClientHello's name -> kTlsAnswer
//     HTTP        -> kHttpHead
//     neither     opaque; refused where the rule needs TLS or the name is not known otherwise
//     not known   a line that has not ended, or less than a record's header: held for
//                 kUndecidedFlight, then taken for neither -> kReleased
//   kReleased     what was held has gone on, for its sender may be waiting for an answer. Should it
//                 become a hello or a request after all, that ends the flow before it is whole:
//                 else who pauses within one would be judged by nobody
//   kTlsAnswer    the server's first message: a HelloRetryRequest -> kSecondHello, all else opaque
//                 (meanwhile only 0-RTT records pass, if the hello announced them)
//   kSecondHello  the second ClientHello is judged like the first
//   kHttpHead     one request's head; it and its body pass to the octet, then the next head
//   kHttpChunks   the parts of a body whose end is not known yet
//   kHttpAnswer   a request asked for an Upgrade: 101 makes the rest opaque, anything else leads
//                 back to kHttpHead
//   kOpaque       nobody looks any more: the stream runs in the kernel
//
// An Upgrade is followed only in a connection's first request, where the first answer is known to
// be the one to it; after a later one the octets that are no request end the flow. A name in an
// encrypted hello cannot be seen: the outer one counts, or all such hellos are refused, or none.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "netstack/base/bytes.h"
#include "netstack/flow/translator_config.h"
#include "netstack/names/client_hello.h"
#include "netstack/names/http_request.h"
#include "netstack/policy/flight_fault.h"

namespace cordon {

/// What is asked of a flow's first flight.
struct FirstFlightRules {
  bool checks_names = true;  // whoever is named must be whom the guest dialled
  bool needs_name = false;   // and somebody must be named: nothing else tells (pin mode)
  bool needs_tls = false;
  NameSettings::Ech ech = NameSettings::Ech::kOuter;
};

struct Look {
  enum class Kind : std::uint8_t {
    kWait,    // for more octets, or for the answer
    kPass,    // `octets` may pass, then look again
    kOpaque,  // everything may pass from here on
    kDeny,    // `fault`
  };
  Kind kind = Kind::kWait;
  FlightFault fault = FlightFault::kNone;
  std::uint64_t octets = 0;
  bool is_undecided = false;    // kWait: for kUndecidedFlight at the longest
  std::optional<DnsName> name;  // kPass only if the flow may name it
};

class FirstFlight {
 public:
  enum class Protocol : std::uint8_t { kUnknown, kTls, kHttp };

  /// Opaque: nothing is asked.
  FirstFlight() = default;
  explicit FirstFlight(const FirstFlightRules& rules) : rules_(rules), phase_(Phase::kStart) {}

  [[nodiscard]] bool is_opaque() const { return phase_ == Phase::kOpaque; }
  /// on_answer() wants to see the server's octets before they go on.
  [[nodiscard]] bool watches_answer() const {
    return phase_ == Phase::kTlsAnswer || phase_ == Phase::kHttpAnswer;
  }
  [[nodiscard]] Protocol protocol() const { return protocol_; }
  /// A request went before: an answer to it may still be under way to the guest.
  [[nodiscard]] bool may_owe_answer() const {
    return protocol_ == Protocol::kHttp && requests_ > 0;
  }

  /// `waiting`: the guest's octets, up to kLongestFirstFlight of them; `is_all`: no more will come;
  /// `is_overdue`: they were undecided kUndecidedFlight ago.
  [[nodiscard]] Look look(Bytes waiting, bool is_all, bool is_overdue = false);
  /// The same for the server's octets, where watches_answer(). kPass: so many are of no further
  /// interest, the next are; kOpaque: none of them is.
  [[nodiscard]] Look on_answer(Bytes waiting, bool is_all);

 private:
  enum class Phase : std::uint8_t {
    kOpaque,
    kStart,
    kReleased,
    kTlsAnswer,
    kSecondHello,
    kHttpHead,
    kHttpChunks,
    kHttpAnswer,
  };

  Look look_at_start(Bytes waiting, bool is_all, bool is_overdue);
  Look release(Bytes waiting);
  Look look_behind_released(Bytes waiting, bool is_all);
  Look look_at_hello(Bytes waiting, bool is_all);
  Look look_for_second_hello(Bytes waiting, bool is_all);
  Look look_past_early_data(Bytes waiting) const;
  Look look_at_request(Bytes waiting, bool is_all);
  Look look_at_chunks(Bytes waiting, bool is_all);
  Look go_opaque();
  void request_passed();

  FirstFlightRules rules_;
  Phase phase_ = Phase::kOpaque;
  Protocol protocol_ = Protocol::kUnknown;
  ChunkedBody chunks_;
  bool has_early_data_ = false;
  bool has_upgrade_ = false;  // of the request that passes
  bool is_upgrade_to_http2_ = false;
  std::uint8_t requests_ = 0;  // 2: many
  // The last octets that were released, and how many there were in all.
  std::array<std::uint8_t, 8> released_{};
  std::uint16_t released_octets_ = 0;
};

/// What the guest is told before its stream ends: a TLS alert, an HTTP answer or, in any other
/// protocol, nothing. Octets written; 0 where `out` is too small.
struct FlightRefusal {
  FlightFault fault = FlightFault::kNone;
  std::uint32_t denial_id = 0;
  std::string_view dialled;       // the name that the guest connected to; empty: it used an address
  std::string_view dialled_rule;  // what allows that: "--allow=ok.example", "policy.toml:3"
  std::string_view named;         // the name that the first flight has; empty: none
  std::string_view named_rule;    // what of it: "denied by policy.toml:4", "denied by default"
  std::string_view remedy;        // "--allow evil.example", or empty
};
/// No longer than this is what is said of a rule, and of a remedy.
inline constexpr std::size_t kLongestRuleWords = 128;
inline constexpr std::size_t kLongestRemedy = kLongestDnsName + 16;
/// Room for every refusal; where names are long the lines that only repeat them are left out.
inline constexpr std::size_t kLongestFlightRefusal = 1024;
[[nodiscard]] std::size_t write_flight_refusal(MutableBytes out, FirstFlight::Protocol protocol,
                                               const FlightRefusal& refusal);

}  // namespace cordon
