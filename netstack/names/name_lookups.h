// Look-ups of names that flows dial: A and AAAA of the host's upstreams, fresh for each dial. Flows
// that dial one name at one time share a look-up while it is under way.
//
// Each waiting flow is told about both families, one after the other (RFC 8305 section 3): the one
// it prefers first, unless only the other one's addresses have come and kResolutionDelay has passed
// since. A family that nobody answered for is told as a failure, so that every flow is told twice
// or ends before.
//
// Nobody is told from within begin() or while an answer comes in, but on the deadline right after;
// a flow may then end, begin another look-up, or do whatever it likes.
//
// Not done here: deciding which names may be looked up (flow/admission.h) and which addresses may
// be dialled.
#pragma once

#include <array>

#include "netstack/flow/context.h"
#include "netstack/names/dns_answers.h"
#include "netstack/names/upstream_queries.h"

namespace cordon {

/// Whose flows wait.
enum class Waits : std::uint8_t { kTcp, kUdp, kEcho };
inline constexpr std::size_t kWaitKinds = 3;

struct LookupAnswer {
  Family family = Family::kIpv4;
  const DnsAddresses& found;
};

class LookupWaiters {
 public:
  virtual ~LookupWaiters() = default;
  /// One family's addresses of the name that `flow` dials. No second call for a family.
  virtual void on_lookup(Instant now, FlowId flow, const LookupAnswer& answer) = 0;
};

class NameLookups final : private UpstreamAnswers {
 public:
  NameLookups(const FlowContext& context, UpstreamQueries& upstream);

  /// Whom one kind of flows belongs to; outlives this.
  void serve(Waits kind, LookupWaiters& who);

  /// `name` is the pool's. False where no more can be looked up at this moment, or nobody can be
  /// asked.
  [[nodiscard]] bool begin(Instant now, Waits kind, FlowId flow, const DnsName& name,
                           Family preferred);
  /// The flow has ended; nothing where it does not wait.
  void cancel(Waits kind, FlowId flow);

  [[nodiscard]] Instant next_deadline() const;
  void on_deadline(Instant now);

  [[nodiscard]] std::size_t in_flight() const { return lookups_.size(); }

 private:
  struct LookupKey {
    const DnsName* name = nullptr;
    [[nodiscard]] std::uint64_t hash(const SipKey& key) const { return siphash(key, name->wire()); }
    friend bool operator==(const LookupKey&, const LookupKey&) = default;
  };
  struct WaiterKey {
    Waits kind = Waits::kTcp;
    FlowId flow;
    [[nodiscard]] std::uint64_t hash(const SipKey& key) const;
    friend bool operator==(const WaiterKey&, const WaiterKey&) = default;
  };
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  struct Lookup {
    std::array<DnsAddresses, 2> found{};  // by family
    std::array<bool, 2> is_answered{};
    FlowId first_waiter{.index = kNone};
  };
  struct Waiter {
    FlowId lookup;
    FlowId next{.index = kNone};
    FlowId previous{.index = kNone};
    Family preferred = Family::kIpv4;
    std::array<bool, 2> is_told{};
  };
  enum List : std::uint8_t { kListWaiting, kListDelayed, kListDue, kLists };

  void on_upstream_answer(Instant now, const QueryKey& key, Bytes response) override;
  [[nodiscard]] std::optional<FlowId> lookup_for(Instant now, const DnsName& name);
  void arrange(Instant now, FlowId id);
  void tell(Instant now, FlowId id, bool has_waited);
  void remove(FlowId id);

  UpstreamQueries& upstream_;
  FlowTable<LookupKey, Lookup, 1> lookups_;
  FlowTable<WaiterKey, Waiter, kLists> waiters_;
  std::array<LookupWaiters*, kWaitKinds> served_{};
};

}  // namespace cordon
