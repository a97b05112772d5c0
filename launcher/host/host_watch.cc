#include "launcher/host/host_watch.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <system_error>
#include <unistd.h>

#include "launcher/text_file.h"

namespace cordon {
namespace {

constexpr std::chrono::milliseconds kSettle(50);
// Deeper chains of links than this are loops (the kernel's own limit is 40).
constexpr int kMaxLinks = 16;

constexpr std::uint32_t kDirectoryEvents = IN_CLOSE_WRITE | IN_MODIFY | IN_CREATE | IN_DELETE |
                                           IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR;

constexpr std::uint32_t kFileEvents =
    IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF;

/// The directories in which a change may change what `path` reads as: its own, and those of every
/// link's target. Where a directory is missing, its nearest existing parent, so that it is seen
/// coming.
std::vector<std::filesystem::path> directories_on_the_way(std::filesystem::path path) {
  std::vector<std::filesystem::path> directories;
  for (int links = 0; links < kMaxLinks; ++links) {
    std::error_code error;
    std::filesystem::path directory = path.parent_path();
    while (!std::filesystem::is_directory(directory, error) && directory.has_relative_path()) {
      directory = directory.parent_path();
    }
    if (std::find(directories.begin(), directories.end(), directory) == directories.end()) {
      directories.push_back(directory);
    }
    const std::filesystem::path target = std::filesystem::read_symlink(path, error);
    if (error) break;
    path = (path.parent_path() / target).lexically_normal();
  }
  return directories;
}

bool add_to_epoll(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

/// Empties a non-blocking descriptor whose content does not matter; true where there was any.
bool drain(int fd) {
  alignas(inotify_event) std::array<char, 4096> buffer;
  bool had_any = false;
  while (::read(fd, buffer.data(), buffer.size()) > 0) had_any = true;
  return had_any;
}

}  // namespace

Result<std::unique_ptr<HostWatch>> HostWatch::open(std::filesystem::path resolv_conf,
                                                   std::chrono::nanoseconds first_watch) {
  std::unique_ptr<HostWatch> watch(new HostWatch(std::move(resolv_conf)));
  watch->inotify_.reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!watch->inotify_.is_open()) {
    return errno_error("watch " + watch->path_.string() +
                       ": inotify_init1 (fs.inotify.max_user_instances may be too low)");
  }
  watch->timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!watch->timer_.is_open()) return errno_error("timerfd_create");
  watch->epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!watch->epoll_.is_open()) return errno_error("epoll_create1");
  if (!add_to_epoll(watch->epoll_.get(), watch->inotify_.get()) ||
      !add_to_epoll(watch->epoll_.get(), watch->timer_.get())) {
    return errno_error("epoll_ctl");
  }
  // Watches come before a reading: a change in between is then an event and not lost.
  if (first_watch.count() == 0) {
    watch->lay_watches();
  } else if (!watch->set_timer(first_watch)) {
    return errno_error("timerfd_settime");
  }
  watch->current_ = parse_resolv_conf(read_text_file(watch->path_));
  return watch;
}

bool HostWatch::set_timer(std::chrono::nanoseconds delay) {
  itimerspec time{};
  time.it_value.tv_sec = delay.count() / 1'000'000'000;
  time.it_value.tv_nsec = delay.count() % 1'000'000'000;
  return ::timerfd_settime(timer_.get(), 0, &time, nullptr) == 0;
}

void HostWatch::lay_watches() {
  std::vector<int> fresh;
  // What cannot be watched (not there, no permission, limit reached) costs promptness only.
  const auto add = [&](const std::filesystem::path& path, std::uint32_t events) {
    const int watch = ::inotify_add_watch(inotify_.get(), path.c_str(), events);
    if (watch >= 0) fresh.push_back(watch);
  };
  for (const auto& directory : directories_on_the_way(path_)) add(directory, kDirectoryEvents);
  add(path_, kFileEvents);
  for (const int old : watches_) {
    if (std::find(fresh.begin(), fresh.end(), old) == fresh.end()) {
      ::inotify_rm_watch(inotify_.get(), old);
    }
  }
  watches_ = std::move(fresh);
}

std::optional<std::vector<Endpoint>> HostWatch::on_readable() {
  if (drain(inotify_.get())) {
    itimerspec settle{};
    ::timerfd_gettime(timer_.get(), &settle);
    // Running already: the reading to come sees this event's change too, and other files' changes
    // in a busy directory do not put it off for ever.
    if (settle.it_value.tv_nsec == 0) (void)set_timer(kSettle);  // Fails for no timer only.
    return std::nullopt;
  }
  if (!drain(timer_.get())) return std::nullopt;
  lay_watches();
  ResolvConf now = parse_resolv_conf(read_text_file(path_));
  const bool is_different = now.servers != current_.servers;
  current_ = std::move(now);
  if (!is_different) return std::nullopt;
  return current_.servers;
}

}  // namespace cordon
