// Questions asked by the number, and what came of them.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "netstack/base/time.h"
#include "tests/bench/upstream/asker.h"

namespace cordon::bench {

using Milliseconds = std::chrono::duration<double, std::milli>;

/// As long as a guest's question lives (kDnsQuery).
inline constexpr Duration kPatience = std::chrono::seconds(10);

struct Tally {
  std::size_t answered = 0;  // honestly
  std::size_t forged = 0;
  std::size_t failed = 0;
  std::vector<double> milliseconds;  // of those that were answered

  void add(const Tally& other);
};

/// A name that was not asked for before.
[[nodiscard]] std::string fresh_name();

/// Asks `count` questions, so many at once; ends when all have ended, or with the patience.
[[nodiscard]] Tally ask_all(Asker& asker, std::size_t count, std::size_t at_once,
                            Duration patience = kPatience);

/// `work` with so many askers together, on threads of their own; it begins when all are made.
[[nodiscard]] Tally together(std::size_t count, const std::function<std::unique_ptr<Asker>()>& make,
                             const std::function<Tally(Asker&)>& work);

/// 0 of no values.
[[nodiscard]] double quantile(std::vector<double> values, double share);

/// Processor time of the calling thread.
[[nodiscard]] double thread_seconds();

}  // namespace cordon::bench
