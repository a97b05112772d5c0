#include "launcher/control/control_folder.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/path_error.h"

namespace cordon {
namespace {

constexpr std::string_view kSuffix = ".sock";
constexpr int kBacklog = 16;
constexpr int kMostNumbers = 10'000;
constexpr int kLockTries = 100;
constexpr timespec kLockPause{.tv_sec = 0, .tv_nsec = 10'000'000};

bool is_directory_of(const std::string& path, uid_t uid) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == uid;
}

// By way of the folder's descriptor: a socket's address has room for 107 octets of path.
Result<sockaddr_un> address_of(const UniqueFd& folder, const std::string& id) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = fmt::format("/proc/self/fd/{}/{}{}", folder.get(), id, kSuffix);
  if (path.size() >= sizeof(address.sun_path)) return errno_error(ENAMETOOLONG, id);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

const sockaddr* as_sockaddr(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

bool is_number(const std::string& id) {
  return std::ranges::all_of(id, [](char c) { return c >= '0' && c <= '9'; });
}

bool comes_before(const std::string& one, const std::string& other) {
  if (is_number(one) != is_number(other)) return is_number(one);
  if (is_number(one) && one.size() != other.size()) return one.size() < other.size();
  return one < other;
}

// Names are given and stale sockets removed by one launcher at a time.
class FolderLock {
 public:
  explicit FolderLock(const UniqueFd& folder) : folder_(folder) {
    for (int i = 0; i < kLockTries && !is_held_; ++i) {
      is_held_ = ::flock(folder_.get(), LOCK_EX | LOCK_NB) == 0;
      if (!is_held_) ::nanosleep(&kLockPause, nullptr);
    }
  }
  ~FolderLock() {
    if (is_held_) ::flock(folder_.get(), LOCK_UN);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  [[nodiscard]] bool is_held() const { return is_held_; }

 private:
  const UniqueFd& folder_;
  bool is_held_ = false;
};

}  // namespace

bool is_sandbox_name(std::string_view name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  return !name.empty() && name.size() <= kLongestSandboxName && name.front() != '-' &&
         name.front() != '.' && std::ranges::all_of(name, is_allowed);
}

Result<std::string> ControlFolder::path_for(const char* runtime_directory, uid_t uid) {
  const bool is_given = runtime_directory != nullptr && runtime_directory[0] == '/';
  // Another user's runtime directory is what `sudo -E` leaves in the environment.
  if (is_given && is_directory_of(runtime_directory, uid)) {
    return std::string(runtime_directory) + "/cordon";
  }
  if (uid == 0) return std::string("/run/cordon");
  const std::string usual = fmt::format("/run/user/{}", uid);
  if (is_directory_of(usual, uid)) return usual + "/cordon";
  if (is_given) {
    return plain_error(
        fmt::format("XDG_RUNTIME_DIR={}: not a directory of yours; set it to one, for example: "
                    "mkdir -m 700 /tmp/run-{} && export XDG_RUNTIME_DIR=/tmp/run-{}",
                    runtime_directory, uid, uid));
  }
  return plain_error(
      fmt::format("XDG_RUNTIME_DIR is not set and {} is not there; set it to a directory of "
                  "yours, for example: mkdir -m 700 /tmp/run-{} && export "
                  "XDG_RUNTIME_DIR=/tmp/run-{}",
                  usual, uid, uid));
}

Result<ControlFolder> ControlFolder::open() {
  CORDON_TRY(const std::string path, path_for(std::getenv("XDG_RUNTIME_DIR"), ::geteuid()));
  return open_at(path);
}

Result<ControlFolder> ControlFolder::open_at(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return path_error(errno, path, PathUse::kWrite);
  }
  UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.is_open() && (errno == ENOTDIR || errno == ELOOP)) {
    return plain_error(fmt::format("{}: it is not a folder, and has to be; remove it", path));
  }
  if (!folder.is_open()) return path_error(errno, path, PathUse::kRead);
  struct stat status {};
  if (::fstat(folder.get(), &status) != 0) return errno_error("stat " + path);
  if (status.st_uid != ::geteuid()) {
    return plain_error(
        fmt::format("{} belongs to another user; remove it, or set "
                    "XDG_RUNTIME_DIR to a directory of yours",
                    path));
  }
  // Ours, and nobody else has been told of it yet.
  if ((status.st_mode & 07777) != 0700 && ::fchmod(folder.get(), 0700) != 0) {
    return errno_error("chmod 700 " + path);
  }
  return ControlFolder(path, std::move(folder));
}

