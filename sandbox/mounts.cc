#include "sandbox/mounts.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <string_view>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

#include <climits>

#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {
namespace {

constexpr unsigned long kNothingSpecial = MS_NOSUID | MS_NODEV | MS_NOEXEC;

// A directory that every system has and that is mounted anew afterwards: what stands here while
// files are prepared disturbs nobody.
constexpr const char* kStaging = "/proc";

Status mount_tmpfs(const char* where, unsigned long flags, const char* options) {
  if (::mount("tmpfs", where, "tmpfs", flags, options) != 0) {
    return errno_error(std::string("mount tmpfs on ") + where);
  }
  return {};
}

// `path` was resolved before; a link that has come into it since then is refused.
Result<UniqueFd> open_resolved(const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof(how))));
  if (!fd.is_open()) return errno_error("open " + path);
  return fd;
}

Result<UniqueFd> detach_tree(int directory, const char* path, unsigned flags) {
  UniqueFd tree(::open_tree(directory, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags));
  if (!tree.is_open()) return errno_error(std::string("open_tree ") + path);
  return tree;
}

Result<UniqueFd> detach_read_only(const char* path) {
  CORDON_TRY(UniqueFd tree, detach_tree(AT_FDCWD, path, 0));
  mount_attr read_only{.attr_set = MOUNT_ATTR_RDONLY};
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &read_only, sizeof(read_only)) != 0) {
    return errno_error(std::string("read-only ") + path);
  }
  return tree;
}

Status attach_tree(const UniqueFd& tree, const std::string& target) {
  CORDON_TRY(const UniqueFd where, open_resolved(target));
  if (::move_mount(tree.get(), "", where.get(), "",
                   MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    return errno_error("bind on " + target);
  }
  return {};
}

Status write_content(const std::string& path, std::string_view content) {
  const UniqueFd file(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444));
  if (!file.is_open()) return errno_error("create " + path);
  // The caller's umask may have taken the bits away.
  if (::fchmod(file.get(), 0444) != 0) return errno_error("chmod " + path);
  while (!content.empty()) {
    const ssize_t written = ::write(file.get(), content.data(), content.size());
    if (written <= 0) return errno_error("write " + path);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// realpath(3), empty where it does not resolve.
std::string resolve(const std::string& path) {
  std::array<char, PATH_MAX> resolved{};
  return ::realpath(path.c_str(), resolved.data()) == nullptr ? std::string() : resolved.data();
}

// Where a link at `path` leads whose target is not there; empty where that is no link or not
// absolute enough to say.
std::string dangling_target(const std::string& path) {
  std::array<char, PATH_MAX> target{};
  const ssize_t length = ::readlink(path.c_str(), target.data(), target.size() - 1);
  if (length <= 0) return {};
  std::string where(target.data(), static_cast<std::size_t>(length));
  if (where.front() != '/') where = directory_of(path) + "/" + where;
  const std::string directory = resolve(directory_of(where));
  return directory.empty() ? std::string() : directory + "/" + name_of(where);
}

bool is_inside(const std::string& path, const std::vector<std::string>& directories) {
  return std::any_of(directories.begin(), directories.end(), [&](const std::string& directory) {
    return path.starts_with(directory + "/");
  });
}

// A directory in which the file can be made although the real one must not be written to: the same
// entries, and a layer of ours above them that takes the changes.
Status cover_with_writable_layer(const std::string& directory) {
  const std::string staging = kStaging;
  CORDON_TRY_STATUS(mount_tmpfs(kStaging, kNothingSpecial, "mode=0755"));
  const std::string upper = staging + "/upper";
  const std::string work = staging + "/work";
  if (::mkdir(upper.c_str(), 0755) != 0) return errno_error("mkdir " + upper);
  if (::mkdir(work.c_str(), 0755) != 0) return errno_error("mkdir " + work);
  const std::string options =
      "lowerdir=" + directory + ",upperdir=" + upper + ",workdir=" + work + ",userxattr";
  if (::mount("overlay", directory.c_str(), "overlay", MS_NOSUID | MS_NODEV, options.c_str()) !=
      0) {
    return errno_error("mount overlay on " + directory);
  }
  if (::umount2(kStaging, MNT_DETACH) != 0) return errno_error("umount staging");
  return {};
}

// Makes `path` a place that a file can be bound on, and says where that is once links are followed.
Result<std::string> make_target(const std::string& path, const std::vector<std::string>& hidden) {
  if (std::string resolved = resolve(path); !resolved.empty()) return resolved;
  // systemd-resolved's arrangement: the link leads into a directory that was hidden just now.
  if (std::string target = dangling_target(path); !target.empty() && is_inside(target, hidden)) {
    CORDON_TRY_STATUS(write_content(target, {}));
    return target;
  }
  const std::string directory = resolve(directory_of(path));
  if (directory.empty()) return errno_error(ENOENT, directory_of(path));
  CORDON_TRY_STATUS(cover_with_writable_layer(directory));
  const std::string target = directory + "/" + name_of(path);
  if (::unlink(target.c_str()) != 0 && errno != ENOENT) return errno_error("unlink " + target);
  CORDON_TRY_STATUS(write_content(target, {}));
  return target;
}

Result<UniqueFd> detached_content(const MountedContent& content, std::size_t number) {
  const std::string path = std::string(kStaging) + "/" + std::to_string(number);
  CORDON_TRY_STATUS(write_content(path, content.content));
  return detach_read_only(path.c_str());
}

// Every content as a mount that stands nowhere yet. They stay when the staging place goes.
Result<std::vector<UniqueFd>> detached_contents(const std::vector<MountedContent>& contents) {
  CORDON_TRY_STATUS(mount_tmpfs(kStaging, kNothingSpecial, "mode=0755"));
  std::vector<UniqueFd> trees;
  for (const MountedContent& content : contents) {
    CORDON_TRY(UniqueFd tree, detached_content(content, trees.size()));
    trees.push_back(std::move(tree));
  }
  if (::umount2(kStaging, MNT_DETACH) != 0) return errno_error("umount staging");
  return trees;
}

}  // namespace

Status enter_empty_root(bool& used_chroot) {
  used_chroot = false;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_UNBINDABLE, nullptr) != 0) {
    return errno_error("mount / unbindable");
  }
  CORDON_TRY_STATUS(
      mount_tmpfs(kStaging, kNothingSpecial | MS_RDONLY, "mode=0555,nr_inodes=2,size=4k"));
  if (::chdir(kStaging) != 0) return errno_error("chdir");
  if (::syscall(SYS_pivot_root, ".", ".") == 0) {
    if (::umount2(".", MNT_DETACH) != 0) return errno_error("umount the old root");
  } else {
    if (errno != EINVAL && errno != EPERM) return errno_error("pivot_root");
    if (::chroot(".") != 0) return errno_error("chroot");
    used_chroot = true;
  }
  if (::chdir("/") != 0) return errno_error("chdir /");
  return {};
}

