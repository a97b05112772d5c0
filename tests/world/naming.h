// A world in which names are enforced, with upstreams that answer out of a zone:
//
//     Naming world({.allow = {"ok.example"}});
//     world.zone["ok.example"] = {"198.51.100.17"};
//     const Endpoint ok = world.looks_up("ok.example", 443);
//     world.guest_sends(Syn().to(ok));
//     world.upstreams_answer();
//     world.dial_succeeds(world.attempt().handle);
#pragma once

#include <map>

#include "tests/world/dns.h"
#include "tests/world/world.h"

namespace cordon::world {

struct ZoneEntry {
  ZoneEntry() = default;
  ZoneEntry(std::initializer_list<std::string> all) : addresses(all) {}
  std::vector<std::string> addresses;
  std::uint8_t rcode = 0;
};

struct NameQuestion {
  std::string name;
  std::uint16_t type = 0;
  friend bool operator==(const NameQuestion&, const NameQuestion&) = default;
};

class Naming : public World {
 public:
  explicit Naming(WorldOptions options = {});

  /// A question of the guest's to its resolver, by UDP.
  void asks(std::string_view name, std::uint16_t type = 1, std::uint16_t edns = 1232);
  DnsSeen expect_answer(Where where = Where::current());
  /// The guest asks, the upstreams answer out of the zone, the guest has its answer.
  DnsSeen resolves(std::string_view name, std::uint16_t type = 1);
  /// The same, with exactly one address in the answer, and the port that the guest will dial.
  Endpoint looks_up(std::string_view name, std::uint16_t port, Family family = Family::kIpv4);

  /// Every question that waits at an upstream is answered out of the zone (what is not in it does
  /// not exist), until none is left.
  void upstreams_answer();
  /// Only those of one type.
  void upstreams_answer(std::uint16_t type);

  FakeSocket& attempt() { return sockets.last(OwnerKind::kTcpAttempt); }
  /// A connection by name, up to its SYN-ACK.
  void connects(const Endpoint& remote, std::uint16_t port = 40000);

  std::map<std::string, ZoneEntry> zone;
  std::vector<NameQuestion> questions;  // that were answered
  /// What the host was asked or told by anybody: sockets of any kind but the published ports'.
  [[nodiscard]] std::size_t host_contacts() const {
    return sockets.opened(OwnerKind::kDns) + sockets.opened(OwnerKind::kTcpAttempt) +
           sockets.opened(OwnerKind::kTcpHost) + sockets.opened(OwnerKind::kUdp) +
           sockets.opened(OwnerKind::kEcho);
  }

 private:
  bool answer_one(std::uint16_t type);
  std::uint16_t next_id_ = 1;
};

}  // namespace cordon::world
