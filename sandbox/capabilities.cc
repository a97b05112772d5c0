#include "sandbox/capabilities.h"

#include <array>
#include <cstdint>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cap-ng.h>

namespace cordon {
namespace {

// Each with its lock. KEEP_CAPS stays clear; it is locked so only where a capability is left that
// it could keep: ping and its like set it on their way to dropping what they have, and end if they
// may not.
constexpr unsigned long securebits_for(KeptCapabilities kept) {
  constexpr unsigned long kAlways = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                    SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
                                    SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  return kept == KeptCapabilities::kNetAdmin ? kAlways | SECBIT_KEEP_CAPS_LOCKED : kAlways;
}

constexpr int kNoCapability = -1;

constexpr int capability_of(KeptCapabilities kept) {
  switch (kept) {
    case KeptCapabilities::kNone:
      return kNoCapability;
    case KeptCapabilities::kNetAdmin:
      return CAP_NET_ADMIN;
    case KeptCapabilities::kSetFileCapabilities:
      return CAP_SETFCAP;
  }
  return kNoCapability;
}

constexpr bool is_for_execution(KeptCapabilities kept) {
  return kept == KeptCapabilities::kSetFileCapabilities;
}

constexpr auto kInUse = static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED);
constexpr auto kInUseAndInherited =
    static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE);

// While the thread has every capability and may still raise.
Status raise_ambient(int capability) {
  ::capng_setpid(0);
  ::capng_clear(CAPNG_SELECT_CAPS);
  ::capng_fill(CAPNG_SELECT_CAPS);
  if (::capng_update(CAPNG_ADD, CAPNG_INHERITABLE, static_cast<unsigned>(capability)) != 0) {
    return plain_error("capng_update");
  }
  if (::capng_apply(CAPNG_SELECT_CAPS) != 0) return errno_error("capset");
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0) {
    return errno_error("PR_CAP_AMBIENT_RAISE");
  }
  return {};
}

// The bounding set's end: PR_CAPBSET_READ fails with EINVAL beyond the kernel's last capability.
constexpr int kCapabilityCeiling = 64;

}  // namespace

Status restrict_capabilities(KeptCapabilities kept) {
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    return errno_error("PR_CAP_AMBIENT_CLEAR_ALL");
  }
  const int capability_kept = capability_of(kept);
  if (is_for_execution(kept)) CORDON_TRY_STATUS(raise_ambient(capability_kept));
  if (::prctl(PR_SET_SECUREBITS, securebits_for(kept)) != 0) {
    return errno_error("PR_SET_SECUREBITS");
  }
  // By prctl and not by the library, which reads the set from /proc: there is none by now.
  for (int capability = 0; capability < kCapabilityCeiling; ++capability) {
    if (::prctl(PR_CAPBSET_READ, capability) < 0) break;
    if (::prctl(PR_CAPBSET_DROP, capability) != 0) return errno_error("PR_CAPBSET_DROP");
  }
  ::capng_setpid(0);
  ::capng_clear(CAPNG_SELECT_CAPS);
  if (capability_kept != kNoCapability &&
      ::capng_update(CAPNG_ADD, is_for_execution(kept) ? kInUseAndInherited : kInUse,
                     static_cast<unsigned>(capability_kept)) != 0) {
    return plain_error("capng_update");
  }
  if (::capng_apply(CAPNG_SELECT_CAPS) != 0) return errno_error("capset");
  return {};
}

Status check_capabilities(KeptCapabilities kept) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return errno_error("capget");
  const int capability_kept = capability_of(kept);
  const std::uint32_t wanted =
      capability_kept == kNoCapability ? 0 : std::uint32_t{1} << capability_kept;
  const std::uint32_t inherited = is_for_execution(kept) ? wanted : 0;
  const bool is_exact = sets[0].effective == wanted && sets[0].permitted == wanted &&
                        sets[0].inheritable == inherited && sets[1].effective == 0 &&
                        sets[1].permitted == 0 && sets[1].inheritable == 0;
  if (!is_exact) return plain_error("capabilities are left");
  for (int capability = 0; capability < kCapabilityCeiling; ++capability) {
    const int is_bounded = ::prctl(PR_CAPBSET_READ, capability);
    if (is_bounded < 0) break;
    if (is_bounded > 0) return plain_error("the bounding set is not empty");
    const bool is_ambient = ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0) == 1;
    if (is_ambient != (is_for_execution(kept) && capability == capability_kept)) {
      return plain_error("the ambient set is not as set");
    }
  }
  if (::prctl(PR_GET_SECUREBITS) != static_cast<int>(securebits_for(kept))) {
    return plain_error("securebits are not as set");
  }
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return plain_error("no_new_privs is not set");
  return {};
}

Status set_no_new_privileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno_error("PR_SET_NO_NEW_PRIVS");
  return {};
}

}  // namespace cordon
