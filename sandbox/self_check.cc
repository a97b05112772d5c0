#include "sandbox/self_check.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <string>
#include <string_view>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <climits>

#include "sandbox/capabilities.h"

namespace cordon {
namespace {

// How the kernel's own event files read in /proc/self/fd.
constexpr std::array<std::string_view, 4> kEventFiles{
    "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[timerfd]",
    "anon_inode:[signalfd]"};

// Linux's Documentation/admin-guide/devices.txt.
bool is_permitted_device(dev_t device) {
  return device == makedev(1, 3) /* null */ || device == makedev(10, 200) /* net/tun */;
}

Result<UniqueFd> open_directory(const char* path) {
  UniqueFd fd(::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.is_open()) return errno_error(std::string("open ") + path);
  return fd;
}

// Of a copy: the DIR that reads a descriptor owns it.
Result<std::vector<std::string>> entries_of(const UniqueFd& opened) {
  struct Close {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  UniqueFd copy(::fcntl(opened.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy.is_open()) return errno_error("dup");
  const std::unique_ptr<DIR, Close> directory(::fdopendir(copy.get()));
  if (!directory) return errno_error("fdopendir");
  (void)copy.release();
  std::vector<std::string> names;
  while (const dirent* const entry = ::readdir(directory.get())) {
    const std::string_view name = static_cast<const char*>(entry->d_name);
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

bool is_event_file(int directory, const std::string& name) {
  std::array<char, PATH_MAX> target{};
  if (::readlinkat(directory, name.c_str(), target.data(), target.size() - 1) < 0) return false;
  return std::find(kEventFiles.begin(), kEventFiles.end(), std::string_view(target.data())) !=
         kEventFiles.end();
}

Status check_kind(int directory, const std::string& name) {
  int descriptor = -1;
  if (std::from_chars(name.data(), name.data() + name.size(), descriptor).ec != std::errc()) {
    return plain_error("descriptor " + name + " has no number");
  }
  struct stat kind {};
  if (::fstat(descriptor, &kind) != 0) {
    // The copy that the listing itself was read by is gone by now.
    return errno == EBADF ? Status() : errno_error("stat descriptor " + name);
  }
  const bool is_device = S_ISCHR(kind.st_mode) && is_permitted_device(kind.st_rdev);
  if (S_ISSOCK(kind.st_mode) || S_ISFIFO(kind.st_mode) || is_device) return {};
  if (is_event_file(directory, name)) return {};
  return plain_error("descriptor " + name + " is of a kind that is not wanted");
}

Status check_descriptors(const SelfCheckHandles& handles) {
  CORDON_TRY(const std::vector<std::string> names, entries_of(handles.descriptors));
  for (const std::string& name : names) {
    const bool is_ours = name == std::to_string(handles.descriptors.get()) ||
                         name == std::to_string(handles.threads.get()) ||
                         name == std::to_string(handles.root.get());
    if (!is_ours) CORDON_TRY_STATUS(check_kind(handles.descriptors.get(), name));
  }
  return {};
}

}  // namespace

Result<SelfCheckHandles> open_self_check() {
  SelfCheckHandles handles;
  CORDON_TRY(handles.descriptors, open_directory("/proc/self/fd"));
  CORDON_TRY(handles.threads, open_directory("/proc/self/task"));
  return handles;
}

Status open_checked_root(SelfCheckHandles& handles) {
  CORDON_TRY(handles.root, open_directory("/"));
  return {};
}

Status self_check(SelfCheckHandles handles, unsigned threads) {
  CORDON_TRY_STATUS(check_capabilities(KeptCapabilities::kNetAdmin));
  CORDON_TRY(const std::vector<std::string> tasks, entries_of(handles.threads));
  if (tasks.size() != threads) return plain_error(std::to_string(tasks.size()) + " threads");
  CORDON_TRY(const std::vector<std::string> root, entries_of(handles.root));
  if (!root.empty()) return plain_error("the root is not empty");
  if (::prctl(PR_GET_DUMPABLE) != 0) return plain_error("the process is dumpable");
  return check_descriptors(handles);
}

}  // namespace cordon
