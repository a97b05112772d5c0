// As many streams as the table is for.
#pragma once

#include <cstdint>
#include <string>

#include "tests/world/world.h"

namespace cordon::world {

/// To two hundred servers, one every 100 us: fewer to each, and at a time, than any bound has.
inline void connect_thirty_thousand(World& world) {
  for (int i = 0; i < 30000; ++i) {
    const std::string server = "198.51.100." + std::to_string(1 + i / 150) + ":80";
    world.guest_sends(Syn().to(server).from_port(static_cast<std::uint16_t>(1024 + i % 150)));
    world.dial_succeeds();
    world.tap.frames.clear();
    world.advance(std::chrono::microseconds(100));
  }
  EXPECT_EQ(world.translator.flows(), 30000U);
}

}  // namespace cordon::world
