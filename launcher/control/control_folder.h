// Where the control sockets of this user's sandboxes stand: $XDG_RUNTIME_DIR/cordon, or, where that
// is not set, /run/user/UID/cordon; root's is /run/cordon. 0700, and ours: a folder that somebody
// else made or can look into is refused. Inside a sandbox an empty one is mounted over it.
//
// A sandbox's socket is ID.sock. The ID is the name given with --name, or the smallest number that
// is free. Sockets of sandboxes that were killed are found by connecting: nobody listens.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

inline constexpr std::size_t kLongestSandboxName = 32;

/// Letters, digits, '-', '_' and '.', at most 32, not beginning with '-' or '.'.
[[nodiscard]] bool is_sandbox_name(std::string_view name);

class ControlFolder {
 public:
  /// The path, without looking whether it is there. `runtime_directory` is $XDG_RUNTIME_DIR, or
  /// nullptr. The error says what to set.
  [[nodiscard]] static Result<std::string> path_for(const char* runtime_directory, uid_t uid);

  /// This user's folder; made where it is not there.
  [[nodiscard]] static Result<ControlFolder> open();
  [[nodiscard]] static Result<ControlFolder> open_at(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }

  /// A listening socket (non-blocking) for `name`, or for the smallest free number where it is
  /// empty; and the ID. Errors: a living sandbox has that name.
  struct Bound {
    UniqueFd socket;
    std::string id;
  };
  [[nodiscard]] Result<Bound> bind(const std::string& name) const;
  void remove(const std::string& id) const;

  /// A connection to that sandbox. Errors: none of that name lives.
  [[nodiscard]] Result<UniqueFd> connect(const std::string& id) const;
  /// All whose sockets stand here, living or not; numbers by size, then names.
  [[nodiscard]] std::vector<std::string> list() const;

 private:
  ControlFolder(std::string path, UniqueFd folder)
      : path_(std::move(path)), folder_(std::move(folder)) {}
  [[nodiscard]] bool is_free(const std::string& id) const;

  std::string path_;
  UniqueFd folder_;
};

}  // namespace cordon
