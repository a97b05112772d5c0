#include "tests/world/naming.h"

#include <gtest/gtest.h>

namespace cordon::world {
namespace {

WorldOptions enforced(WorldOptions options) {
  if (options.default_action == DefaultAction::kAllowPublic && options.deny.empty()) {
    options.default_action = DefaultAction::kDeny;
  }
  return options;
}

}  // namespace

Naming::Naming(WorldOptions options) : World(enforced(std::move(options))) {}

void Naming::asks(std::string_view name, std::uint16_t type, std::uint16_t edns) {
  guest_sends(Udp()
                  .from_port(5000)
                  .to(Endpoint{.address = resolver_address(Family::kIpv4), .port = 53})
                  .payload(dns_query(next_id_++, name, type, edns)));
}

DnsSeen Naming::expect_answer(Where where) {
  const Seen seen = expect_udp(where);
  EXPECT_EQ(seen.source_port, 53);
  return seen.payload.empty() ? DnsSeen{} : read_dns(seen.payload);
}

DnsSeen Naming::resolves(std::string_view name, std::uint16_t type) {
  asks(name, type);
  upstreams_answer();
  return expect_answer();
}

Endpoint Naming::looks_up(std::string_view name, std::uint16_t port, Family family) {
  const DnsSeen answer = resolves(name, family == Family::kIpv4 ? 1 : 28);
  EXPECT_EQ(answer.addresses.size(), 1U) << name;
  return Endpoint{.address = answer.addresses.empty() ? IpAddress() : answer.addresses[0],
                  .port = port};
}

bool Naming::answer_one(std::uint16_t type) {
  for (const int descriptor : sockets.open_descriptors()) {
    const FakeSocket& socket = sockets.was(SocketHandle{descriptor});
    if (socket.kind != OwnerKind::kDns || socket.sent.empty()) continue;
    const SentDatagram sent = socket.sent.back();
    const DnsSeen question = read_dns(sent.payload);
    if (type != 0 && question.type != type) continue;
    questions.push_back({.name = question.name, .type = question.type});
    const auto entry = zone.find(question.name);
    std::vector<std::string> found;
    if (entry != zone.end()) {
      for (const std::string& text : entry->second.addresses) {
        if (address(text).is_v4() == (question.type == 1) && question.type != 16) {
          found.push_back(text);
        }
      }
    }
    const std::uint8_t rcode = entry == zone.end() ? 3 : entry->second.rcode;
    datagram_arrives(socket.handle, sent.destination, dns_answer(sent.payload, rcode, found));
    return true;
  }
  return false;
}

void Naming::upstreams_answer() {
  for (int i = 0; i < 1000 && answer_one(0); ++i) {
  }
}

void Naming::upstreams_answer(std::uint16_t type) {
  for (int i = 0; i < 1000 && answer_one(type); ++i) {
  }
}

void Naming::connects(const Endpoint& remote, std::uint16_t port) {
  guest_sends(Syn().to(remote).from_port(port).mss(1460));
  upstreams_answer();
  dial_succeeds(attempt().handle);
  (void)expect_syn_ack();
}

}  // namespace cordon::world
