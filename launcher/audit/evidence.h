// What was noticed outside: the only thing that makes a row a leak where something outside can
// notice it. And the loop in which everything outside waits.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "launcher/audit/leaks.h"
#include "netstack/base/result.h"

namespace cordon::audit {

struct Notice {
  enum class Kind : std::uint8_t {
    kHeard,  // something of ours was reached
    kLeft,   // it was on its way to somewhere else
  };
  Kind kind = Kind::kHeard;
  std::string words;
  friend bool operator==(const Notice&, const Notice&) = default;
};

class Evidence {
 public:
  /// Kept once, however often it is noticed; no more than kMostNotices different ones for a leak.
  void add(Leak leak, const Notice& notice);
  [[nodiscard]] std::span<const Notice> of(Leak leak) const {
    return notices_[static_cast<std::size_t>(leak)];
  }
  static constexpr std::size_t kMostNotices = 16;

 private:
  std::array<std::vector<Notice>, kLeakCount> notices_;
};

/// Calls back when a descriptor can be read. The descriptors' owners outlive the loop's turns, and
/// take a descriptor out before they close it.
class Waiter {
 public:
  void add(int fd, std::function<void()> on_readable) { waiting_[fd] = std::move(on_readable); }
  void remove(int fd) { waiting_.erase(fd); }
  /// One turn, no longer than `milliseconds`.
  void wait(int milliseconds);

 private:
  std::map<int, std::function<void()>> waiting_;
};

}  // namespace cordon::audit
