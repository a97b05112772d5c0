// What a policy would have said to a recorded run: the flows and denials of a --log FILE, judged
// again. Pure; the lines come from wherever, and are read without trust.
//
// The log says where each name led and what class that was. A class that the policy itself moves
// ([classes]) is moved; what the host's routes said then is not asked again.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "netstack/policy/policy.h"

namespace cordon {

struct ReplayedFlow {
  std::string what;  // "tcp evil.example:443", "dns evil.example"
  std::string rule;  // as a denial has it
  std::string remedy;
  std::string first;  // time of the first, as the log has it
  std::string program;
  Action action = Action::kAllow;
  std::uint64_t count = 0;
};

class ReplayedLog {
 public:
  explicit ReplayedLog(const Policy& policy) : policy_(policy) {}

  void add_line(std::string_view text);

  /// Each destination once, in the order of the log.
  [[nodiscard]] const std::vector<ReplayedFlow>& flows() const { return flows_; }
  [[nodiscard]] std::uint64_t judged() const { return judged_; }
  /// Lines that are none of ours, or lack what a judgement needs.
  [[nodiscard]] std::uint64_t not_understood() const { return not_understood_; }

 private:
  const Policy& policy_;
  std::vector<ReplayedFlow> flows_;
  std::map<std::string, std::size_t> by_what_;
  std::uint64_t judged_ = 0;
  std::uint64_t not_understood_ = 0;
};

}  // namespace cordon
