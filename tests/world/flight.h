// A connection by name whose first octets are judged, and what clients and servers say on it.
#pragma once

#include <gtest/gtest.h>

#include "tests/unit/names/hello_writer.h"
#include "tests/world/naming.h"

namespace cordon::world {

using hello::operator+;

inline const std::string kAlert = {21, 3, 3, 0, 2, 2, 49};

inline std::string hello_to(std::string_view name, std::size_t record = 16384) {
  return hello::text_of(hello::records(hello::client_hello(name), record));
}

inline std::string hello_with(const Octets& extensions) {
  return hello::text_of(hello::records(hello::client_hello_with(extensions)));
}

inline std::string server_hello() { return hello::text_of(hello::records(hello::server_hello())); }

inline std::string request(std::string_view host, std::string_view lines = "") {
  return "GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n" + std::string(lines) + "\r\n";
}

inline WorldOptions options() {
  return {.allow = {"ok.example", "other.example", "ok.example:22"}};
}

/// A connection to ok.example, by name.
struct Flight {
  explicit Flight(const WorldOptions& with = options(), std::uint16_t port = 443) : world(with) {
    world.zone["ok.example"] = {"198.51.100.17"};
    connect(port);
  }
  void connect(std::uint16_t port, std::uint16_t from = 40000) {
    world.connects(world.looks_up("ok.example", port), from);
    host = world.host_socket().handle;
    guest = world.guest_socket().handle;
    world.expect_nothing();
  }
  void guest_says(std::string_view text) { world.says(guest, text); }
  void host_says(std::string_view text) { world.says(host, text); }
  [[nodiscard]] const std::string& host_heard() const { return world.sockets.was(host).heard; }
  [[nodiscard]] const std::string& guest_heard() const { return world.sockets.was(guest).heard; }
  [[nodiscard]] bool is_open() const { return world.sockets.is_open(host); }

  /// The host was reset and heard nothing but `before`; the guest heard `answer` at the end, then
  /// FIN, and is read until it says its own.
  void expect_refused(std::string_view before, std::string_view answer,
                      World::Where where = World::Where::current()) {
    SCOPED_TRACE(testing::Message() << where.file_name() << ":" << where.line());
    EXPECT_EQ(world.sockets.was(host).end, End::kReset);
    EXPECT_EQ(host_heard(), before);
    EXPECT_TRUE(guest_heard().ends_with(answer)) << guest_heard();
    EXPECT_TRUE(world.sockets.was(guest).has_fin_gone);
    ASSERT_EQ(world.events.denials.size(), 1U);
    EXPECT_EQ(world.events.denials[0].verdict.reason, Reason::kFirstFlight);
    EXPECT_NE(world.events.denials[0].verdict.fault, FlightFault::kNone);
    ASSERT_FALSE(world.events.flows.empty());
    EXPECT_EQ(world.events.flows.back().end, FlowEnd::kRevoked);
    // What it still says is read, so that no reset overtakes the answer, and goes nowhere.
    world.says(guest, "more");
    EXPECT_EQ(world.sockets.was(guest).unread, 0U);
    EXPECT_TRUE(world.sockets.is_open(guest));
    world.fin_arrives(guest);
    EXPECT_EQ(world.sockets.was(guest).end, End::kClosed);
    EXPECT_EQ(world.flow_sockets(), 0U);
    EXPECT_EQ(world.events.denials.size(), 1U);
  }

  Naming world;
  SocketHandle host;
  SocketHandle guest;
};

}  // namespace cordon::world
