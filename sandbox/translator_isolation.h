// The translator's walls, in their order. It is born with fresh user, pid, mount, ipc, uts and
// cgroup namespaces and stays in the host's network namespace, which it must reach; its second
// thread, the guest side, leaves for N.
//
//     main thread                                  guest side
//     leave_callers_things()
//       descriptors and how many there may be, id maps, die with parent
//                                                  build_guest_side()
//                                                    unshare net, network, handles of N
//                                                  restrict_guest_side()
//                                                    capabilities, no_new_privs, Landlock
//     leave_file_system()
//       root, session
//     (opens what is still needed)
//     restrict_main()
//       dumpable, capabilities, no_new_privs, MDWE, Landlock
//     (starts the relays, which inherit all of that)     relays: isolate_relay()
//                                                          their own table of descriptors
//     seal()
//       limits, self check, filter (all threads)
//
// Descriptors first, so that nothing later can leak, and their limit with them: tables are sized by
// it, and a caller's soft limit is mostly far below the hard one. Files before capabilities:
// mounting needs them. Dumpable after the id maps, whose files belong to root in a process that is
// not. Landlock after the mounts, which it forbids. Relays as late as they can be, so that they
// have nothing to give up, and the limits behind them: those forbid more threads. The filter last,
// because it forbids all of the above.
//
// What the host's kernel still sees of a translator that was taken over: INET sockets of this user
// to any address. The policy is no wall against that, and nothing here can be.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"
#include "sandbox/guest_network.h"
#include "sandbox/self_check.h"
#include "sandbox/translator_syscalls.h"

namespace cordon {

struct TranslatorIsolationPlan {
  std::vector<int> kept_descriptors;  // besides 0, 1 and 2
  int life_line = -1;                 // a socket or pipe whose other end only the supervisor holds
  std::uint32_t callers_uid = 0;      // as they are outside
  std::uint32_t callers_gid = 0;
  std::uint64_t descriptor_limit = 0;
  unsigned relays = 0;  // threads beside the main one and the guest side
  FilterMode filter_mode = FilterMode::kKill;
  std::string failing_step;  // tests only
};

/// Main thread, the only one so far: steps 1 to 5.
[[nodiscard]] Result<SelfCheckHandles> leave_callers_things(const TranslatorIsolationPlan& plan);

/// What the guest-side thread made: for the translator, and for the supervisor to enter.
struct GuestSide {
  GuestNetwork network;
  UniqueFd user_namespace;
  UniqueFd network_namespace;
};

/// Guest-side thread.
[[nodiscard]] Result<GuestSide> build_guest_side(const TranslatorIsolationPlan& plan,
                                                 const GuestNetworkPlan& network);
[[nodiscard]] Status restrict_guest_side(const TranslatorIsolationPlan& plan);

/// Main thread, when the guest side was built: steps 6 and 7. `used_chroot`: see
/// enter_empty_root().
[[nodiscard]] Status leave_file_system(const TranslatorIsolationPlan& plan,
                                       SelfCheckHandles& handles, bool& used_chroot);

/// Main thread, when everything is open, and before it starts the relays: steps 9 to 13.
[[nodiscard]] Status restrict_main(const TranslatorIsolationPlan& plan);
/// Each relay, on its thread: a table of descriptors of its own, with `kept` and 0 to 2, and a look
/// at whether it has inherited what it should.
[[nodiscard]] Status isolate_relay(const TranslatorIsolationPlan& plan, std::vector<int> kept);
/// Main thread, when all threads exist: steps 14 to 16.
[[nodiscard]] Status seal(const TranslatorIsolationPlan& plan, SelfCheckHandles handles);

}  // namespace cordon
