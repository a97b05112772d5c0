// Who waits for what is typed: /proc/PID/task/TID/syscall says in which call a thread sleeps.
#include <algorithm>
#include <charconv>
#include <dirent.h>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <vector>

#include <fmt/format.h>

#include "launcher/host_watch.h"
#include "launcher/terminal_prompt.h"

namespace cordon {
namespace {

constexpr std::size_t kMostThreads = 512;

// nullopt where the directory cannot be read: the process has gone, or is not ours.
std::optional<std::vector<std::uint64_t>> numbers_in(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (directory == nullptr) return std::nullopt;
  std::vector<std::uint64_t> numbers;
  while (const dirent* const entry = ::readdir(directory.get())) {
    const std::string_view name(entry->d_name);
    std::uint64_t number = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
    if (parsed.ec == std::errc{}) numbers.push_back(number);
  }
  return numbers;
}

bool is_terminal(pid_t pid, std::uint64_t descriptor, dev_t tty) {
  struct stat status {};
  const std::string path = fmt::format("/proc/{}/fd/{}", pid, descriptor);
  return ::stat(path.c_str(), &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == tty;
}

bool has_terminal(pid_t pid, dev_t tty) {
  const auto descriptors = numbers_in(fmt::format("/proc/{}/fd", pid));
  if (!descriptors) return true;
  return std::ranges::any_of(
      *descriptors, [&](std::uint64_t descriptor) { return is_terminal(pid, descriptor, tty); });
}

bool thread_awaits(pid_t pid, const std::string& thread, dev_t tty) {
  std::istringstream words(read_text_file(thread + "/syscall"));
  std::string first;
  std::string argument;
  words >> first >> argument;
  if (first == "running" || first == "-1") return false;
  long number = -1;
  const auto parsed = std::from_chars(first.data(), first.data() + first.size(), number);
  if (parsed.ec != std::errc{}) return true;
  switch (number) {
    case SYS_read:
    case SYS_readv: {
      std::uint64_t descriptor = 0;
      if (argument.starts_with("0x")) argument.erase(0, 2);
      std::from_chars(argument.data(), argument.data() + argument.size(), descriptor, 16);
      return is_terminal(pid, descriptor, tty);
    }
#ifdef SYS_poll
    case SYS_poll:
    case SYS_select:
    case SYS_epoll_wait:
#endif
    case SYS_ppoll:
    case SYS_pselect6:
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
    case SYS_io_uring_enter:
      return has_terminal(pid, tty);
    default:
      return false;
  }
}

void add_children(const std::string& thread, std::vector<pid_t>& processes) {
  std::istringstream words(read_text_file(thread + "/children"));
  for (pid_t child = 0; words >> child;) processes.push_back(child);
}

}  // namespace

bool is_terminal_awaited(pid_t guest_init, dev_t tty) {
  std::vector<pid_t> processes{guest_init};
  std::size_t seen = 0;
  for (std::size_t at = 0; at < processes.size(); ++at) {
    const pid_t pid = processes[at];
    const std::string tasks = fmt::format("/proc/{}/task", pid);
    for (const std::uint64_t number : numbers_in(tasks).value_or(std::vector<std::uint64_t>())) {
      if (++seen > kMostThreads) return true;
      const std::string thread = fmt::format("{}/{}", tasks, number);
      add_children(thread, processes);
      if (pid != guest_init && thread_awaits(pid, thread, tty)) return true;
    }
  }
  return false;
}

}  // namespace cordon