Status stop_mount_propagation() {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
    return errno_error("mount / slave");
  }
  // A program with file capabilities (ping, in Debian) is refused by execve(2) where the bounding
  // set lacks them; on a nosuid mount they are not looked at, and it runs as any other program
  // does.
  mount_attr without_privileges{.attr_set = MOUNT_ATTR_NOSUID};
  if (::mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &without_privileges,
                      sizeof(without_privileges)) != 0) {
    return errno_error("mount / nosuid");
  }
  return {};
}

Status place_contents(const std::vector<std::string>& hidden,
                      const std::vector<MountedContent>& contents) {
  std::vector<std::string> covered;
  for (const std::string& path : hidden) {
    const std::string directory = resolve(path);
    if (directory.empty()) continue;
    CORDON_TRY_STATUS(mount_tmpfs(directory.c_str(), kNothingSpecial, "mode=0755"));
    covered.push_back(directory);
  }
  CORDON_TRY(const std::vector<UniqueFd> trees, detached_contents(contents));
  for (std::size_t i = 0; i < contents.size(); ++i) {
    CORDON_TRY(const std::string target, make_target(contents[i].path, covered));
    CORDON_TRY_STATUS(attach_tree(trees[i], target));
  }
  return {};
}

Status mount_own_proc() {
  if (::mount("proc", "/proc", "proc", kNothingSpecial, nullptr) != 0) {
    return errno_error("mount proc");
  }
  return {};
}

Status protect_kernel_settings() {
  for (const char* const path :
       {"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"}) {
    if (::access(path, F_OK) != 0) continue;
    CORDON_TRY(const UniqueFd tree, detach_read_only(path));
    CORDON_TRY_STATUS(attach_tree(tree, path));
  }
  return {};
}

Status mount_own_sys() {
  constexpr const char* kControlGroups = "/sys/fs/cgroup";
  const Result<UniqueFd> groups = detach_tree(AT_FDCWD, kControlGroups, AT_RECURSIVE);
  if (::mount("sysfs", "/sys", "sysfs", kNothingSpecial | MS_RDONLY, nullptr) != 0) {
    return errno == EPERM ? Status() : errno_error("mount sysfs");
  }
  return groups ? attach_tree(*groups, kControlGroups) : Status();
}

}  // namespace cordon
