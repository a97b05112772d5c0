#include <array>
#include <sys/random.h>
#include <unordered_map>

#include "netstack/host/event_loop.h"
#include "netstack/host/host_sockets.h"
#include "netstack/host/stream_relay.h"
#include "netstack/names/upstream_queries.h"
#include "tests/bench/load/sockets.h"
#include "tests/bench/upstream/asker.h"

namespace cordon::bench {
namespace {

// As the worker has them: netstack/host/worker.cc.
constexpr int kSocketTurns = 4;

class KernelEntropy final : public Entropy {
 public:
  std::uint64_t next() override {
    if (next_ == values_.size()) {
      must(static_cast<int>(getrandom(values_.data(), sizeof(values_), 0)), "getrandom");
      next_ = 0;
    }
    return values_[next_++];
  }

 private:
  std::array<std::uint64_t, 32> values_{};
  std::size_t next_ = values_.size();
};

class NobodyHears final : public Events {
 public:
  bool denied(const Denial&) override { return false; }
  void flow(const FlowReport&) override {}
  bool introduced(std::uint32_t, const Request&) override { return false; }
  void resolved(const Resolution&) override {}
  bool listed(const FlowReport&) override { return false; }
  bool asked(const Question&) override { return false; }
  void notice(Notice, int) override {}
};

EventLoop open_loop() {
  Result<EventLoop> loop = EventLoop::open();
  if (!loop) die_plainly(loop.error().message());
  return *std::move(loop);
}

class OwnAsker final : public Asker, private UpstreamAnswers {
 public:
  explicit OwnAsker(std::vector<Endpoint> upstreams) {
    queries_.answers_go_to(QueryAsker::kResolver, *this);
    set_upstreams(upstreams);
  }

  bool set_upstreams(std::span<const Endpoint> upstreams) override {
    queries_.set_upstreams(monotonic_now(), upstreams);
    return true;
  }

  void ask(const std::string& name, Done done) override {
    const auto parsed = DnsName::parse(name);
    if (!parsed) die_plainly("not a name: " + name);
    const QueryKey key{.asker = QueryAsker::kResolver, .of = {.index = ++last_}};
    waiting_.emplace(last_, std::move(done));
    const DnsQuery query{.header = {.is_recursion_desired = true},
                         .question = {.name = *parsed, .type = dns_type::kA}};
    if (!queries_.ask(monotonic_now(), key, query, true)) finish(key.of.index, {});
  }

  void turn(Instant until) override {
    const Instant due = std::min(until, queries_.next_deadline());
    const std::span<const SocketEvent> events = loop_.wait(monotonic_now(), due);
    const Instant now = monotonic_now();
    for (const SocketEvent& event : events) {
      for (int i = 0; i < kSocketTurns; ++i) {
        if (!queries_.on_socket(now, event.owner, event.readiness)) break;
      }
    }
    if (queries_.next_deadline() <= now) queries_.on_deadline(now);
    streams_.close_ended();
    host_.prepare();
  }

 private:
  using QueryAsker = cordon::Asker;

  void on_upstream_answer(Instant, const QueryKey& key, Bytes response) override {
    finish(key.of.index, outcome_of(response));
  }

  void finish(std::uint32_t index, const Outcome& outcome) {
    const auto node = waiting_.extract(index);
    node.mapped()(outcome);
  }

  EventLoop loop_ = open_loop();
  KernelHostSockets host_{loop_};
  StreamRelay streams_;
  KernelEntropy entropy_;
  NobodyHears events_;
  DropCounters drops_;
  UpstreamQueries queries_{{.host = host_,
                            .streams = streams_,
                            .entropy = entropy_,
                            .events = events_,
                            .drops = drops_}};
  std::unordered_map<std::uint32_t, Done> waiting_;
  std::uint32_t last_ = 0;
};

}  // namespace

Outcome outcome_of(Bytes response) {
  constexpr std::size_t kAnswer = 16;  // a pointer to the name, and an A record
  if (response.size() < 12 || (response[3] & 15U) != 0) return {};
  Outcome outcome{.addresses = static_cast<std::size_t>(response[6] * 256 + response[7])};
  outcome.is_answered = outcome.addresses > 0 && response.size() >= 12 + kAnswer;
  outcome.is_forged = outcome.is_answered && response.back() == kForgedOctet;
  return outcome;
}

std::unique_ptr<Asker> make_own_asker(std::vector<Endpoint> upstreams) {
  return std::make_unique<OwnAsker>(std::move(upstreams));
}

}  // namespace cordon::bench
