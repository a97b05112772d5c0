// The program: reads the command line and hands over to the verb.
#include <fcntl.h>
#include <string>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "launcher/command_line.h"
#include "launcher/supervisor.h"
#include "launcher/verbs/doctor.h"
#include "launcher/verbs/run.h"

namespace {

/// A caller may have closed 0, 1 or 2; the first descriptors that we open would take those numbers,
/// and the guest would inherit them as its standard streams.
bool fill_standard_streams() {
  for (;;) {
    const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) return false;
    if (fd > STDERR_FILENO) return ::close(fd) == 0;
    if (::fcntl(fd, F_SETFD, 0) != 0) return false;
  }
}

int print(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return 0;
  fmt::print(stderr, "cordon: standard output cannot be written\n");
  return cordon::kExitOwnFailure;
}

}  // namespace

int main(int count, char** values) {
  if (!fill_standard_streams()) {
    fmt::print(stderr,
               "cordon: /dev/null cannot be opened, and is needed; to make it: "
               "mknod -m 666 /dev/null c 1 3\n");
    return cordon::kExitOwnFailure;
  }
  const std::vector<std::string> arguments(values + (count > 0 ? 1 : 0), values + count);
  const auto command_line = cordon::parse_command_line(arguments);
  if (!command_line) {
    fmt::print(stderr, "cordon: {}\n", command_line.error().message());
    return cordon::kExitOwnFailure;
  }
  switch (command_line->verb) {
    case cordon::CommandLine::Verb::kRun:
      return cordon::run(command_line->run);
    case cordon::CommandLine::Verb::kDoctor:
      return cordon::doctor();
    case cordon::CommandLine::Verb::kShowText:
      return print(command_line->text);
    case cordon::CommandLine::Verb::kPerform:
      return command_line->perform();
  }
  return cordon::kExitOwnFailure;
}
