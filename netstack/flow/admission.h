// Admission: what the guest means by an address, and whether the policy lets the flow be. The one
// place where the FIB's answer, the address classes and the policy come together; TCP, UDP, ICMP
// echo and published ports all ask here.
//
//   presented   the remote endpoint as the guest sees it
//   dialled     the endpoint that the host really uses: the presented one, but for the host door,
//               which leads to the host's loopback, and for an address of the name pool, which
//               stands for whatever its name resolves to on the host
//
// A flow by name is judged in steps: judge_name() with nothing but the name, so that one that
// cannot pass is never looked up; judge_resolved() for each address that the look-up gave;
// judge_again() once connected. In pin mode a plain address that the policy does not let pass by
// itself is judged again under each name that was answered with it.
//
// Address scopes (RFC 4007): on one side of a flow both addresses have one scope. A guest's
// link-local address reaches nothing beyond its own link, because the host could not give it a
// zone; nothing link-local is ever dialled for a global address.
#pragma once

#include <optional>
#include <span>

#include "netstack/flow/name_pins.h"
#include "netstack/flow/name_pool.h"
#include "netstack/flow/translator_config.h"
#include "netstack/policy/policy.h"
#include "netstack/seams/host_sockets.h"

namespace cordon {

/// What stands behind an address that the guest dials.
enum class Meaning : std::uint8_t {
  kPlain,      // the address itself
  kHostDoor,   // the host's loopback
  kName,       // an address of the name pool: the name that it was given to
  kOurs,       // gateway or resolver: nothing but echo and DNS is there
  kMulticast,  // nobody
};

struct Judgement {
  Request request;
  Verdict verdict;
  std::optional<AllowedDestination> allowed;
};

/// A client at a published port.
struct Arrival {
  Endpoint client;
  std::optional<IpAddress> local;   // the host's address that it came to, where that is known
  std::span<const Prefix> sources;  // who may come; empty: everybody
};

/// The class of an address that the host would dial, with the FIB's word on it and on the addresses
/// that it carries. Enforcement and `policy explain` share it.
[[nodiscard]] AddressClass class_of(const IpAddress& address, RouteQuery& routes,
                                    std::span<const ClassOverride> overrides);

class Admission {
 public:
  Admission(const TranslatorConfig& config, RouteQuery& routes, const NamePool& pool,
            const NamePins& pins)
      : config_(config), routes_(routes), pool_(pool), pins_(pins) {}

  /// How names are answered now: kByPolicy is resolved to what the policy asks for.
  [[nodiscard]] NameSettings::Mode name_mode() const;
  /// Names are known, and flows by name are judged by it (modes map and pin).
  [[nodiscard]] bool are_names_enforced() const;

  /// What is judged from here on is judged for a flow that a person has allowed, or no longer.
  void set_answered(bool is_answered) { is_answered_ = is_answered; }

  [[nodiscard]] Meaning meaning_of(const IpAddress& presented) const;
  /// One of the addresses that the guest was given.
  [[nodiscard]] bool is_guest(const IpAddress& address) const;

  /// An outbound flow, judged with the FIB as it is now. `presented` is kPlain or kHostDoor.
  [[nodiscard]] Judgement judge(Instant now, Protocol protocol, const Endpoint& guest,
                                const Endpoint& presented) const;
  /// An outbound flow to an address of the pool: the verdict on its name, before anybody is asked
  /// for its address. There is no witness yet; may_resolve() says whether to go on.
  [[nodiscard]] Judgement judge_name(Protocol protocol, const Endpoint& guest,
                                     const Endpoint& presented) const;
  /// The same for a flow that waits for its name to be looked up: what a person said of it
  /// (Request::is_answered) stands.
  [[nodiscard]] Judgement judge_name_again(Protocol protocol, const Endpoint& guest,
                                           const Endpoint& presented, bool is_answered) const;
  [[nodiscard]] bool may_resolve(const Verdict& verdict) const;
  /// The flow of judge_name() with an address that its name has.
  [[nodiscard]] Judgement judge_resolved(const Request& by_name, const IpAddress& address) const;
  /// A flow that was judged before, with the policy and the FIB as they are now.
  [[nodiscard]] Judgement judge_again(const Request& request) const;
  /// The same for a flow that lives: in pin mode one that had no name may have found one since.
  [[nodiscard]] Judgement rejudge(Instant now, const Request& request) const;
  /// Whether the first flight of the flow that `request` asks for may call its remote `name` (SNI,
  /// HTTP Host; letters of any case): the name that the guest dialled or, in pin mode, an allowed
  /// name that was answered with the dialled address.
  [[nodiscard]] bool is_name_of(const Request& request, const DnsName& name) const;

  /// An inbound flow's first packet: its scopes on the host's side, the port's own list of sources,
  /// then as judge_inbound().
  [[nodiscard]] Judgement judge_arrival(Protocol protocol, const Endpoint& guest,
                                        const Arrival& arrival) const;
  /// An inbound flow from `client`, at any later time.
  [[nodiscard]] Judgement judge_inbound(Protocol protocol, const Endpoint& guest,
                                        const Endpoint& client) const;

  /// The guest's address that a client of a published port is led to: one of the client's own
  /// scope (RFC 4007), so that a link-local client never meets a global address nor the other way
  /// round.
  [[nodiscard]] const IpAddress& guest_for(const IpAddress& client) const;
  /// How a client of a published port looks from inside: itself, or the gateway where it is the
  /// host's loopback, which in the guest would be the guest.
  [[nodiscard]] Endpoint present_client(const Endpoint& client) const;
  /// How the peer of an outbound flow looks from inside: the host door where it is the loopback.
  [[nodiscard]] Endpoint present_peer(const Endpoint& peer) const;

  /// Whether the host has any route to `address`.
  [[nodiscard]] bool has_route(const IpAddress& address) const;

  /// Whether the host no longer has the address that a flow's socket is bound to. Such a socket
  /// stalls without any event (reliability of a roaming host).
  [[nodiscard]] bool is_local_address_lost(const std::optional<Endpoint>& local) const;

  [[nodiscard]] const LinkFamily& link(Family family) const {
    return family == Family::kIpv4 ? config_.v4 : config_.v6;
  }

 private:
  [[nodiscard]] Judgement judge_as_named(Instant now, const Judgement& plain) const;

  const TranslatorConfig& config_;
  RouteQuery& routes_;
  const NamePool& pool_;
  const NamePins& pins_;
  bool is_answered_ = false;
};

}  // namespace cordon
