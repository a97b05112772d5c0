// A policy of one name and one wildcard, and a zone that has more (leaks.md T1 to T13).
#pragma once

#include "tests/world/naming.h"

namespace cordon::world {

inline WorldOptions leak_policy() { return {.allow = {"ok.example", "*.wild.example"}}; }

inline void fill(Naming& world) {
  world.zone["ok.example"] = {"198.51.100.17", "2001:db8::17"};
  world.zone["evil.example"] = {"198.51.100.66"};
  world.zone["a.wild.example"] = {"198.51.100.18"};
}

}  // namespace cordon::world
