// Our upstream engine beside c-ares: the same questions, to the same upstreams, in one run and by
// turns, on a machine of any load; what is printed is the table of tests/bench/README.md.
//
//     upstream_comparison            # some three minutes
//
// Three columns: netstack/names/upstream_queries as the translator has it; c-ares with one channel,
// which is how it is meant (its settings and why: cares_asker.cc); and c-ares with a channel for
// each question, which is how it gets what ours has, a port of its own for each question. The
// askers' processor time is that of their thread alone; the responder has a thread of its own.
// System calls are counted by ptrace(2), a thousand questions each, and compared with the
// translator's filter.
#include <array>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "netstack/host/event_loop.h"
#include "netstack/names/dns_message.h"
#include "tests/bench/upstream/asker.h"
#include "tests/bench/upstream/questions.h"
#include "tests/bench/upstream/responder.h"
#include "tests/bench/upstream/traced_calls.h"

namespace cordon::bench {
namespace {

using namespace std::chrono_literals;
using std::chrono::duration;

constexpr std::size_t kRounds = 5;
constexpr std::size_t kTraced = 1000;
constexpr std::size_t kForged = 1000;
constexpr std::size_t kSprayed = 20;
constexpr std::size_t kRepeats = 20;

struct Engine {
  std::string name;
  std::size_t questions;  // of a round
  MakeAsker make;
};

std::string in_milliseconds(double value) {
  return value < 10 ? fmt::format("{:.1f} ms", value) : fmt::format("{:.0f} ms", value);
}

class Comparison {
 public:
  void run() {
    responder_.set_manner(2, Manner::kTruncates);
    clean(1);
    clean(32);
    calls();
    failures();
    loss(Manner::kLoses10, "10 %");
    loss(Manner::kLoses30, "30 %");
    slow();
    truncated();
    list_changes();
    ports();
    forgeries();
    spray();
    words();
    print();
  }

 private:
  using Cell = std::function<std::string(const Engine&)>;

  void row(std::string label, const Cell& cell) {
    std::vector<std::string> cells{std::move(label)};
    for (const Engine& engine : engines_) cells.push_back(cell(engine));
    rows_.push_back(std::move(cells));
    fmt::print(stderr, "{}\n", fmt::join(rows_.back(), " | "));
  }

  void manners(Manner first, Manner second = Manner::kAnswers) {
    responder_.set_manner(0, first);
    responder_.set_manner(1, second);
  }
  [[nodiscard]] std::vector<Endpoint> both() const {
    return {responder_.upstream(0), responder_.upstream(1)};
  }

  void clean(std::size_t concurrency) {
    manners(Manner::kAnswers);
    std::map<std::string, std::array<std::vector<double>, 2>> samples;
    for (std::size_t round = 0; round < kRounds; ++round) {
      for (const Engine& engine : engines_) {
        const auto asker = engine.make(both());
        (void)ask_all(*asker, 100, concurrency);
        const double cpu = thread_seconds();
        const Instant began = monotonic_now();
        const Tally tally = ask_all(*asker, engine.questions, concurrency, 60s);
        const double seconds = duration<double>(monotonic_now() - began).count();
        auto& [rates, costs] = samples[engine.name];
        rates.push_back(static_cast<double>(tally.answered) / seconds);
        costs.push_back(1e6 * (thread_seconds() - cpu) / static_cast<double>(engine.questions));
      }
    }
    row(fmt::format("answers/s, {} at once", concurrency), [&](const Engine& engine) {
      return fmt::format("{:.0f}", quantile(samples[engine.name][0], 0.5));
    });
    row(fmt::format("CPU µs a question, {} at once", concurrency), [&](const Engine& engine) {
      return fmt::format("{:.1f}", quantile(samples[engine.name][1], 0.5));
    });
  }

  void calls() {
    std::map<std::string, std::vector<std::vector<TracedCall>>> parts;
    for (const Engine& engine : engines_) {
      parts[engine.name] = trace_calls([&] {
        const auto asker = engine.make(both());
        const auto asker_by_tcp = engine.make({responder_.upstream(2)});
        end_part();
        for (const std::size_t concurrency : {1, 32}) {
          (void)ask_all(*asker, kTraced, concurrency, 60s);
          end_part();
        }
        (void)ask_all(*asker_by_tcp, kTraced / 10, 1, 60s);
        end_part();
      });
    }
    for (const std::size_t part : {1, 2}) {
      row(fmt::format("system calls a question, {} at once", part == 1 ? 1 : 32),
          [&](const Engine& engine) {
            return fmt::format("{:.1f}",
                               static_cast<double>(parts[engine.name].at(part).size()) / kTraced);
          });
    }
    row("of them killed by the translator's filter", [&](const Engine& engine) {
      std::set<std::string> refused;
      // All but the first, when the translator is not sealed yet.
      for (std::size_t part = 1; part < parts[engine.name].size(); ++part) {
        for (const TracedCall& call : parts[engine.name][part]) {
          if (!is_permitted(call)) refused.insert(name_of(call));
        }
      }
      return refused.empty() ? std::string("none") : fmt::format("{}", fmt::join(refused, ", "));
    });
    for (const Engine& engine : engines_) tell_histogram(engine.name, parts[engine.name]);
  }

