// Who waits for what is typed: /proc/PID/task/TID/syscall says in which call a thread sleeps, and
// what it waits for stands in its arguments: a descriptor, a list of them in its memory, or an
// epoll set, which /proc/PID/fdinfo lists. Where that cannot be seen, having the terminal open is
// enough.
#include <algorithm>
#include <array>
#include <charconv>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <optional>
#include <poll.h>
#include <span>
#include <sstream>
#include <string>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "launcher/terminal/terminal_prompt.h"
#include "launcher/text_file.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {
namespace {

constexpr std::size_t kMostThreads = 512;
constexpr std::uint64_t kMostPolled = 1024;

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

// /dev/tty is whichever terminal its reader's session has.
constexpr dev_t kControllingTerminal = 5U << 8U;  // makedev(5, 0)

bool is_terminal(pid_t pid, std::uint64_t descriptor, dev_t tty) {
  struct stat status {};
  const std::string path = fmt::format("/proc/{}/fd/{}", pid, descriptor);
  return ::stat(path.c_str(), &status) == 0 && S_ISCHR(status.st_mode) &&
         (status.st_rdev == tty || status.st_rdev == kControllingTerminal);
}

bool has_terminal(pid_t pid, dev_t tty) {
  const auto descriptors = numbers_in(fmt::format("/proc/{}/fd", pid));
  if (!descriptors) return true;
  return std::ranges::any_of(
      *descriptors, [&](std::uint64_t descriptor) { return is_terminal(pid, descriptor, tty); });
}

/// A call that a thread sleeps in, as /proc/PID/task/TID/syscall has it.
struct Sleep {
  long call = -1;
  std::array<std::uint64_t, 2> arguments{};
};

/// nullopt: it runs, or waits for nothing that has a number.
std::optional<Sleep> sleep_of(const std::string& thread, bool& is_readable) {
  std::istringstream words(read_text_file(thread + "/syscall"));
  std::string first;
  words >> first;
  is_readable = !first.empty();
  if (!is_readable || first == "running" || first == "-1") return std::nullopt;
  Sleep sleep;
  std::from_chars(first.data(), first.data() + first.size(), sleep.call);
  for (std::uint64_t& argument : sleep.arguments) {
    std::string word;
    words >> word;
    const std::size_t digits = word.starts_with("0x") ? 2 : 0;
    std::from_chars(word.data() + digits, word.data() + word.size(), argument, 16);
  }
  return sleep;
}

/// The octets at `address` of the process's memory; false where they cannot be read.
bool read_memory(pid_t pid, std::uint64_t address, std::span<char> octets) {
  const UniqueFd memory(::open(fmt::format("/proc/{}/mem", pid).c_str(), O_RDONLY | O_CLOEXEC));
  return memory.is_open() && ::pread(memory.get(), octets.data(), octets.size(),
                                     static_cast<off_t>(address)) == std::ssize(octets);
}

bool polls_terminal(pid_t pid, const Sleep& sleep, dev_t tty) {
  const auto [address, count] = sleep.arguments;
  if (count > kMostPolled) return has_terminal(pid, tty);
  std::vector<pollfd> polled(count);
  const std::span<char> octets(reinterpret_cast<char*>(polled.data()), count * sizeof(pollfd));
  if (!octets.empty() && !read_memory(pid, address, octets)) return has_terminal(pid, tty);
  return std::ranges::any_of(polled, [&](const pollfd& one) {
    return one.fd >= 0 && (one.events & POLLIN) != 0 &&
           is_terminal(pid, static_cast<std::uint64_t>(one.fd), tty);
  });
}

bool selects_terminal(pid_t pid, const Sleep& sleep, dev_t tty) {
  const auto [count, address] = sleep.arguments;
  if (address == 0 || count == 0) return false;
  if (count > kMostPolled) return has_terminal(pid, tty);
  std::vector<char> bits((count + 63) / 64 * 8);
  if (!read_memory(pid, address, bits)) return has_terminal(pid, tty);
  for (std::uint64_t descriptor = 0; descriptor < count; ++descriptor) {
    const bool is_set = (static_cast<unsigned char>(bits[descriptor / 8]) >> (descriptor % 8)) & 1;
    if (is_set && is_terminal(pid, descriptor, tty)) return true;
  }
  return false;
}

bool epolls_terminal(pid_t pid, const Sleep& sleep, dev_t tty) {
  // A line for each that is watched: "tfd:        0 events:       19 data: ...".
  std::istringstream lines(
      read_text_file(fmt::format("/proc/{}/fdinfo/{}", pid, sleep.arguments[0])));
  bool is_known = false;
  for (std::string line; std::getline(lines, line);) {
    is_known = true;
    std::istringstream words(line);
    std::string label;
    std::uint64_t descriptor = 0;
    std::string events_label;
    std::uint32_t events = 0;
    words >> label;
    if (label != "tfd:") continue;
    words >> descriptor >> events_label >> std::hex >> events;
    if ((events & EPOLLIN) != 0 && is_terminal(pid, descriptor, tty)) return true;
  }
  return !is_known && has_terminal(pid, tty);
}

bool thread_awaits(pid_t pid, const std::string& thread, dev_t tty) {
  bool is_readable = false;
  const std::optional<Sleep> sleep = sleep_of(thread, is_readable);
  if (!sleep) return !is_readable && has_terminal(pid, tty);
  switch (sleep->call) {
    case SYS_read:
    case SYS_readv:
      return is_terminal(pid, sleep->arguments[0], tty);
#ifdef SYS_poll
    case SYS_poll:
      return polls_terminal(pid, *sleep, tty);
    case SYS_select:
      return selects_terminal(pid, *sleep, tty);
    case SYS_epoll_wait:
      return epolls_terminal(pid, *sleep, tty);
#endif
    case SYS_ppoll:
      return polls_terminal(pid, *sleep, tty);
    case SYS_pselect6:
      return selects_terminal(pid, *sleep, tty);
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
      return epolls_terminal(pid, *sleep, tty);
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
