// What the prober says on its standard output: one line for each thing tried.
//
//     NONCE {"leak":"loopback-v4","outcome":"refused","words":"tcp 127.0.0.1:4000: …"}
//
// The sandbox, and whatever wraps it, may print on the same descriptor; lines without the nonce are
// passed over. The nonce is on the prober's command line, so a hostile sandbox could forge lines:
// an audit trusts the sandbox to be a sandbox, and judges what can be seen outside by what was seen
// outside.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "launcher/audit/leaks.h"

namespace cordon::audit {

enum class Outcome : std::uint8_t {
  kRefused,    // an error came back
  kSilent,     // nothing came back within the deadline
  kSent,       // taken without an error, and nothing can come back
  kConnected,  // something accepted it
  kObtained,   // the prober holds the proof itself, in `words`
  kNotTested,  // why is in `words`
};
[[nodiscard]] std::string_view outcome_word(Outcome outcome);

struct ProbeReport {
  Leak leak = Leak::kHostNetwork;
  Outcome outcome = Outcome::kRefused;
  std::string words;
  friend bool operator==(const ProbeReport&, const ProbeReport&) = default;
};

/// What is said once, or between reports.
struct ProberNotice {
  enum class Kind : std::uint8_t {
    kHello,       // started
    kOwnNetwork,  // TCP over its own loopback works, or not: `words`
    kAllowed,     // the allowed twin was reached, or not: `is_good`
    kAddressNow,  // from here on it dials the address that is to be added
    kBye,         // everything was tried
  };
  Kind kind = Kind::kHello;
  bool is_good = true;
  std::string words;
  friend bool operator==(const ProberNotice&, const ProberNotice&) = default;
};

using ProberLine = std::variant<ProbeReport, ProberNotice>;

/// With the newline; never longer than kLongestLine, so that one write(2) to a pipe is one piece.
[[nodiscard]] std::string write_line(std::string_view nonce, const ProberLine& line);
inline constexpr std::size_t kLongestLine = 2048;
/// `line` without its newline; a carriage return before it (a terminal's) does not matter.
[[nodiscard]] std::optional<ProberLine> read_line(std::string_view nonce, std::string_view line);

}  // namespace cordon::audit
