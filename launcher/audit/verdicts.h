// From what was heard outside and what the prober met to one row for each leak. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "launcher/audit/evidence.h"
#include "launcher/audit/probe_report.h"

namespace cordon::audit {

enum class State : std::uint8_t {
  kLeaks,
  kByDesign,  // it gets out, and the caller said that it is meant to
  kClean,
  kNotTested,
};
/// "leaks", "by-design", "clean", "not-tested".
[[nodiscard]] std::string_view state_word(State state);

struct Row {
  Leak leak = Leak::kHostNetwork;
  State state = State::kNotTested;
  std::vector<std::string> words;  // the evidence; or what came of the attempts; or why not
  std::size_t attempts = 0;
};

struct Observations {
  Evidence heard;
  std::vector<ProbeReport> reports;
  /// Why a row cannot be judged: where nothing proves the leak, it counts as not tested.
  std::map<Leak, std::string> cannot;
  /// The same, but only where an attempt was not refused: nothing outside could have heard it.
  std::map<Leak, std::string> unheard;
  /// What the prober must show to have obtained it, and what that was.
  std::map<Leak, std::string> secrets;
  bool lets_public_out = false;  // --public
};

[[nodiscard]] std::vector<Row> judge(const Observations& observations);
[[nodiscard]] std::size_t count(const std::vector<Row>& rows, State state);

}  // namespace cordon::audit
