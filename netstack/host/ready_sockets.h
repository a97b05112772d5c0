// Sockets for the host's side of streams, made while the loop has nothing else to do, so that
// socket() and its presets are not on the way of a connection. Where connections come faster than
// the loop rests, each makes its own, as it would without this.
#pragma once

#include <array>

#include "netstack/address/ip_address.h"
#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

class ReadySockets {
 public:
  /// A fresh stream socket with its presets done.
  [[nodiscard]] IoResult<UniqueFd> take(Family family);

  /// Whether one more should be made: never before the first was taken.
  [[nodiscard]] bool wants_one() const { return is_wanted_ && count_ < sockets_.size(); }
  void make_one();

 private:
  [[nodiscard]] static IoResult<UniqueFd> make(Family family);

  std::array<UniqueFd, 4> sockets_;  // the first `count_`, all of one family
  std::size_t count_ = 0;
  Family family_ = Family::kIpv4;
  bool is_wanted_ = false;
};

}  // namespace cordon