  static void tell_histogram(const std::string& name,
                             const std::vector<std::vector<TracedCall>>& parts) {
    for (std::size_t part = 0; part < parts.size(); ++part) {
      std::map<std::string, std::size_t> counts;
      for (const TracedCall& call : parts[part]) ++counts[name_of(call)];
      std::vector<std::string> words;
      words.reserve(counts.size());
      for (const auto& [call, count] : counts) words.push_back(fmt::format("{} {}", call, count));
      fmt::print(stderr, "  {}, part {}: {}\n", name, part, fmt::join(words, ", "));
    }
  }

  /// The first and the second question of fresh askers.
  static std::pair<Tally, Tally> first_two(const Engine& engine,
                                           const std::vector<Endpoint>& upstreams) {
    const auto make = [&] { return engine.make(upstreams); };
    const Tally first = together(kRepeats, make, [](Asker& asker) { return ask_all(asker, 1, 1); });
    const Tally second = together(kRepeats, make, [](Asker& asker) {
      (void)ask_all(asker, 1, 1);
      return ask_all(asker, 1, 1);
    });
    return {first, second};
  }

  void failures() {
    const Endpoint closed{IpAddress::v4(0x7f000bc8), 9};  // 127.0.11.200, discard
    struct Case {
      const char* label;
      Manner manner;
      std::vector<Endpoint> upstreams;
    };
    for (const auto& [label, manner, upstreams] :
         {Case{"first upstream silent", Manner::kIsSilent, both()},
          Case{"first upstream's port closed", Manner::kAnswers, {closed, both()[1]}},
          Case{"first upstream says SERVFAIL", Manner::kServfail, both()},
          Case{"first upstream says REFUSED", Manner::kRefused, both()}}) {
      manners(manner);
      row(fmt::format("{}: 1st question, p50 and p99; 2nd", label), [&](const Engine& engine) {
        const auto [first, second] = first_two(engine, upstreams);
        if (first.answered < kRepeats || second.answered < kRepeats) {
          return fmt::format("{} and {} of {} answered", first.answered, second.answered, kRepeats);
        }
        const auto words = [](const Tally& tally) {
          return fmt::format("{}, {}", in_milliseconds(quantile(tally.milliseconds, 0.5)),
                             in_milliseconds(quantile(tally.milliseconds, 0.99)));
        };
        return words(first) + "; " + words(second);
      });
    }
  }

  void loss(Manner manner, const char* share) {
    constexpr std::size_t kAskers = 8;
    constexpr std::size_t kQuestions = 64;
    manners(manner, manner);
    row(fmt::format("{} lost each way: answered in 10 s; p50, p99", share),
        [&](const Engine& engine) {
          const auto make = [&] { return engine.make(both()); };
          const auto ask = [](Asker& asker) { return ask_all(asker, kQuestions, kQuestions); };
          const Tally sum = together(kAskers, make, ask);
          return fmt::format("{:.1f} %; {}, {}",
                             100.0 * static_cast<double>(sum.answered) / (kAskers * kQuestions),
                             in_milliseconds(quantile(sum.milliseconds, 0.5)),
                             in_milliseconds(quantile(sum.milliseconds, 0.99)));
        });
  }

  void slow() {
    manners(Manner::kIsSlow, Manner::kIsSlow);
    for (const std::size_t count : {1, 2}) {
      std::vector<Endpoint> upstreams = both();
      upstreams.resize(count);
      row(fmt::format("{} upstream{} that answer{} after 2 s", count, count == 1 ? "" : "s",
                      count == 1 ? "s" : ""),
          [&](const Engine& engine) {
            const auto asker = engine.make(upstreams);
            const Tally tally = ask_all(*asker, 1, 1);
            return tally.answered == 1 ? in_milliseconds(tally.milliseconds[0])
                                       : std::string("no answer");
          });
    }
  }

