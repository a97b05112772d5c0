// bench_load LOAD --option value…: the server and the loads of tests/bench/run.
#include <array>
#include <string_view>
#include <sys/resource.h>

#include "tests/bench/load/sockets.h"

using cordon::bench::Options;

int main(int count, char** words) {
  struct Load {
    std::string_view name;
    int (*run)(const Options&);
  };
  constexpr std::array<Load, 9> kLoads{{
      {"serve", cordon::bench::serve},
      {"relay", cordon::bench::relay},
      {"stream", cordon::bench::load_stream},
      {"connections", cordon::bench::load_connections},
      {"requests", cordon::bench::load_requests},
      {"flows", cordon::bench::load_flows},
      {"datagrams", cordon::bench::load_datagrams},
      {"questions", cordon::bench::load_questions},
      {"starts", cordon::bench::load_starts},
  }};
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  for (const Load& load : kLoads) {
    if (count > 1 && load.name == words[1]) return load.run(Options(count - 2, words + 2));
  }
  cordon::bench::die_plainly("say which load: see tests/bench/README.md");
}
