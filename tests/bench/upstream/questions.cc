#include "tests/bench/upstream/questions.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <latch>
#include <thread>

#include <fmt/format.h>

#include "netstack/host/event_loop.h"

namespace cordon::bench {

void Tally::add(const Tally& other) {
  answered += other.answered;
  forged += other.forged;
  failed += other.failed;
  milliseconds.insert(milliseconds.end(), other.milliseconds.begin(), other.milliseconds.end());
}

std::string fresh_name() {
  thread_local std::size_t last = 0;
  const std::size_t thread = std::hash<std::thread::id>()(std::this_thread::get_id()) % 0xffff;
  return fmt::format("n{:x}-{:x}.bench.example.com", thread, ++last);
}

Tally ask_all(Asker& asker, std::size_t count, std::size_t at_once, Duration patience) {
  const auto tally = std::make_shared<Tally>();
  const auto under_way = std::make_shared<std::size_t>(0);
  const Instant end = monotonic_now() + patience;
  std::size_t asked = 0;
  while (asked < count || *under_way > 0) {
    while (asked < count && *under_way < at_once) {
      ++asked;
      ++*under_way;
      asker.ask(fresh_name(), [tally, under_way, began = monotonic_now()](const Outcome& outcome) {
        --*under_way;
        if (!outcome.is_answered) {
          ++tally->failed;
          return;
        }
        ++(outcome.is_forged ? tally->forged : tally->answered);
        tally->milliseconds.push_back(Milliseconds(monotonic_now() - began).count());
      });
    }
    if (*under_way > 0) asker.turn(end);
    if (monotonic_now() >= end) break;
  }
  return *tally;
}

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const auto last = static_cast<double>(values.size() - 1);
  return values[static_cast<std::size_t>(std::lround(share * last))];
}

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

Tally together(std::size_t count, const std::function<std::unique_ptr<Asker>()>& make,
               const std::function<Tally(Asker&)>& work) {
  std::vector<Tally> tallies(count);
  std::vector<std::thread> threads;
  threads.reserve(count);
  std::latch are_made(static_cast<std::ptrdiff_t>(count));
  for (Tally& tally : tallies) {
    threads.emplace_back([&] {
      const auto asker = make();
      are_made.arrive_and_wait();
      tally = work(*asker);
    });
  }
  for (std::thread& thread : threads) thread.join();
  Tally sum;
  for (const Tally& tally : tallies) sum.add(tally);
  return sum;
}

}  // namespace cordon::bench
