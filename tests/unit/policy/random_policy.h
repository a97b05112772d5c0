// Random policies and requests, seeded, and an evaluator that is written from the words of the
// contract alone: no index, one rule after the other.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "netstack/policy/policy.h"

namespace cordon::random_policy {

inline constexpr std::array kClasses{
    AddressClass::kSelf,      AddressClass::kMetadata, AddressClass::kLoopback,
    AddressClass::kLinkLocal, AddressClass::kLan,      AddressClass::kVpn,
    AddressClass::kMulticast, AddressClass::kReserved, AddressClass::kPublic};

// Few networks and few ports, so that rules nest, collide and hit.
inline constexpr const char* kAnchors[] = {
    "9.9.9.9",
    "9.9.128.1",
    "10.1.2.3",
    "10.255.0.1",
    "169.254.169.254",
    "169.254.7.7",
    "0.0.0.0",
    "255.255.255.255",
    "198.51.100.7",
    "224.0.0.251",
    "127.0.0.1",
    "2a00::9",
    "2a00:0:0:1::9",
    "64:ff9b::909:909",
    "64:ff9b::a01:203",
    "::ffff:a01:203",
    "2002:a01:203::1",
    "fd00:ec2::254",
    "fe80::9",
    "::",
    "2001:0:a01:203:0:0:f6f6:f6f6",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
};

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {
    for (DnsName& each : names_) each = name();
  }

  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  bool is_one_in(std::uint64_t count) { return below(count) == 0; }

  IpAddress address() {
    const IpAddress anchor = IpAddress::parse(kAnchors[below(std::size(kAnchors))]).value();
    if (!is_one_in(2)) return anchor;
    std::vector<std::uint8_t> octets(anchor.octets().begin(), anchor.octets().end());
    const std::size_t bit = below(octets.size() * 8);
    octets[bit / 8] = static_cast<std::uint8_t>(octets[bit / 8] ^ (0x80U >> (bit % 8)));
    return IpAddress::from_octets(octets);
  }

  std::uint16_t port() {
    constexpr std::uint16_t kPorts[] = {0, 1, 2, 3, 79, 80, 81, 442, 443, 444};
    return is_one_in(20) ? static_cast<std::uint16_t>(random_()) : kPorts[below(std::size(kPorts))];
  }

  Protocol protocol() { return static_cast<Protocol>(below(3)); }

  /// Of few labels, so that names nest and collide; letters of either case.
  DnsName name() {
    constexpr const char* kLabels[] = {"a", "b", "A", "example", "EXAMPLE"};
    std::string text = kTops[below(std::size(kTops))];
    for (std::uint64_t depth = below(4); depth > 0; --depth) {
      const std::string label = kLabels[below(std::size(kLabels))];
      text = text == "." ? label : label + "." + text;
    }
    return DnsName::parse(text).value();
  }

  NamePattern pattern() {
    return {.kind = static_cast<NamePattern::Kind>(below(3)), .name = name().lower_case()};
  }

  Destination destination() {
    Destination to;
    const std::uint64_t kind = below(14);
    to.kind = kind < 5   ? Destination::Kind::kPrefix
              : kind < 8 ? Destination::Kind::kClass
              : kind < 9 ? Destination::Kind::kHostDoor
                         : Destination::Kind::kName;
    const IpAddress base = address();
    to.prefix =
        Prefix(base, is_one_in(3) ? base.bits() : static_cast<unsigned>(below(base.bits() + 1)));
    to.address_class = kClasses[below(kClasses.size())];
    if (!is_one_in(2)) to.protocol = protocol();
    if (is_one_in(2)) {
      const std::uint16_t first = port();
      to.ports = PortSet(PortRange{.first = first, .last = std::max(first, port())});
    }
    if (to.kind == Destination::Kind::kName) {
      to.pattern = pattern();
      if (is_one_in(2)) to.ports = PortSet::web();
    }
    return to;
  }

  Rule rule(Action action) {
    Rule rule{.to = destination(), .action = action};
    rule.may_be_private = is_one_in(3);
    rule.needs_tls = is_one_in(12);
    if (is_one_in(12)) rule.limits.up_bytes = 1;
    return rule;
  }

  Action action() {
    const std::uint64_t pick = below(6);
    return pick < 3 ? Action::kAllow : pick < 5 ? Action::kDeny : Action::kAsk;
  }

  PolicyInput policy(std::size_t most_rules) {
    PolicyInput input;
    input.default_action = static_cast<DefaultAction>(below(3));
    if (is_one_in(3)) input.mode = is_one_in(2) ? PolicyMode::kAsk : PolicyMode::kReport;
    input.is_quic_by_name = is_one_in(3);
    const std::size_t count = below(most_rules + 1);
    for (std::size_t i = 0; i < count; ++i) {
      input.rules.push_back(rule(action()));
    }
    return input;
  }

  /// Its name is one of those that this generator keeps.
  Request request() {
    Request out;
    out.direction = is_one_in(8) ? Direction::kInbound : Direction::kOutbound;
    out.protocol = protocol();
    out.dialled = {address(), port()};
    out.address_class = is_one_in(4) ? kClasses[below(kClasses.size())]
                                     : classify(out.dialled.address, RouteFacts{}, {});
    out.is_host_door = is_one_in(10);
    if (is_one_in(2)) out.name = &names_[below(names_.size())];
    return out;
  }

  std::span<const DnsName> names() const { return names_; }

  template <class T>
  void shuffle(std::vector<T>& values) {
    std::shuffle(values.begin(), values.end(), random_);
  }

 private:
  static constexpr const char* kTops[] = {"example", "com", "a.com", "."};
  std::mt19937_64 random_;
  std::array<DnsName, 64> names_;
};

/// What the contract says, in the plainest form.
Verdict plain_evaluate(const PolicyInput& input, const Request& request);

/// Whether the rule allows, asks about or denies such a request, apart from all others.
bool plain_grants(const Rule& rule, bool is_quic_by_name, const Request& request);
bool plain_restrains(const Rule& rule, bool is_quic_by_name, const Request& request);
bool has_plain_floor(const Request& request);

/// For the message of a failure.
std::string show(const PolicyInput& input, const Request& request);

}  // namespace cordon::random_policy
