// Watching the host's /etc/resolv.conf.
//
// The file is watched by name and not by inode, because those who write it do it in three ways: in
// place (an editor), by renaming a new file over it (NetworkManager, resolvconf), or by pointing
// the symbolic link elsewhere (systemd-resolved, a VPN's script). So every directory on the way,
// from /etc to the directory of the last target, is watched for changes of the name that matters
// there, and the watches are laid anew after each change. The file itself is watched too: where it
// is a bind mount, as in containers, who writes it goes by another directory. Writers make several
// events of one change: the file is read 50 ms after the first one, and a list is told only where
// it differs from the one before.
//
// The watches are laid when the command has run for a second: most commands have ended by then, and
// taking a watch down makes the end of the process wait for the kernel (15 ms and more, an SRCU
// grace period). What changed in that second is read then.
//
// One descriptor to the outside, an epoll that holds inotify and a timer; readable when there is
// something to do. Interfaces and routes are not watched here: the translator asks the host's FIB
// for every flow and has its own monitor.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launcher/host/resolv_conf.h"
#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

class HostWatch {
 public:
  /// Reads the file, and watches it from `first_watch` on. Fails only where the kernel has no
  /// inotify instance left for this user.
  [[nodiscard]] static Result<std::unique_ptr<HostWatch>> open(
      std::filesystem::path resolv_conf = "/etc/resolv.conf",
      std::chrono::nanoseconds first_watch = std::chrono::seconds(1));

  /// Readable when on_readable() is to be called.
  [[nodiscard]] int fd() const { return epoll_.get(); }

  /// The new list of servers where it differs from the last one told; may be empty.
  [[nodiscard]] std::optional<std::vector<Endpoint>> on_readable();

  /// What the file said last.
  [[nodiscard]] const ResolvConf& current() const { return current_; }

 private:
  explicit HostWatch(std::filesystem::path path) : path_(std::move(path)) {}
  [[nodiscard]] bool set_timer(std::chrono::nanoseconds delay);
  void lay_watches();

  std::filesystem::path path_;
  UniqueFd epoll_;
  UniqueFd inotify_;
  UniqueFd timer_;
  std::vector<int> watches_;
  ResolvConf current_;
};

}  // namespace cordon
