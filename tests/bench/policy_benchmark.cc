// What a decision costs under a policy of 100,000 prefixes and 100,000 names: less than a
// microsecond. Prefixes nest and names share suffixes, as those of block lists do; the requests are
// many and in no order, so that the tables are not found in the nearest cache, but few enough to be
// there themselves, as a flow's is when it is judged.
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "netstack/policy/policy.h"

namespace cordon {
namespace {

constexpr std::size_t kRulesOfAKind = 100'000;
constexpr std::size_t kRequests = 1U << 12U;

using Random = std::mt19937_64;

IpAddress random_v4(Random& random) { return IpAddress::v4(static_cast<std::uint32_t>(random())); }

IpAddress random_v6(Random& random) {
  std::array<std::uint8_t, 16> octets{0x2a, 0x01};
  const std::uint64_t number = random();
  for (std::size_t i = 0; i < 8; ++i) {
    octets[2 + i] = static_cast<std::uint8_t>(number >> (8 * i));
  }
  return IpAddress::v6(octets);
}

// "r4711.shop.example17.com" and the like: two to four labels, as most are.
DnsName random_name(Random& random) {
  std::string text = "site" + std::to_string(random() % 60'000) + ".com";
  if (random() % 2 == 0) text = "cdn" + std::to_string(random() % 20) + "." + text;
  if (random() % 4 == 0) text = "r" + std::to_string(random() % 1000) + "." + text;
  return DnsName::parse(text).value();
}

Action action_of(std::size_t index) { return index % 3 == 0 ? Action::kDeny : Action::kAllow; }

PolicyInput make_input() {
  Random random(1);
  PolicyInput input{.default_action = DefaultAction::kDeny};
  input.rules.reserve(2 * kRulesOfAKind);
  for (std::size_t i = 0; i < kRulesOfAKind; ++i) {
    Rule rule{.action = action_of(i)};
    rule.to.prefix = i % 2 == 0 ? Prefix(random_v4(random), 12 + random() % 21)
                                : Prefix(random_v6(random), 32 + random() % 48);
    if (i % 5 == 0) rule.to.ports = PortSet(443);
    input.rules.push_back(std::move(rule));
  }
  for (std::size_t i = 0; i < kRulesOfAKind; ++i) {
    Rule rule{.action = action_of(i)};
    rule.to.kind = Destination::Kind::kName;
    rule.to.pattern = {.kind = static_cast<NamePattern::Kind>(i % 3), .name = random_name(random)};
    rule.to.ports = PortSet::web();
    input.rules.push_back(std::move(rule));
  }
  return input;
}

const Policy& policy() {
  static const Policy kPolicy(make_input());
  return kPolicy;
}

enum class Kind : std::uint8_t { kAddress, kName, kDeepName };

struct Requests {
  std::vector<DnsName> names;
  std::vector<Request> list;
};

Requests make_requests(Kind kind) {
  Random random(2);
  Requests out;
  out.names.reserve(kRequests);
  for (std::size_t i = 0; i < kRequests; ++i) {
    Request request{.dialled = {i % 2 == 0 ? random_v4(random) : random_v6(random), 443},
                    .address_class = AddressClass::kPublic};
    if (kind != Kind::kAddress) {
      std::string text = random_name(random).to_string();
      while (kind == Kind::kDeepName && text.size() < 250) text = "x." + text;
      out.names.push_back(DnsName::parse(text).value());
      request.name = &out.names.back();
    }
    out.list.push_back(request);
  }
  return out;
}

template <class Decide>
void run(benchmark::State& state, Kind kind, Decide decide) {
  const Policy& rules = policy();
  const Requests requests = make_requests(kind);
  std::size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(decide(rules, requests.list[next]));
    next = (next + 1) % kRequests;
  }
}

void evaluate_by_address(benchmark::State& state) {
  run(state, Kind::kAddress, [](const Policy& p, const Request& r) { return p.evaluate(r); });
}
BENCHMARK(evaluate_by_address);

void evaluate_by_name(benchmark::State& state) {
  run(state, Kind::kName, [](const Policy& p, const Request& r) { return p.evaluate(r); });
}
BENCHMARK(evaluate_by_name);

// The worst that a guest can ask for: more than a hundred labels.
void evaluate_by_deep_name(benchmark::State& state) {
  run(state, Kind::kDeepName, [](const Policy& p, const Request& r) { return p.evaluate(r); });
}
BENCHMARK(evaluate_by_deep_name);

void judge_name(benchmark::State& state) {
  run(state, Kind::kName, [](const Policy& p, const Request& r) { return p.judge_name(*r.name); });
}
BENCHMARK(judge_name);

void judge_unresolved(benchmark::State& state) {
  run(state, Kind::kName, [](const Policy& p, const Request& r) { return p.judge_unresolved(r); });
}
BENCHMARK(judge_unresolved);

void index_the_rules(benchmark::State& state) {
  const PolicyInput input = make_input();
  for (auto _ : state) benchmark::DoNotOptimize(Policy(input));
}
BENCHMARK(index_the_rules)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace cordon

BENCHMARK_MAIN();
