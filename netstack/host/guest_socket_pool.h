// Sockets born in the guest's network namespace.
//
// A socket belongs for life to the network namespace in which socket() was called. The translator's
// main thread lives in the host's; one thread, the guest side, lives in the guest's and does
// nothing after set-up but call socket() and preset what is the same for every flow (so the presets
// are off the handshake's path). Both threads share one descriptor table, so a socket is handed
// over as its number, through a pipe; the main thread asks for more through an eventfd before it
// runs dry. The way back is for sockets whose streams have ended: where the main thread has no
// rest, closing them, a fifth of its work for a short connection, is the guest side's.
//
// A lane that nobody has taken from holds a few sockets only: many commands open no connection at
// all, and none should wait for sockets that it does not use.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"
#include "netstack/host/descriptor_ring.h"

namespace cordon {

enum class GuestSocketKind : std::uint8_t { kAdoptV4, kAdoptV6, kDialV4, kDialV6 };
inline constexpr std::size_t kGuestSocketKinds = 4;

class GuestSocketPool {
 public:
  /// Any thread; makes the pipes and the eventfd. `may_dial`: there are published ports, so sockets
  /// that connect to the guest are kept ready too.
  [[nodiscard]] static Result<std::unique_ptr<GuestSocketPool>> open(bool may_dial);

  /// The guest-side thread's life: fills the pool, then refills on request. Returns when stop() was
  /// called or the eventfd is gone. Call it on the thread that is in the guest's namespace.
  /// `restore_steering` is called there after ask_for_steering().
  void serve(const std::function<void()>& restore_steering);
  /// Main thread: the steering rules were flushed and are to be put back.
  void ask_for_steering();
  /// Main thread: the guest side closes these sockets in good order (close_in_good_order()). False
  /// where it is too far behind; then they are left as they are.
  [[nodiscard]] bool close_soon(std::span<UniqueFd> ended);
  /// Main thread: makes serve() return.
  void stop();

  /// Main thread: a fresh socket of that kind, its presets done. ENOBUFS where the pool is dry at
  /// this moment (the guest side is behind, or out of descriptors); a refill is then under way.
  [[nodiscard]] IoResult<UniqueFd> take(GuestSocketKind kind);

 private:
  struct Lane {
    UniqueFd give;  // the guest side writes descriptor numbers
    UniqueFd take;  // the main thread reads them
    std::array<int, 16> stock{};
    std::size_t stocked = 0;
    std::atomic<std::uint32_t> taken{0};  // by the main thread, ever
    std::uint32_t reserve = 0;            // how many the guest side keeps ready once one was taken
  };

  GuestSocketPool() = default;
  void refill(std::size_t lane_index, std::uint32_t& given);
  [[nodiscard]] static std::uint32_t wanted(const Lane& lane, std::uint32_t taken);
  void request(std::uint64_t value);

  std::array<Lane, kGuestSocketKinds> lanes_;
  DescriptorRing ended_;
  UniqueFd wake_;
};

}  // namespace cordon
