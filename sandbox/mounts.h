// What translator and guest see of the file system.
//
// The translator sees nothing: an empty, read-only root. The guest sees the user's own files
// (cordon isolates the network, not the disk) with a few mounts of ours on top, so that no name
// service of the host is asked behind our back. Contents of ours live in a private tmpfs and are
// bound over the file that they replace; nothing is written to the disk.
//
// The calling process must be in a mount namespace of its own, owned by its user namespace.
#pragma once

#include <string>
#include <vector>

#include "netstack/base/result.h"

namespace cordon {

/// An empty root, read-only, without the old one below it. `used_chroot` tells that pivot_root(2)
/// was refused (as in some containers) and the old root is still mounted, out of reach of whoever
/// has no CAP_SYS_CHROOT and no descriptor of it.
[[nodiscard]] Status enter_empty_root(bool& used_chroot);

/// Nothing mounted from here on shows outside; what the host mounts still shows here.
[[nodiscard]] Status stop_mount_propagation();

/// A file of ours to be seen at `path`, whatever that is now: a file, a symbolic link into a hidden
/// directory, dangling, or missing.
struct MountedContent {
  std::string path;
  std::string content;
};

/// Hides `hidden` (those that exist) behind empty directories, then places `contents`.
[[nodiscard]] Status place_contents(const std::vector<std::string>& hidden,
                                    const std::vector<MountedContent>& contents);

/// /proc of the calling process's pid namespace.
[[nodiscard]] Status mount_own_proc();

/// Makes the kernel's settings below /proc read-only. They are guarded by uid 0 and not by
/// capabilities, so a guest of the host's root could write them. A program that mounts a /proc of
/// its own in a nested namespace cannot do so below this.
[[nodiscard]] Status protect_kernel_settings();

/// /sys of the calling process's network namespace, read-only, the control groups as they were.
/// Where the kernel refuses it (a container whose /sys is masked) the old one stays: it shows the
/// names of the host's links and lets nothing be done to them.
[[nodiscard]] Status mount_own_sys();

}  // namespace cordon
