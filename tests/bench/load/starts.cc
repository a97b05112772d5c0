// How long a command takes from its start to its end, again and again; and the CPU time of it and
// of all that it has waited for, which a busy machine does not change.
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "tests/bench/load/sockets.h"

namespace cordon::bench {
namespace {

double milliseconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3;
}

}  // namespace

// starts --count N -- COMMAND…
int load_starts(const Options& options) {
  std::vector<std::string> command = options.command();
  std::vector<char*> words;
  words.reserve(command.size() + 1);
  for (std::string& word : command) words.push_back(word.data());
  if (words.empty()) die_plainly("no command");
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // Nothing is said to a terminal, and what the command says is not ours to tell.
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  Latencies latencies;
  std::string all;
  std::string cpu;
  for (int i = 0; i < options.integer("count", 5); ++i) {
    const std::int64_t start = now_ns();
    pid_t pid = 0;
    errno = posix_spawnp(&pid, words.front(), &actions, nullptr, words.data(), environ);
    if (errno != 0) die(words.front());
    int status = 0;
    rusage used{};
    must(wait4(pid, &status, 0, &used), "wait4");
    const std::int64_t end = now_ns();
    if (status != 0) die_plainly(fmt::format("{} ended with status {:#x}", words.front(), status));
    latencies.add(end - start);
    const std::string_view comma = i == 0 ? "" : ",";
    all += fmt::format("{}{:.3f}", comma, static_cast<double>(end - start) / 1e6);
    cpu +=
        fmt::format("{}{:.3f}", comma, milliseconds(used.ru_utime) + milliseconds(used.ru_stime));
  }
  tell(fmt::format(R"({{"milliseconds":[{}],"cpu":[{}],{}}})", all, cpu, latencies.json()));
  return 0;
}

}  // namespace cordon::bench
