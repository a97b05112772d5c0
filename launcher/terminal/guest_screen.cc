#include "launcher/terminal/guest_screen.h"

#include <sstream>
#include <string>
#include <termios.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/text_file.h"

namespace cordon {
namespace {

// Deeper than any tree of processes that a person looks at.
constexpr int kMostAncestors = 64;

// proc(5): the name stands in parentheses and may hold anything; the state and the parent follow.
pid_t parent_of(pid_t pid) {
  const std::string stat = read_text_file(fmt::format("/proc/{}/stat", pid));
  const std::size_t end = stat.rfind(')');
  if (end == std::string::npos) return 0;
  std::istringstream words(stat.substr(end + 1));
  std::string state;
  pid_t parent = 0;
  words >> state >> parent;
  return parent;
}

bool is_below(pid_t pid, pid_t ancestor) {
  for (int i = 0; i < kMostAncestors && pid > 1; ++i) {
    if (pid == ancestor) return true;
    pid = parent_of(pid);
  }
  return false;
}

}  // namespace

bool GuestScreen::has_foreground(int terminal) const {
  const pid_t group = ::tcgetpgrp(terminal);
  if (group <= 0) return false;
  return group == ::getpgrp() || (guest_init_ > 0 && is_below(group, guest_init_));
}

bool GuestScreen::is_taken(int terminal) const {
  if (::isatty(terminal) == 0 || !has_foreground(terminal)) return false;
  termios mode{};
  // Asked of the master, the settings are those of the guest's end.
  const int asked = has_own_terminal() ? own_terminal_ : terminal;
  return ::tcgetattr(asked, &mode) == 0 && (mode.c_lflag & ICANON) == 0;
}

}  // namespace cordon