  void truncated() {
    manners(Manner::kTruncates, Manner::kTruncates);
    row("truncated: the whole by TCP", [&](const Engine& engine) {
      const auto asker = engine.make(both());
      std::size_t addresses = 0;
      const auto began = monotonic_now();
      bool is_over = false;
      asker->ask(fresh_name(), [&](const Outcome& outcome) {
        addresses = outcome.addresses;
        is_over = true;
      });
      while (!is_over) asker->turn(began + kPatience);
      return fmt::format("{} of {} records, {}", addresses, kAnswersOfTcp,
                         in_milliseconds(Milliseconds(monotonic_now() - began).count()));
    });
  }

  void list_changes() {
    manners(Manner::kIsSilent);
    row("list changed under a question to a silent upstream", [&](const Engine& engine) {
      const auto asker = engine.make({both()[0]});
      std::optional<bool> answer;
      asker->ask(fresh_name(), [&](const Outcome& outcome) { answer = outcome.is_answered; });
      const Instant change = monotonic_now() + 100ms;
      while (monotonic_now() < change) asker->turn(change);
      const std::vector<Endpoint> fresh{both()[1]};
      const bool is_taken = asker->set_upstreams(fresh);
      while (!answer && monotonic_now() < change + kPatience) asker->turn(change + kPatience);
      const double waited = Milliseconds(monotonic_now() - change).count();
      return fmt::format("list {}; {}", is_taken ? "taken" : "refused (ARES_ENOTIMP)",
                         answer.value_or(false) ? "answered after " + in_milliseconds(waited)
                                                : std::string("no answer"));
    });
  }

  void ports() {
    manners(Manner::kAnswers);
    for (const std::size_t concurrency : {1, 32}) {
      row(fmt::format("source ports of 1,000 questions, {} at once", concurrency),
          [&](const Engine& engine) {
            const auto asker = engine.make(both());
            responder_.forget();
            (void)ask_all(*asker, 1000, concurrency);
            return fmt::format("{}", responder_.seen().ports.size());
          });
    }
  }

  void forgeries() {
    for (const auto& [manner, label] :
         {std::pair(Manner::kForgesId, "wrong id"),
          std::pair(Manner::kForgesQuestion, "wrong question"),
          std::pair(Manner::kForgesPort, "from another port"),
          std::pair(Manner::kForgesAddress, "from another address")}) {
      manners(manner);
      row(fmt::format("of 1,000 forged answers taken: {}", label), [&](const Engine& engine) {
        const auto asker = engine.make(both());
        const Tally tally = ask_all(*asker, kForged, 1, 60s);
        return fmt::format("{}{}", tally.forged,
                           tally.answered + tally.forged < kForged
                               ? fmt::format(" ({} unanswered)", kForged - tally.answered)
                               : "");
      });
    }
  }

  void spray() {
    row("every id to the port of the question before: questions of 20 lost to the forger",
        [&](const Engine& engine) {
          const auto asker = engine.make(both());
          manners(Manner::kAnswers);
          (void)ask_all(*asker, 1, 1);
          manners(Manner::kForgesAllIds);
          const Tally tally = ask_all(*asker, kSprayed, 1, 60s);
          return fmt::format("{}", tally.forged);
        });
  }

  void words() {
    manners(Manner::kAnswers);
    row("`WwW.Example` is asked as; OPT", [&](const Engine& engine) {
      const auto asker = engine.make(both());
      bool is_over = false;
      asker->ask("WwW.Example", [&](const Outcome&) { is_over = true; });
      while (!is_over) asker->turn(monotonic_now() + kPatience);
      const std::vector<std::uint8_t> query = responder_.seen().last;
      const std::string name(query.begin() + 13, query.begin() + 16);
      const auto parsed = parse_dns_query(query);
      const std::string opt = parsed && parsed->edns
                                  ? fmt::format("{} octets, no option", parsed->edns->udp_octets)
                                  : std::string("none");
      return fmt::format("`{}…`; {}", name, opt);
    });
  }

  void print() {
    fmt::print("| |");
    for (const Engine& engine : engines_) fmt::print(" {} |", engine.name);
    fmt::print("\n| --- | --- | --- | --- |\n");
    for (const auto& cells : rows_) fmt::print("| {} |\n", fmt::join(cells, " | "));
  }

  Responder responder_{3};  // the third truncates all the time
  std::vector<Engine> engines_{
      {"ours", 20'000, make_own_asker},
      {"c-ares " + cares_version(), 20'000,
       [](std::vector<Endpoint> upstreams) {
         return make_cares_asker(std::move(upstreams), CaresUse::kOneChannel);
       }},
      {"c-ares, a channel for each question", 5'000, [](std::vector<Endpoint> upstreams) {
         return make_cares_asker(std::move(upstreams), CaresUse::kChannelPerQuestion);
       }}};
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace
}  // namespace cordon::bench

int main() {
  cordon::bench::Comparison().run();
  return 0;
}