bool ControlFolder::is_free(const std::string& id) const {
  const std::string file = id + std::string(kSuffix);
  if (::faccessat(folder_.get(), file.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) != 0) return true;
  const Result<UniqueFd> living = connect(id);
  if (living || living.error().code == EAGAIN) return false;
  return ::unlinkat(folder_.get(), file.c_str(), 0) == 0;
}

Result<ControlFolder::Bound> ControlFolder::bind(const std::string& name) const {
  const FolderLock lock(folder_);
  if (!lock.is_held()) {
    return plain_error(fmt::format(
        "{0}: another cordon holds it locked; try again (to see which: fuser {0})", path_));
  }
  std::string id = name;
  bool is_ours = !id.empty() && is_free(id);
  for (int number = 1; name.empty() && !is_ours && number <= kMostNumbers; ++number) {
    id = std::to_string(number);
    is_ours = is_free(id);
  }
  if (!is_ours) {
    return plain_error(
        fmt::format("--name {}: a sandbox of that name runs already; `cordon ps` lists them", id));
  }
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return errno_error("control socket");
  // The file gets the socket's mode, so that there is no moment in which it has another.
  if (::fchmod(socket.get(), 0600) != 0) return errno_error("control socket: chmod");
  CORDON_TRY(const sockaddr_un address, address_of(folder_, id));
  if (::bind(socket.get(), as_sockaddr(address), sizeof(address)) != 0) {
    const std::string file = fmt::format("{}/{}{}", path_, id, kSuffix);
    return path_error(errno, file, PathUse::kWrite);
  }
  if (::listen(socket.get(), kBacklog) != 0) return errno_error("control socket: listen");
  return Bound{.socket = std::move(socket), .id = std::move(id)};
}

void ControlFolder::remove(const std::string& id) const {
  const std::string file = id + std::string(kSuffix);
  ::unlinkat(folder_.get(), file.c_str(), 0);
}

Result<UniqueFd> ControlFolder::connect(const std::string& id) const {
  if (!is_sandbox_name(id)) {
    return plain_error(fmt::format("'{}' is not a sandbox's ID; `cordon ps` lists them", id));
  }
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return errno_error("socket");
  CORDON_TRY(const sockaddr_un address, address_of(folder_, id));
  if (::connect(socket.get(), as_sockaddr(address), sizeof(address)) == 0) return socket;
  // EAGAIN: it lives, and more are waiting than it takes at once.
  if (errno == EAGAIN) return errno_error(fmt::format("sandbox {} is busy; try again", id));
  return plain_error(fmt::format("no sandbox {} runs here; `cordon ps` lists those that do", id));
}

std::vector<std::string> ControlFolder::list() const {
  std::vector<std::string> ids;
  // The descriptor is given away to the stream, and has a position of its own.
  const int copy = ::openat(folder_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return ids;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(copy), ::closedir);
  if (stream == nullptr) return ids;
  while (const dirent* const entry = ::readdir(stream.get())) {
    const std::string_view name(entry->d_name);
    if (!name.ends_with(kSuffix)) continue;
    const std::string_view id = name.substr(0, name.size() - kSuffix.size());
    if (is_sandbox_name(id)) ids.emplace_back(id);
  }
  std::ranges::sort(ids, comes_before);
  return ids;
}

}  // namespace cordon
