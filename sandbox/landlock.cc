#include "sandbox/landlock.h"

#include <cerrno>
#include <cstdint>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {
namespace {

// The layout of ABI 6; kernels with an older one accept the bigger structure as long as what they
// do not know is zero. Not from the header, which may be older than the kernel.
struct RulesetAttributes {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;
  std::uint64_t scoped = 0;
};

constexpr std::uint64_t kFirstAbiRights = (std::uint64_t{1} << 13) - 1;  // EXECUTE … MAKE_SYM
constexpr std::uint64_t kRefer = std::uint64_t{1} << 13;                 // ABI 2
constexpr std::uint64_t kTruncate = std::uint64_t{1} << 14;              // ABI 3
constexpr std::uint64_t kIoctlDevice = std::uint64_t{1} << 15;           // ABI 5
constexpr std::uint64_t kScopeAbstractUnixSocket = 1;                    // ABI 6
constexpr std::uint64_t kScopeSignal = 2;                                // ABI 6

RulesetAttributes everything_known_to(long abi) {
  RulesetAttributes attributes{.handled_access_fs = kFirstAbiRights};
  if (abi >= 2) attributes.handled_access_fs |= kRefer;
  if (abi >= 3) attributes.handled_access_fs |= kTruncate;
  // The tap needs no ioctl after set-up, and the filter lets none through.
  if (abi >= 5) attributes.handled_access_fs |= kIoctlDevice;
  if (abi >= 6) attributes.scoped = kScopeAbstractUnixSocket | kScopeSignal;
  return attributes;
}

}  // namespace

Status forbid_all_files() {
  const long abi =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 0) {
    if (errno == ENOSYS || errno == EOPNOTSUPP) return {};
    return errno_error("landlock_create_ruleset");
  }
  const RulesetAttributes attributes = everything_known_to(abi);
  const UniqueFd ruleset(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0)));
  if (!ruleset.is_open()) return errno_error("landlock_create_ruleset");
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {
    return errno_error("landlock_restrict_self");
  }
  return {};
}

}  // namespace cordon
